"""csv: the rows alone, as one CSV file; the images stay where they are. Also the CSV table of `plain`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nonesuch.catalogs.exports.column_words import json_row, lost_numbers
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout, Loss
from nonesuch.catalogs.exports.read_back import checked, expect_names, expect_rows, expect_values, sampled
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.foundation.csv_cells import CsvWriter, safe_cell

TABLE = "rows.csv"
# text columns of digits alone that a reader may take for numbers
_DIGITS = ("recipe_id", "phash", "dhash", "whash", "colorhash", "watermark_id", "sha256")


class CsvTable:
    """rows.csv, UTF-8; 64-bit hashes as 16 hex digits, `file` relative to the catalog's output folder."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        names = _column_names(job)
        with table_file(stage, TABLE, raw=job.request.raw) as table:
            table.row(names.values())
            for _, row in job.selection.rows():
                table.row(_cells(row, names))
                job.count()
        return Layout(
            files=[(TABLE, "one line per image; `file` is relative to the catalog's output folder")],
            loading=reading(TABLE),
            columns=names,
            losses=[*lost_numbers(job.selection.table), *guarded(table, TABLE)],
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By Python's CSV reader: the header, the number of rows, and the cells of some."""
        names = _column_names(job)
        numbers = sampled(range(job.selection.table.num_rows))
        wanted = [_cells(row, names) for _, row in job.selection.rows(numbers)]
        check_table(stage.root / TABLE, list(names.values()), numbers, wanted, job)
        return checked(["Python's csv"], job, len(names), 0)


def _column_names(job: ExportJob) -> dict[str, str]:
    return {name: name for name in job.selection.table.column_names if name != EMBEDDING}


def _cells(row: Mapping[str, Any], names: Mapping[str, str]) -> list[Any]:
    return list(json_row(row, names).values())


@contextmanager
def table_file(stage: Stage, name: str, *, raw: bool) -> Iterator[CsvWriter]:
    """A CSV file of the stage to write rows to."""
    with (
        stage.writing(name, flush=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        yield CsvWriter(file, raw=raw)


def guarded(table: CsvWriter, name: str) -> Iterable[Loss]:
    """What is said of the cells that got an apostrophe."""
    if table.guarded:
        yield Loss(
            name,
            table.guarded,
            "cells got an apostrophe in front, or a spreadsheet would run them (--raw: none)",
        )


def reading(name: str) -> str:
    """Python that reads a table back: text stays text, be it digits, "NA" or "null"."""
    return (
        "import pandas\n\n"
        f"text = dict.fromkeys({list(_DIGITS)!r}, str)\n"
        f'frame = pandas.read_csv("PATH/{name}", dtype=text, keep_default_na=False, na_values=[""])'
    )


def check_table(
    path: Path, header: Sequence[str], numbers: Sequence[int], wanted: Sequence[Sequence[Any]], job: ExportJob
) -> list[list[str]]:
    """Read a table back and compare header, number of rows and the cells of those row numbers.

    Returns these rows. Raises CatalogError with what differs.
    """
    limit = csv.field_size_limit(sys.maxsize)
    places = set(numbers)
    found: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            first = next(reader, [])
            count = 0
            for count, row in enumerate(reader, start=1):
                if count - 1 in places:
                    found.append(row)
    finally:
        csv.field_size_limit(limit)
    as_written = str if job.request.raw else safe_cell
    expect_names(first, [str(as_written(name)) for name in header], path.name)
    expect_rows(count, job.selection.table.num_rows, path.name)
    for row, cells in zip(found, wanted, strict=True):
        texts = ["" if cell is None else str(as_written(cell)) for cell in cells]
        expect_values(dict(zip(header, row, strict=False)), dict(zip(header, texts, strict=True)), path.name)
    return found
