"""The Prefect flow `verify_folder`: a folder of any size to verdicts in Parquet, shard by shard, resumable.

A shard is a run of files in the order of their names. Its part is named by a digest over the files' names, sizes
and times and over the options; a part that exists is not made again, and parts whose files have changed
are removed at the end. So OUT always holds what has been verified, each file once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from nonesuch.flows.catalog_folder import CatalogFolder
from nonesuch.flows.run.output_folder import hold
from nonesuch.foundation.errors import InputError
from nonesuch.provenance.marking.manifest import own_version
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verdict_table import write_table
from nonesuch.provenance.verifying.verify_options import VerifyOptions
from nonesuch.provenance.verifying.worker_pool import SECONDS, expand_paths, verify_files
from nonesuch.provenance.watermark.secret_key import read_watermark_key

SHARD_SIZE = 1000  # files of a shard, on average
_LARGEST = 4  # times the average that a shard may have
_PROGRESS_EVERY = 5.0  # seconds between two updates of the progress artifact
_COLUMNS = ("verdict", "confidence", "error")


@dataclass(frozen=True, slots=True)
class VerifySummary:
    """What a folder holds, over all runs into the same OUT."""

    files: int  # rows in OUT
    verified: int  # of them, in this run
    errors: int  # files that could not be read in full
    answers: Mapping[str, int]  # "ai-generated proven" and so on, with the number of files
    seconds: float  # of this run

    def markdown(self) -> str:
        """The summary as a table."""
        lines = [f"| {name} | {count:,} |" for name, count in sorted(self.answers.items())]
        told = f"{self.files:,} files, {self.verified:,} of them verified now, {self.errors:,} with an error"
        return "\n".join([told, "", "| verdict | files |", "|---|---|", *lines])


@dataclass(frozen=True, slots=True)
class FileShard:
    """Consecutive files of a folder."""

    key: str  # 32 hex digits
    files: tuple[Path, ...] = field(repr=False)

    @property
    def part(self) -> str:
        """The name of its part in OUT."""
        return f"part-{self.key}.parquet"


@task(name="verify shard", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def verify_shard(name: str, work: Any) -> int:
    """Write one shard's verdicts as a part; `work` is a quoted (verdicts, path of the part). Returns their number."""
    verdicts, path = work
    held: list[Verdict] = list(verdicts)
    write_table(held, path)
    return len(held)


