"""webdataset: tar shards in which the files of one sample follow one another: image, .json, .txt."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from nonesuch.catalogs.exports.column_words import (
    IMAGE,
    PLACE,
    json_line,
    json_row,
    json_schema,
    lost_numbers,
)
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout
from nonesuch.catalogs.exports.read_back import (
    check_with_datasets,
    checked,
    expect,
    expect_bytes,
    expect_names,
    expect_rows,
    expect_values,
    installed,
)
from nonesuch.catalogs.exports.selection import Selection
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.foundation.errors import CatalogError

SHARD_BYTES = 1 << 30  # of images in one shard


class WebDataset:
    """SPLIT-000000.tar with KEY.png (.jpg, .webp), KEY.json with the row and KEY.txt with the prompt.

    The catalog's columns are keys of the JSON object, a name space of their own beside the sample's keys.
    The same choice makes the same bytes: no times, owners or modes of this machine are in the shards.
    """

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        names = _column_names(job.selection)
        for name, piece in _shards(job):
            if stage.has(name):
                for _ in piece:
                    job.count()
            else:
                _write_shard(job, stage, name, piece, names)
        suffixes = sorted({Path(name).suffix.lstrip(".") for name in job.selection.names})
        row = json_schema(job.selection.table.schema, names)
        pictures = [pa.field(suffix, IMAGE) for suffix in suffixes]
        columns = [
            *pictures,
            pa.field("json", pa.struct(list(row))),
            pa.field("txt", pa.string()),
            pa.field("__key__", pa.string()),
            pa.field("__url__", pa.string()),
        ]
        return Layout(
            files=[("SPLIT-NUMBER.tar", "samples of an image, its row as .json and its prompt as .txt")],
            loading="import webdataset\n\n"
            f'dataset = webdataset.WebDataset("PATH/{next(iter(job.selection.splits))}-000000.tar", shardshuffle=False)\n'
            f'dataset = dataset.decode("pil").to_tuple("{";".join(suffixes)}", "json", "txt")',
            data_files={split: [f"{split}-*.tar"] for split in job.selection.splits},
            features=pa.schema(columns),
            columns=names,
            losses=lost_numbers(job.selection.table),
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """Every header by a tar reader of its own, samples by `webdataset` (else that reader) and `datasets`."""
        names = _column_names(job.selection)
        library = installed("webdataset")
        shards = _shards(job)
        images = 0
        for name, piece in shards:
            path = stage.root / name
            members = tar_members(path)
            keys = dict.fromkeys(member.partition(".")[0] for member in members)
            expect_rows(len(keys), len(piece), name)
            expect(len(members) == 3 * len(piece), f"{name} has {len(members):,} members")
            some = piece[: max(1, 4 // len(shards))]
            samples = _library_samples(path) if library else _own_samples(path, members)
            for picture, sample in zip(job.selection.pictures(some), samples, strict=False):
                row = json.loads(sample["json"])
                expect_names(row, names.values(), name)
                expect_values(row, json_row(picture.row, names), name)
                expect(sample["txt"].decode() == (picture.row["prompt"] or ""), f"{name}: another prompt")
                expect_bytes(sample.get(Path(picture.name).suffix.lstrip(".")), picture, name)
                images += 1
        reader = check_with_datasets(job, stage.root, layout, inside="json")
        return checked(["a tar reader of nonesuch", library, reader], job, len(names), images)


def _column_names(selection: Selection) -> dict[str, str]:
    return {name: name for name in selection.table.column_names if name not in (PLACE, EMBEDDING)}


def _shards(job: ExportJob) -> list[tuple[str, Sequence[int]]]:
    """Each shard's name and its row numbers."""
    return [
        (f"{split}-{place:06d}.tar", piece)
        for split, numbers in job.selection.splits.items()
        for place, piece in enumerate(job.selection.pieces(numbers, job.request.images_per_file, SHARD_BYTES))
    ]


def tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Member → (offset, size) of a plain ustar file, by its headers alone. Raises CatalogError for another file."""
    members: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file:
        end = path.stat().st_size
        while (header := file.read(512)) != bytes(512):
            try:
                name, size = header[:100].rstrip(b"\0").decode(), int(header[124:135], 8)
                total = int(header[148:154], 8)
            except ValueError:
                raise CatalogError(f"{path.name} is not a whole tar file") from None
            blanked = header[:148] + b" " * 8 + header[156:]
            place = file.tell()
            expect(
                len(header) == 512 and sum(blanked) == total and place + size <= end and name not in members,
                f"{path.name} is not a whole tar file",
            )
            members[name] = (place, size)
            file.seek(-size % 512 + size, io.SEEK_CUR)
    return members


def _own_samples(path: Path, members: Mapping[str, tuple[int, int]]) -> Iterator[dict[str, bytes]]:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    for name, place in members.items():
        key, _, suffix = name.partition(".")
        samples.setdefault(key, {})[suffix] = place
    with path.open("rb") as file:
        for sample in samples.values():
            found = {}
            for suffix, (start, size) in sample.items():
                file.seek(start)
                found[suffix] = file.read(size)
            yield found


def _library_samples(path: Path) -> Iterator[dict[str, bytes]]:
    import webdataset

    with path.open(
        "rb"
    ) as file:  # not by its name: in names, the library takes some signs for patterns and pipes
        members = webdataset.tariterators.tar_file_iterator(file)
        named = ({**member, "__url__": path.name} for member in members)
        yield from webdataset.tariterators.group_by_keys(named)


def _write_shard(
    job: ExportJob, stage: Stage, name: str, piece: Sequence[int], names: Mapping[str, str]
) -> None:
    with (
        stage.writing(name, flush=True) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard,
    ):
        for picture in job.selection.pictures(piece):
            key = Path(picture.name).stem
            _add(shard, picture.name, picture.data)
            _add(shard, f"{key}.json", json_line(json_row(picture.row, names)))
            _add(shard, f"{key}.txt", (picture.row["prompt"] or "").encode())
            job.count()


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    shard.addfile(entry, io.BytesIO(data))
