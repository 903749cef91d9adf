"""The rows of an export and their image files: selected, checked, named, split, and read one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nonesuch.catalogs.exports.export_job import LeftOut, Loss
from nonesuch.catalogs.exports.names import IMAGE_SUFFIXES
from nonesuch.catalogs.exports.splits import splits_of
from nonesuch.catalogs.image_files import read_original
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.search.expressions import Where, each_condition
from nonesuch.catalogs.search.parameters import Parameters
from nonesuch.catalogs.storage.mirror import local_file
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.naming import file_name, json_without_folders, without_folders

BATCH = 256  # rows turned into Python values together
_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image on its way into an export."""

    row: Mapping[str, Any]  # every column but the embedding
    name: str  # unique in the export, with the file's suffix, without a folder
    data: bytes  # the file as it is; its SHA-256 is the row's


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of an export."""

    table: pa.Table  # in the order asked for; see _for_others; with the embedding only when asked for
    root: Path  # the output folder that `file` is relative to
    names: Sequence[str]  # file name of each row's image in the export
    splits: Mapping[str, Sequence[int]]  # split → row numbers, in order
    left_out: Sequence[LeftOut]
    losses: Sequence[Loss]  # what the rows say less than the catalog, in every format
    split_values: Mapping[str, Any]  # split → value of the column that was split by; empty without one
    models: Sequence[tuple[str, str | None]]  # (model, revision) as the catalog has them, each once

    def size(self, numbers: Sequence[int]) -> int:
        """Bytes of the image files of those rows."""
        return int(pc.sum(random_access(self.table, numbers)["bytes"]).as_py() or 0)

    def rows(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """(row number, row without the embedding) for those rows, in their order; by default for all."""
        columns = [name for name in self.table.column_names if name != EMBEDDING]
        plain = self.table.select(columns)
        listed = range(self.table.num_rows) if numbers is None else numbers
        for start in range(0, len(listed), BATCH):
            some = listed[start : start + BATCH]
            batch = plain.take(pa.array(some, pa.int64()))
            yield from zip(some, batch.to_pylist(), strict=True)

    def pictures(self, numbers: Sequence[int] | None = None) -> Iterator[Picture]:
        """Those rows with their files, read one at a time. Raises CatalogError for a file that has changed."""
        for number, row in self.rows(numbers):
            yield Picture(row, self.names[number], read_original(self.root, row))

    def pieces(self, numbers: Sequence[int], images: int, limit: int) -> list[Sequence[int]]:
        """The rows cut into consecutive pieces of at most `images` rows and, but for single images, `limit` bytes."""
        sizes = pc.fill_null(self.table["bytes"], 0).to_numpy()
        pieces: list[Sequence[int]] = []
        current: list[int] = []
        held = 0
        for number in numbers:
            size = int(sizes[number])
            if current and (len(current) >= images or held + size > limit):
                pieces.append(current)
                current, held = [], 0
            current.append(number)
            held += size
        return [*pieces, current] if current else pieces


def select(
    catalog: Catalog,
    *,
    where: Where = None,
    parameters: Parameters = None,
    order: str | Sequence[str] | None = None,
    descending: bool | None = None,
    top: int | None = None,
    top_per: tuple[str, int] | None = None,
    sample: float | None = None,
    split_by: str | None = None,
    embeddings: bool = False,
    with_files: bool = True,
) -> Selection:
    """The catalog's rows that have an image and meet the query's options, which are Catalog.query's.

    Files that are missing, or whose size is not the catalogued one, are left out and listed; unless
    `with_files`, nothing is asked of them. Raises InputError as Catalog.query does, and when no row is left.
    """
    table = catalog.query(
        with_image(where),
        parameters=parameters,
        order=order,
        descending=descending,
        top=top,
        top_per=top_per,
        sample=sample,
        columns=export_columns(catalog, embeddings=embeddings),
        as_arrow=True,
    )
    return selection_of(table, catalog.folder, split_by=split_by, with_files=with_files)


def with_image(where: Where) -> tuple[str, ...]:
    """The conditions, and that a row has an image."""
    return each_condition(where, "file is not null")


def export_columns(catalog: Catalog, *, embeddings: bool) -> list[str]:
    """The columns of an export."""
    whole = embeddings and EMBEDDING in catalog.schema.names
    return list(catalog.schema.names) if whole else catalog.column_names(None)


def selection_of(
    table: pa.Table, root: Path, *, split_by: str | None = None, with_files: bool = True
) -> Selection:
    """Rows that were chosen otherwise (by likeness, say), in their order, with the columns of export_columns.

    `root` is the output folder. Raises InputError when no row is left.
    """
    if table.num_rows == 0:
        raise InputError("no image meets the conditions", where=str(root))
    left_out: list[LeftOut] = []
    if with_files:
        table, left_out = _present(table, root)
        if table.num_rows == 0:
            raise InputError(
                f"none of the {len(left_out):,} image files is there",
                where=str(root),
                hint=left_out[0].reason,
            )
    table = _for_others(table)
    pairs = zip(table["model"].to_pylist(), table["model_revision"].to_pylist(), strict=True)
    models = sorted({pair for pair in pairs if pair[0]}, key=str)
    table, losses = _without_folders(table)
    splits, split_values = splits_of(table, split_by)
    return Selection(table, root, _names(table), splits, left_out, losses, split_values, models)


def _present(table: pa.Table, root: Path) -> tuple[pa.Table, list[LeftOut]]:
    """The rows whose file is there with its size, and the others; `bytes` is filled in where it is null."""
    kept: list[int] = []
    sizes: list[int] = []
    left_out: list[LeftOut] = []
    files, ids = table["file"].to_pylist(), table["recipe_id"].to_pylist()
    for number, (file, known) in enumerate(zip(files, table["bytes"].to_pylist(), strict=True)):
        try:
            size = local_file(root, file).stat().st_size
        except OSError:
            left_out.append(LeftOut(ids[number], file, "the file is missing"))
            continue
        if known is not None and size != known:
            reason = f"the file has {size:,} bytes, the catalogued one has {known:,}"
            left_out.append(LeftOut(ids[number], file, reason))
            continue
        kept.append(number)
        sizes.append(size)
    if left_out:
        table = table.take(pa.array(kept, pa.int64()))
    place = table.column_names.index("bytes")
    return table.set_column(place, table.field("bytes"), pa.array(sizes, pa.int64())), left_out


def _for_others(table: pa.Table) -> pa.Table:
    """Words as plain text, and 64-bit hashes as 16 hex digits or null: many readers keep fewer bits."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pa.types.is_dictionary(field.type):
            words = pc.cast(column, field.type.value_type)
            table = table.set_column(place, field.with_type(field.type.value_type), words)
        elif pa.types.is_uint64(field.type):
            digits = [f"{value:016x}" if value else None for value in column.to_pylist()]
            table = table.set_column(place, field.with_type(pa.string()), pa.array(digits, pa.string()))
    return table


