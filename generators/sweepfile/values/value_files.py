"""Facet values from files: text (one per line), CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.settings import Settings, Strict

MAX_BYTES: Final = 1 << 30


def read_values(
    path: Path, column: str | None, text: str | None, negative: str | None, *, where: str
) -> Iterator[ValueEntry]:
    """The entries of a file, in its order; lines of a text file that are blank or start with # are left out.

    Raises InputError naming the file, and the line where there is one, for a missing or unreadable
    file, an unknown ending, a missing column and an empty name.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=where)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is over {MAX_BYTES:,} bytes", where=where)
    ending = path.suffix.lower()
    if ending not in (".txt", ".csv", ".parquet"):
        raise InputError(
            f"{path.name} is neither .txt nor .csv nor .parquet",
            where=where,
            hint="The ending says how a file of values is read.",
        )
    if ending == ".txt":
        if column or text or negative:
            raise InputError(f"{path.name} is a text file and has no columns", where=where)
        return _text_lines(path)
    return (_csv_rows if ending == ".csv" else _parquet_rows)(path, column, text, negative, where)


def _text_lines(path: Path) -> Iterator[ValueEntry]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if (name := line.strip()) and not name.startswith("#"):
                    yield ValueEntry(name=name)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't be read as UTF-8 text ({error})", where=str(path)) from error


def _csv_rows(
    path: Path, column: str | None, text: str | None, negative: str | None, where: str
) -> Iterator[ValueEntry]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = _columns(reader.fieldnames or (), column, text, negative, path, where)
            for row in reader:
                yield _entry([row[name] if name else None for name in names], f"{path}:{reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"can't be read as CSV ({error})", where=str(path)) from error


def _parquet_rows(
    path: Path, column: str | None, text: str | None, negative: str | None, where: str
) -> Iterator[ValueEntry]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = _columns(file.schema_arrow.names, column, text, negative, path, where)
            row = 0
            for batch in file.iter_batches(columns=sorted({name for name in names if name})):
                for record in batch.to_pylist():
                    row += 1
                    cells = [record[name] if name else None for name in names]
                    yield _entry(
                        [None if cell is None else str(cell) for cell in cells], f"{path}: row {row}"
                    )
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"can't be read as Parquet ({error})", where=str(path)) from error


def _columns(
    present: Sequence[str], column: str | None, text: str | None, negative: str | None, path: Path, where: str
) -> tuple[str, str | None, str | None]:
    """The columns of name, text and negative text."""
    if not present:
        raise InputError(f"{path.name} has no columns", where=where)
    for wanted in (column, text, negative):
        if wanted is not None and wanted not in present:
            raise InputError(
                f"{path.name} has no column {wanted!r}", where=where, hint=f"Columns: {', '.join(present)}."
            )
    return column or present[0], text, negative


def _entry(cells: Sequence[str | None], where: str) -> ValueEntry:
    name, text, negative = cells
    if not name or not name.strip():
        raise InputError("a facet value has no name", where=where)
    return ValueEntry(name=name.strip(), text=text, negative=negative or "")


class ValueEntry(Strict):
    """A facet value with a short name and the text it expands to."""

    name: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(description="what enters the prompt; the name when left out")] | None = None
    negative: Annotated[str, Field(description="what enters the negative prompt")] = ""
    settings: Settings | None = None
