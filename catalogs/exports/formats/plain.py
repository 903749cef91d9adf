"""plain: image files under names of the user's choice, with a table beside."""

from __future__ import annotations

from pathlib import Path

from nonesuch.catalogs.exports.column_words import PLACE, json_row, lost_numbers
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout, Loss
from nonesuch.catalogs.exports.formats.csv_table import check_table, guarded, reading, table_file
from nonesuch.catalogs.exports.name_spaces import export_names
from nonesuch.catalogs.exports.names import NameTemplate, unique_names
from nonesuch.catalogs.exports.read_back import checked, expect_bytes, sampled
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.catalogs.schema import EMBEDDING

TABLE = "metadata.csv"
FILE_NAME = "file_name"  # the format's own column


class Plain:
    """The images by the request's `names` template, and metadata.csv whose `file_name` leads to them."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        names = _column_names(job)
        files, cut = _file_names(job)  # every name is known before the first file is written
        with table_file(stage, TABLE, raw=job.request.raw) as table:
            table.row([FILE_NAME, *names.values()])
            for name, picture in zip(files, chosen.pictures(), strict=True):
                stage.put(name, picture.data)
                table.row([name, *json_row(picture.row, names).values()])
                job.count()
        losses = [*lost_numbers(chosen.table), *guarded(table, TABLE)]
        if cut:
            losses.append(Loss("file names", cut, "names cut to the length that every file system takes"))
        return Layout(
            files=[(job.request.names, "the image files, bit for bit"), (TABLE, "one line per image")],
            loading=reading(TABLE),
            columns=names,
            losses=losses,
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By Python's CSV reader, and the images where `file_name` leads."""
        names = _column_names(job)
        numbers = sampled(range(job.selection.table.num_rows))
        files, _ = _file_names(job)
        pictures = list(job.selection.pictures(numbers))
        wanted = [
            [files[number], *json_row(picture.row, names).values()]
            for number, picture in zip(numbers, pictures, strict=True)
        ]
        check_table(stage.root / TABLE, [FILE_NAME, *names.values()], numbers, wanted, job)
        for number, picture in zip(numbers, pictures, strict=True):
            expect_bytes(stage.root / files[number], picture, TABLE)
        return checked(["Python's csv"], job, len(names) + 1, len(numbers))


def _column_names(job: ExportJob) -> dict[str, str]:
    columns = [name for name in job.selection.table.column_names if name not in (EMBEDDING, PLACE)]
    return export_names(columns, own=lambda name: name == FILE_NAME)


def _file_names(job: ExportJob) -> tuple[list[str], int]:
    """The path of each image, and how many of them were cut."""
    chosen = job.selection
    template = NameTemplate(job.request.names, list(_column_names(job)))
    filled = [template.fill(row, Path(chosen.names[number]).suffix) for number, row in chosen.rows()]
    names = unique_names((path for path, _ in filled), number=job.request.number_names)
    return names, sum(cut for _, cut in filled)
