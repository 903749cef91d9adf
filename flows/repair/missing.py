"""What a run looks for before it draws: catalogued images of its sweep that are gone, by listings alone.

No image is opened: a file of another size than its row says counts as lost, a changed one of the same size is found by
`nonesuch check` only.
"""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.storage.parts import UNREADABLE, damaged, part_files
from nonesuch.catalogs.storage.store import Store
from nonesuch.flows.reporting.progress import tell_noted
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.output_folder import IMAGES

_COLUMNS = ("sweep", "file", "bytes")


def lost_images(job: Job, sweep: str | None = None) -> int:
    """How many rows of the job's sweep, or of another one of its output, name a file that is not there or has another size.

    Files that a retention removed are named by no row any more. Raises StorageError when the listing fails, CatalogError
    for a damaged part.
    """
    sweep = sweep or job.sweep.name
    folder = f"{IMAGES}/{sweep}"
    found = [_rows(path, sweep, folder) for path in part_files(job.out)]
    rows = pa.concat_tables(found).combine_chunks() if found else None
    if rows is None or not rows.num_rows:
        return 0
    sizes = Store(job.url).sizes([folder]) if job.url else _listed(job.out / folder, folder)
    place = pc.index_in(rows["file"].combine_chunks(), value_set=pa.array(sizes, pa.string()))
    same = pc.equal(pc.take(pa.array(sizes.values(), pa.int64()), place), rows["bytes"].combine_chunks())
    known = pc.is_valid(place)
    # rows of older catalogs may lack the size
    whole = pc.and_(known, pc.fill_null(same, known))
    return int(rows.num_rows) - int(pc.sum(whole).as_py() or 0)


def tell_lost(job: Job, sweep_file: Path) -> int:
    """How many catalogued images of the sweep are gone; reported to the watchers, with the command that repairs."""
    lost = lost_images(job)
    if lost:
        command = f"nonesuch run {quote(str(sweep_file))} --out {quote(job.place)} --repair"
        tell_noted(
            f"{lost:,} catalogued images of {job.sweep.name} are missing or cut short; to draw them again:\n{command}"
        )
    return lost


def _rows(path: Path, sweep: str, folder: str) -> pa.Table:
    """File and size of a part's rows of that sweep that lie in its folder."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=[name for name in _COLUMNS if name in file.schema_arrow.names])
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if "bytes" not in table.column_names:
        table = table.append_column("bytes", pa.nulls(table.num_rows, pa.int64()))
    own = pc.equal(pc.cast(table["sweep"], pa.string()), sweep)
    return table.select(["file", "bytes"]).filter(
        pc.and_(own, pc.fill_null(pc.starts_with(table["file"], f"{folder}/"), False))
    )


def _listed(folder: Path, name: str) -> dict[str, int]:
    """Size by name, relative to the output, of the files in the folders of `folder`."""
    found: dict[str, int] = {}
    try:
        below = [entry for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return found
    for entry in below:
        with os.scandir(entry.path) as files:
            for file in files:
                found[f"{name}/{entry.name}/{file.name}"] = file.stat().st_size
    return found
