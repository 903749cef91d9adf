"""csv: the rows alone, as one CSV file; the images stay where they are."""

from __future__ import annotations

import csv

from catalogs.exports.columns import json_row
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.stage import Stage


class CsvTable:
    """rows.csv, UTF-8; 64-bit hashes as 16 hex digits, `file` relative to the catalog's output folder."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        columns = [name for name in job.selection.table.column_names if name != "embedding"]
        with (
            stage.writing("rows.csv", flush=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
            writer.writeheader()
            for _, row in job.selection.rows():
                writer.writerow({**json_row(row), "file": row["file"]})
                job.count()
        return Layout(
            files=[("rows.csv", "one line an image; `file` is relative to the catalog's output folder")],
            loading='import pandas\n\nframe = pandas.read_csv("PATH/rows.csv")',
        )