def _without_folders(table: pa.Table) -> tuple[pa.Table, list[Loss]]:
    """Folders of this machine, which name their owner, cut from all words but the prompts, and how many were."""
    losses: list[Loss] = []
    for place, field in enumerate(table.schema):
        if not pa.types.is_string(field.type) or field.name in ("prompt", "negative_prompt", "file"):
            continue
        values = table.column(place).to_pylist()
        changed = {value: _named(field.name, value) for value in set(values) if value is not None}
        texts = [None if value is None else changed[value] for value in values]
        if cut := sum(old != new for old, new in zip(values, texts, strict=True)):
            table = table.set_column(place, field, pa.array(texts, pa.string()))
            losses.append(Loss(field.name, cut, "values cut to the last part of a path on this machine"))
    return table, losses


def _named(column: str, value: str) -> str:
    if column == "reason":
        return without_folders(value)
    return json_without_folders(value) if value[:1] in ("[", "{") else file_name(value)


def _names(table: pa.Table) -> list[str]:
    """The first 16 digits of the recipe id where that is unique, with the suffix of an image file.

    That is the file's own; a file without one, or named like something else, has its format's.
    """
    names: list[str] = []
    taken: set[str] = set()
    columns = (table[name].to_pylist() for name in ("recipe_id", "file", "format"))
    for recipe_id, file, format in zip(*columns, strict=True):
        suffix = Path(file).suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            suffix = _SUFFIXES.get(format, ".img")
        stem = recipe_id[:16]
        number = 1
        while stem in taken:
            number += 1
            stem = f"{recipe_id}-{number}" if number > 2 else recipe_id
        taken.add(stem)
        names.append(stem + suffix)
    return names


def random_access(table: pa.Table, numbers: Sequence[int]) -> pa.Table:
    """Those rows of a table, in their order."""
    return table.take(pa.array(np.asarray(numbers, np.int64)))