@flow(name="verify_folder", flow_run_name="{folder}", persist_result=False, validate_parameters=False)
def verify_folder(
    folder: Path,
    out: Path,
    catalog: Path | None = None,
    trust: Path | None = None,
    online: bool = False,
    search: Literal["aligned", "full"] = "full",
    watermark_key: str | None = None,
    shard_size: int = SHARD_SIZE,
    jobs: int | None = None,
    seconds: float = SECONDS,
    again: bool = False,
) -> VerifySummary:
    """The verdict on every image below `folder`, as Parquet parts in the folder `out`.

    Run it again to continue after a stop: only files that are new, that changed or that are asked otherwise are
    verified. `again` verifies all of them, for example when the catalog has grown. `watermark_key` is a file or
    env:NAME; `jobs` the number of processes; `seconds` what one file may take. Memory does not grow with the
    number of files but for their names within one folder.
    Raises InputError for a folder, trust file or key that can't be used, StorageError for a full disk.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder))
    key = None if watermark_key is None else read_watermark_key(watermark_key)
    lookup = None if catalog is None else CatalogFolder(Path(catalog))
    options = VerifyOptions(trust=trust, catalog=lookup, online=online, search=search, watermark_key=key)
    asked = _asked(options, catalog, watermark_key)
    begun = monotonic()
    with hold(out):
        if again:
            _remove_parts(out, set())
        keys: set[str] = set()
        waiting = total = 0
        for shard in cut_files(folder, shard_size, asked):
            keys.add(shard.part)
            total += len(shard.files)
            waiting += 0 if (out / shard.part).exists() else len(shard.files)
        progress = _Progress(total - waiting, total)
        feed = _Feed(
            shard for shard in cut_files(folder, shard_size, asked) if not (out / shard.part).exists()
        )
        verdicts = verify_files(feed.paths(), options=options, jobs=jobs, seconds=seconds)
        verified = 0
        for shard in feed:
            keys.add(shard.part)
            work = (islice(verdicts, len(shard.files)), out / shard.part)
            # quoted, so that Prefect does not search the verdicts for futures
            verified += verify_shard(f"{shard.files[0].name} +{len(shard.files) - 1}", quote(work))
            progress.update(total - waiting + verified)
        _remove_parts(out, keys)
        summary = _summary(out, verified, monotonic() - begun)
    create_markdown_artifact(summary.markdown(), key="verified")
    return summary


def cut_files(folder: Path, size: int, asked: str) -> Iterator[FileShard]:
    """The images below a folder in shards of about `size` files; `asked` tells other questions apart.

    Where a shard ends is decided by the names of its files, so that a new file changes one shard and not all
    that follow.
    """
    if size < 1:
        raise InputError(f"a shard of {size} files can't be made")
    files: list[Path] = []
    digest = hashlib.sha256(asked.encode())
    for path in expand_paths([folder]):
        files.append(path)
        name = os.fsencode(path)
        digest.update(len(name).to_bytes(4, "big") + name + _stamp(path))
        if _number(path.relative_to(folder)) % size == 0 or len(files) >= _LARGEST * size:
            yield FileShard(digest.hexdigest()[:32], tuple(files))
            files, digest = [], hashlib.sha256(asked.encode())
    if files:
        yield FileShard(digest.hexdigest()[:32], tuple(files))


def _number(path: Path) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8])


def _stamp(path: Path) -> bytes:
    try:
        stat = path.stat()
    except OSError:
        return b"gone"
    return b"%d %d;" % (stat.st_size, stat.st_mtime_ns)


def _asked(options: VerifyOptions, catalog: Path | None, watermark_key: str | None) -> str:
    """Everything besides the files that verdicts depend on; a secret key by its name, never by itself."""
    trust = options.load_trust()
    return json.dumps(
        {
            "version": own_version(),
            "trust": trust.to_json(),
            "own": [f"{anchor.serial_number:x}" for anchor in trust.own],
            "online": options.online,
            "search": options.search,
            "max_pixels": options.max_pixels,
            "catalog": None if catalog is None else str(Path(catalog).resolve()),
            "watermark_key": watermark_key,
        }
    )


class _Feed:
    """Shards in order, and their files for the workers, who read ahead of the shard that is being written."""

    def __init__(self, shards: Iterator[FileShard]) -> None:
        self._shards = shards
        self._ahead: deque[FileShard] = deque()  # read for their files, not yet handed out
        self._begun: deque[FileShard] = deque()  # handed out before their files were asked for

    def paths(self) -> Iterator[Path]:
        while True:
            if self._begun:
                shard = self._begun.popleft()
            else:
                following = next(self._shards, None)
                if following is None:
                    return
                shard = following
                self._ahead.append(shard)
            yield from shard.files

    def __iter__(self) -> Iterator[FileShard]:
        while True:
            if self._ahead:
                yield self._ahead.popleft()
                continue
            following = next(self._shards, None)
            if following is None:
                return
            self._begun.append(following)
            yield following


class _Progress:
    """The run's progress artifact, renewed at most every few seconds."""

    def __init__(self, done: int, total: int) -> None:
        self._total = total
        created = create_progress_artifact(self._share(done), key="verifying", description=self._told(done))
        self._id = cast(UUID, created)  # a coroutine only in async flows
        self._next = monotonic() + _PROGRESS_EVERY

    def update(self, done: int) -> None:
        if monotonic() < self._next and done < self._total:
            return
        self._next = monotonic() + _PROGRESS_EVERY
        update_progress_artifact(self._id, self._share(done), description=self._told(done))

    def _share(self, done: int) -> float:
        return min(100.0, 100.0 * done / max(1, self._total))

    def _told(self, done: int) -> str:
        return f"{done:,} of {self._total:,} files"


def _remove_parts(out: Path, keep: set[str]) -> None:
    for path in out.glob("part-*.parquet"):
        if path.name not in keep:
            path.unlink()


def _summary(out: Path, verified: int, seconds: float) -> VerifySummary:
    import pyarrow.parquet as pq

    answers: Counter[str] = Counter()
    errors = files = 0
    for path in sorted(out.glob("part-*.parquet")):
        table = pq.read_table(path, columns=list(_COLUMNS))
        files += table.num_rows
        errors += table.num_rows - table["error"].null_count
        pairs = zip(table["verdict"].to_pylist(), table["confidence"].to_pylist(), strict=True)
        answers.update(f"{verdict} {confidence}" for verdict, confidence in pairs)
    return VerifySummary(files, verified, errors, dict(answers), seconds)
