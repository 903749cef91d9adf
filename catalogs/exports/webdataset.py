"""webdataset: tar shards in which the files of one sample follow one another: picture, .json, .txt."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from catalogs.exports.columns import IMAGE, json_line, json_row, json_schema
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.stage import Stage

SHARD_BYTES = 1 << 30  # of images in one shard


class WebDataset:
    """SPLIT-000000.tar with KEY.png (.jpg, .webp), KEY.json with the row and KEY.txt with the prompt.

    The same choice makes the same bytes: no times, owners or modes of this machine are in the shards.
    """

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        data_files: dict[str, list[str]] = {}
        for split, numbers in job.selection.splits.items():
            for place, piece in enumerate(
                job.selection.pieces(numbers, job.request.images_per_file, SHARD_BYTES)
            ):
                name = f"{split}-{place:06d}.tar"
                if stage.has(name):
                    for _ in piece:
                        job.count()
                else:
                    _write_shard(job, stage, name, piece)
            data_files[split] = [f"{split}-*.tar"]
        suffixes = sorted({Path(name).suffix.lstrip(".") for name in job.selection.names})
        row = json_schema(job.selection.table.schema)
        pictures = [pa.field(suffix, IMAGE) for suffix in suffixes]
        columns = [
            *pictures,
            pa.field("json", pa.struct(list(row))),
            pa.field("txt", pa.string()),
            pa.field("__key__", pa.string()),
            pa.field("__url__", pa.string()),
        ]
        return Layout(
            files=[("SPLIT-NUMBER.tar", "samples of a picture, its row as .json and its prompt as .txt")],
            loading="import webdataset\n\n"
            f'dataset = webdataset.WebDataset("PATH/{next(iter(data_files))}-000000.tar", shardshuffle=False)\n'
            f'dataset = dataset.decode("pil").to_tuple("{";".join(suffixes)}", "json", "txt")',
            data_files=data_files,
            features=pa.schema(columns),
        )


def _write_shard(job: ExportJob, stage: Stage, name: str, piece: Sequence[int]) -> None:
    with (
        stage.writing(name, flush=True) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard,
    ):
        for picture in job.selection.pictures(piece):
            key = Path(picture.name).stem
            _add(shard, picture.name, picture.data)
            _add(shard, f"{key}.json", json_line(json_row(picture.row)))
            _add(shard, f"{key}.txt", (picture.row["prompt"] or "").encode())
            job.count()


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    shard.addfile(entry, io.BytesIO(data))
