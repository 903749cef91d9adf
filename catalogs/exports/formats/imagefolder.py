"""hf-imagefolder: image files with metadata.parquet (or .jsonl) beside, which `datasets` loads as images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.exports.column_words import (
    IMAGE,
    PLACE,
    json_line,
    json_row,
    json_schema,
    lost_numbers,
)
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout
from nonesuch.catalogs.exports.name_spaces import export_names
from nonesuch.catalogs.exports.read_back import (
    SAMPLE,
    Tables,
    check_with_datasets,
    checked,
    expect_bytes,
    expect_names,
    expect_rows,
    expect_values,
    sampled_ids,
    telling_ids,
)
from nonesuch.catalogs.exports.selection import Selection, random_access
from nonesuch.catalogs.exports.splits import ONE_SPLIT
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.catalogs.schema import EMBEDDING

FILE_NAME = "file_name"  # the column that `datasets` follows to the image, which it calls `image`
_OWN = frozenset({"image", "images", FILE_NAME, "file_names"})


class ImageFolder:
    """SPLIT/images/ab/abcd….png and SPLIT/metadata.parquet; without splits, both at the top."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        names = _column_names(chosen, jsonl=job.request.jsonl)
        single = list(chosen.splits) == [ONE_SPLIT]
        data_files: dict[str, list[str]] = {}
        metadata = _metadata_name(job)
        for split, numbers in chosen.splits.items():
            top = _top(job, split)
            paths = [_path(chosen, number) for number in numbers]
            for path, picture in zip(paths, chosen.pictures(numbers), strict=True):
                stage.put(top + path, picture.data)
                job.count()
            if job.request.jsonl:
                rows = chosen.rows(numbers)
                lines = [
                    json_line({FILE_NAME: path, **json_row(row, names)})
                    for path, (_, row) in zip(paths, rows, strict=True)
                ]
                stage.put(top + metadata, b"\n".join(lines) + b"\n")
            else:
                table = random_access(chosen.table, numbers).select(list(names))
                table = table.rename_columns(list(names.values()))
                table = table.add_column(0, FILE_NAME, pa.array(paths, pa.string()))
                with stage.writing(top + metadata, flush=True) as temporary:
                    pq.write_table(table, temporary, compression="zstd")
            data_files[split] = [f"{top}{metadata}", f"{top}images/**"]
        schema = chosen.table.schema
        columns = (
            json_schema(schema, names)
            if job.request.jsonl
            else [schema.field(column).with_name(name) for column, name in names.items()]
        )
        return Layout(
            files=[
                (
                    "images/" if single else "SPLIT/images/",
                    "the image files, bit for bit as they were catalogued",
                ),
                (metadata if single else f"SPLIT/{metadata}", "one row per image; `file_name` leads to it"),
            ],
            loading='from datasets import load_dataset\n\ndataset = load_dataset("PATH")',
            data_files=data_files,
            features=pa.schema([pa.field("image", IMAGE), *columns]),
            columns=names,
            losses=lost_numbers(chosen.table) if job.request.jsonl else (),
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By DuckDB (JSON lines: by Python's JSON reader) and over `file_name` as any program would; by `datasets`."""
        chosen = job.selection
        names = _column_names(chosen, jsonl=job.request.jsonl)
        tables = None if job.request.jsonl else Tables()
        ids = telling_ids(chosen.table)
        images = 0
        for split, numbers in chosen.splits.items():
            folder = stage.root / _top(job, split)
            path = folder / _metadata_name(job)
            some = sampled_ids(ids, numbers, max(1, SAMPLE // len(chosen.splits)))
            wanted = set(some.values())
            rows: dict[str, dict[str, Any]]
            if tables is None:
                listed = [json.loads(line) for line in path.read_bytes().splitlines()]
                count, found = len(listed), list(listed[0])
                rows = {row[names["recipe_id"]]: row for row in listed if row[names["recipe_id"]] in wanted}
            else:
                count, found = tables.count([path]), tables.names([path])
                rows = tables.rows([path], names["recipe_id"], list(wanted)) if wanted else {}
            expect_rows(count, len(numbers), path.name)
            expect_names(found, [FILE_NAME, *names.values()], path.name)
            for picture in chosen.pictures(list(some)):
                row = rows.get(picture.row["recipe_id"], {})
                plain = {name: column for column, name in names.items() if column != EMBEDDING}
                values = (
                    json_row(picture.row, names)
                    if tables is None
                    else {name: picture.row[column] for name, column in plain.items()}
                )
                expect_values(row, values, path.name)
                expect_bytes(folder / str(row.get(FILE_NAME)), picture, path.name)
                images += 1
        reader = check_with_datasets(job, stage.root, layout)
        own = "Python's json" if tables is None else tables.name
        return checked([own, reader], job, len(names) + 1, images)


def _is_own(name: str) -> bool:
    # `datasets` also follows any text column whose name ends so
    return name in _OWN or name.endswith(("_file_name", "_file_names"))


def _column_names(selection: Selection, *, jsonl: bool) -> dict[str, str]:
    left_out = {PLACE, EMBEDDING} if jsonl else {PLACE}
    columns = [name for name in selection.table.column_names if name not in left_out]
    return export_names(columns, own=_is_own)


def _metadata_name(job: ExportJob) -> str:
    return "metadata.jsonl" if job.request.jsonl else "metadata.parquet"


def _top(job: ExportJob, split: str) -> str:
    return "" if list(job.selection.splits) == [ONE_SPLIT] else f"{split}/"


def _path(selection: Selection, number: int) -> str:
    name = selection.names[number]
    return str(Path("images") / name[:2] / name)
