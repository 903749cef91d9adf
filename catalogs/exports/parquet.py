"""hf-parquet: Parquet files with the image files' bytes inside, which `datasets` loads as images."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.exports.columns import IMAGE, PLACE, with_hf_metadata
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.selection import Selection, random_access
from catalogs.exports.stage import Stage

PIECE_BYTES = 400 << 20  # of images in one file
GROUP = 100  # images in a row group: one is decoded without reading many others


class EmbeddedParquet:
    """data/SPLIT-00000-of-00003.parquet, `image` as struct<bytes, path> and every column of the catalog."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        schema = embedded_schema(job.selection)
        data_files: dict[str, list[str]] = {}
        for split, numbers in job.selection.splits.items():
            pieces = job.selection.pieces(numbers, job.request.images_per_file, PIECE_BYTES)
            for place, piece in enumerate(pieces):
                name = f"data/{split}-{place:05d}-of-{len(pieces):05d}.parquet"
                if stage.has(name):
                    for _ in piece:
                        job.count()
                else:
                    _write_piece(job, stage, name, piece, schema)
            data_files[split] = [f"data/{split}-*"]
        return Layout(
            files=[("data/SPLIT-*.parquet", "every column, and the image file's bytes in `image.bytes`")],
            loading='from datasets import load_dataset\n\ndataset = load_dataset("PATH")',
            data_files=data_files,
            features=schema,
        )


def embedded_schema(selection: Selection) -> pa.Schema:
    """The schema of the files: the image, then the catalog's columns without `file`."""
    columns = [field for field in selection.table.schema if field.name != PLACE]
    return with_hf_metadata(pa.schema([pa.field("image", IMAGE), *columns]))


def _write_piece(job: ExportJob, stage: Stage, name: str, piece: Sequence[int], schema: pa.Schema) -> None:
    plain = [field.name for field in schema if field.name not in ("image", "embedding")]
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
            rows = rows.add_column(0, "image", pa.array(images, IMAGE))
            writer.write_table(rows.cast(schema))
