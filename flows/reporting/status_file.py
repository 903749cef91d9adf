"""The status file: the status of a run, for other terminals, as a small file in the output folder; and reading it.

OUT/.progress.json is renewed about once a second while a run holds the folder. Whether the run is alive is
read from its lock, which the operating system drops with the process, not from the file. At a URL the file is
renewed every few seconds, and a run whose lease was not renewed for a minute counts as stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from nonesuch.catalogs.storage.lease import is_leased
from nonesuch.catalogs.storage.remote_output import PROGRESS
from nonesuch.catalogs.storage.store import Store
from nonesuch.flows.reporting.metrics import Rate
from nonesuch.flows.reporting.progress import Tally
from nonesuch.flows.run.output_folder import LOCK
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import atomic_write, is_held
from nonesuch.foundation.urls import local_path, url_of

_EVERY = 1.0  # seconds between two writes

State = Literal["running", "ended", "stopped"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of the last run in an output folder."""

    sweep: str  # its name
    state: State  # "stopped": it was killed or interrupted; run it again to continue
    total: int  # recipes that it had to draw
    already: int  # recipes that the catalog had before
    done: int  # images drawn or fetched, and finished, so far
    failed: int  # recipes without an image
    flagged: int  # images that look black, blank or unsafe
    started_at: str  # ISO 8601, UTC
    updated_at: str  # ISO 8601, UTC
    images_per_second: float  # drawn since its first images
    seconds_left: float | None  # estimate; None when nothing is drawn yet, or nothing is left
    fetched: int = 0  # of the done ones, images that a server or a stopped run had already


class StatusFile:
    """A nonesuch.flows.reporting.progress.Watcher that keeps OUT/.progress.json. Never ends a run: what can't be written is left."""

    def __init__(self, out: Path, sweep: str) -> None:
        self._path = out / PROGRESS
        self._sweep = sweep
        self._started = datetime.now(UTC)
        self._rate = Rate()
        self._speed = 0.0
        self._written = 0.0
        self._already = 0
        self._tally = Tally(0, 0, 0, 0)

    def planned(self, total: int, already: int) -> None:
        """The run begins."""
        self._already = already
        self._tally = Tally(total, 0, 0, 0)
        self._write(ended=False)

    def advanced(self, tally: Tally) -> None:
        """One more recipe has ended."""
        now = time.monotonic()
        self._tally = tally
        self._speed = self._rate.at(tally.worked)
        if now - self._written >= _EVERY:
            self._write(ended=False)

    def ended(self) -> None:
        """The run is over."""
        self._write(ended=True)

    def _write(self, *, ended: bool) -> None:
        self._written = time.monotonic()
        tally = self._tally
        rate = self._speed
        left = tally.total - tally.done - tally.failed
        status = RunStatus(
            sweep=self._sweep,
            state="ended" if ended else "running",
            total=tally.total,
            already=self._already,
            done=tally.done,
            failed=tally.failed,
            flagged=tally.flagged,
            started_at=self._started.isoformat(timespec="seconds"),
            updated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            images_per_second=round(rate, 3),
            seconds_left=round(left / rate, 1) if rate > 0 and left else None,
            fetched=tally.fetched,
        )
        try:
            atomic_write(self._path, json.dumps(asdict(status)).encode())
        except StorageError:
            return  # the run's own writes report a full disk


def read_status(out: Path) -> RunStatus:
    """The status of the last run in `out`, a folder or a URL. Raises InputError when no run has been there."""
    url, out = url_of(out), local_path(out)
    store = None if url is None else Store(url)
    try:
        data = (out / PROGRESS).read_bytes() if store is None else store.read(PROGRESS)
        if data is None:
            raise FileNotFoundError
        told = RunStatus(**json.loads(data))
    except FileNotFoundError as error:
        raise InputError(
            "no sweep has run here",
            where=url or str(out),
            hint="Name the folder or URL that `nonesuch run` got as --out.",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"can't be read ({error})", where=f"{out}/{PROGRESS}") from error
    alive = is_held(out / LOCK) if store is None else is_leased(store)
    if told.state == "running" and not alive:
        return RunStatus(**{**asdict(told), "state": "stopped", "seconds_left": None})
    return told
