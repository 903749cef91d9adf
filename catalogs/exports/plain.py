"""plain: image files under names of the user's choice, with a table beside."""

from __future__ import annotations

import csv
from pathlib import Path

from catalogs.exports.columns import json_row
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.names import NameTemplate, unique_names
from catalogs.exports.stage import Stage

TABLE = "metadata.csv"


class Plain:
    """The images by the request's `names` template, and metadata.csv whose `file_name` leads to them."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        columns = [name for name in chosen.table.column_names if name not in ("embedding", "file")]
        template = NameTemplate(job.request.names, columns)
        names = unique_names(
            (template.fill(row, Path(chosen.names[number]).suffix) for number, row in chosen.rows()),
            number=job.request.number_names,
        )  # every name is known before the first file is written
        with (
            stage.writing(TABLE, flush=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=["file_name", *columns], lineterminator="\n")
            writer.writeheader()
            for name, picture in zip(names, chosen.pictures(), strict=True):
                stage.put(name, picture.data)
                writer.writerow({"file_name": name, **json_row(picture.row)})
                job.count()
        return Layout(
            files=[(job.request.names, "the image files, bit for bit"), (TABLE, "one line an image")],
            loading='import pandas\n\nframe = pandas.read_csv("PATH/metadata.csv")',
        )
