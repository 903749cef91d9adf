"""hf-parquet: Parquet files with the image files' bytes inside, which `datasets` loads as images."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.exports.checking import (
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
from catalogs.exports.columns import IMAGE, PLACE, with_hf_metadata
from catalogs.exports.job import Checked, ExportJob, Layout
from catalogs.exports.name_spaces import export_names
from catalogs.exports.selection import Selection, random_access
from catalogs.exports.stage import Stage
from catalogs.schema import EMBEDDING

PICTURE = "image"  # the format's own column
PIECE_BYTES = 400 << 20  # of images in one file
GROUP = 100  # images in a row group: one is decoded without reading many others


class EmbeddedParquet:
    """data/SPLIT-00000-of-00003.parquet, `image` as struct<bytes, path> and every column of the catalog."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        schema = embedded_schema(job.selection)
        for name, piece in _files(job):
            if stage.has(name):
                for _ in piece:
                    job.count()
            else:
                _write_piece(job, stage, name, piece, schema)
        return Layout(
            files=[("data/SPLIT-*.parquet", "every column, and the image file's bytes in `image.bytes`")],
            loading='from datasets import load_dataset\n\ndataset = load_dataset("PATH")',
            data_files={split: [f"data/{split}-*"] for split in job.selection.splits},
            features=schema,
            columns=column_names(job.selection),
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By DuckDB: every file's rows and columns, some rows and images; and by `datasets` as it loads it."""
        tables = Tables()
        names = column_names(job.selection)
        wanted = embedded_schema(job.selection).names
        held = {column: name for column, name in names.items() if column != EMBEDDING}
        files = _files(job)
        ids = telling_ids(job.selection.table)
        images = 0
        for name, piece in files:
            path = [stage.root / name]
            expect_rows(tables.count(path), len(piece), name)
            expect_names(tables.names(path), wanted, name)
            chosen = sampled_ids(ids, piece, max(1, SAMPLE // len(files)))
            rows = tables.rows(path, names["recipe_id"], list(chosen.values())) if chosen else {}
            for picture in job.selection.pictures(list(chosen)):
                row = rows.get(picture.row["recipe_id"], {})
                expect_values(row, {held[column]: picture.row[column] for column in held}, name)
                expect_bytes((row.get(PICTURE) or {}).get("bytes"), picture, name)
                images += 1
        reader = check_with_datasets(job, stage.root, layout)
        return checked([tables.name, reader], job, len(wanted), images)


def column_names(selection: Selection) -> dict[str, str]:
    """The name of each of the catalog's columns in the files."""
    columns = [name for name in selection.table.column_names if name != PLACE]
    return export_names(columns, own=lambda name: name == PICTURE)


def embedded_schema(selection: Selection) -> pa.Schema:
    """The schema of the files: the image, then the catalog's columns without `file`."""
    columns = [
        selection.table.schema.field(column).with_name(name)
        for column, name in column_names(selection).items()
    ]
    return with_hf_metadata(pa.schema([pa.field(PICTURE, IMAGE), *columns]))


def _files(job: ExportJob) -> list[tuple[str, Sequence[int]]]:
    """Each file's name and its row numbers."""
    files: list[tuple[str, Sequence[int]]] = []
    for split, numbers in job.selection.splits.items():
        pieces = job.selection.pieces(numbers, job.request.images_per_file, PIECE_BYTES)
        files += [
            (f"data/{split}-{place:05d}-of-{len(pieces):05d}.parquet", piece)
            for place, piece in enumerate(pieces)
        ]
    return files


def _write_piece(job: ExportJob, stage: Stage, name: str, piece: Sequence[int], schema: pa.Schema) -> None:
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    with (
        stage.writing(name, flush=True) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=plain,
            write_statistics=plain,
            write_page_index=True,
        ) as writer,
    ):
        for start in range(0, len(piece), GROUP):
            some = piece[start : start + GROUP]
            images = []
            for picture in job.selection.pictures(some):
                images.append({"bytes": picture.data, "path": picture.name})
                job.count()
            rows = random_access(job.selection.table, some).drop_columns([PLACE])
            rows = rows.add_column(0, PICTURE, pa.array(images, IMAGE))
            writer.write_table(rows.rename_columns(schema.names).cast(schema))
