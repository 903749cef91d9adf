"""hf-imagefolder: image files with metadata.parquet (or .jsonl) beside, which `datasets` loads as images."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.exports.columns import (
    IMAGE,
    PLACE,
    json_line,
    json_row,
    json_schema,
)
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.selection import ONE_SPLIT, random_access
from catalogs.exports.stage import Stage

FILE_NAME = "file_name"  # the column that `datasets` follows to the picture


class ImageFolder:
    """SPLIT/images/ab/abcd….png and SPLIT/metadata.parquet; without splits, both at the top."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        single = list(chosen.splits) == [ONE_SPLIT]
        data_files: dict[str, list[str]] = {}
        metadata = "metadata.jsonl" if job.request.jsonl else "metadata.parquet"
        for split, numbers in chosen.splits.items():
            top = "" if single else f"{split}/"
            paths = [f"images/{chosen.names[number][:2]}/{chosen.names[number]}" for number in numbers]
            for path, picture in zip(paths, chosen.pictures(numbers), strict=True):
                stage.put(top + path, picture.data)
                job.count()
            if job.request.jsonl:
                rows = chosen.rows(numbers)
                lines = [
                    json_line({FILE_NAME: path, **json_row(row)})
                    for path, (_, row) in zip(paths, rows, strict=True)
                ]
                stage.put(top + metadata, b"\n".join(lines) + b"\n")
            else:
                with stage.writing(top + metadata, flush=True) as temporary:
                    pq.write_table(_metadata(chosen.table, numbers, paths), temporary, compression="zstd")
            data_files[split] = [f"{top}{metadata}", f"{top}images/**"]
        schema = (
            json_schema(chosen.table.schema) if job.request.jsonl else _without_place(chosen.table.schema)
        )
        return Layout(
            files=[
                (
                    "images/" if single else "SPLIT/images/",
                    "the image files, bit for bit as they were catalogued",
                ),
                (metadata if single else f"SPLIT/{metadata}", "one row an image; `file_name` leads to it"),
            ],
            loading='from datasets import load_dataset\n\ndataset = load_dataset("PATH")',
            data_files=data_files,
            features=pa.schema([pa.field("image", IMAGE), *schema]),
        )


def _metadata(table: pa.Table, numbers: Sequence[int], paths: Sequence[str]) -> pa.Table:
    rows = random_access(table, numbers).drop_columns([PLACE])
    return rows.add_column(0, FILE_NAME, pa.array(paths, pa.string()))


def _without_place(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != PLACE])
