"""Live metrics of the runs in this process: images, queue depths, busy time. Cheap to set, read by exporters.

The steps that draw, score and mark call `queue` and `worked`; nonesuch.running.monitoring offers what is here to
Prometheus and OpenTelemetry. Only numbers are kept, so the calls cost almost nothing when no exporter reads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter, time
from typing import Final, Literal

from nonesuch.flows.reporting.progress import Tally

Kind = Literal["counter", "gauge"]

# name → (kind, label, what it says); counters only grow within a process
DESCRIBED: Final[Mapping[str, tuple[Kind, str, str]]] = {
    "nonesuch_images": ("counter", "status", "recipes that have ended: ok, flagged or failed"),
    "nonesuch_images_fetched": ("counter", "sweep", "images that a server or a stopped run had already"),
    "nonesuch_images_planned": ("gauge", "sweep", "recipes that the run has to draw"),
    "nonesuch_images_left": ("gauge", "sweep", "of these, recipes that have not ended yet"),
    "nonesuch_images_per_second": (
        "gauge",
        "sweep",
        "recipes drawn or failed per second since the run's first one",
    ),
    "nonesuch_last_image_time_seconds": ("gauge", "sweep", "Unix time at which the last recipe ended"),
    "nonesuch_queue_depth": ("gauge", "queue", "items that wait before a stage: score, mark, write, …"),
    "nonesuch_queue_capacity": ("gauge", "queue", "items that may wait there"),
    "nonesuch_stage_seconds": (
        "counter",
        "stage",
        "seconds that a stage was at work; draw is the device's, fetch is not",
    ),
    "nonesuch_stage_images": ("counter", "stage", "images that a stage has done"),
    "nonesuch_shards": ("counter", "sweep", "shards that have been published"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One number now."""

    name: str  # a key of DESCRIBED
    label: str  # the value of its label
    value: float


_BURST: Final = 1.0  # seconds: what ends so soon after the first recipe was drawn with it
_values: dict[tuple[str, str], float] = {}
_lock = threading.Lock()


def queue(name: str, depth: int, capacity: int | None = None) -> None:
    """So many items wait before the stage `name`; `capacity` is how many may. Call it when either changes."""
    with _lock:
        _values["nonesuch_queue_depth", name] = depth
        if capacity is not None:
            _values["nonesuch_queue_capacity", name] = capacity


def worked(stage: str, seconds: float, images: int = 1) -> None:
    """A stage (draw, score, mark, write) worked for `seconds` on `images` images; from any thread."""
    with _lock:
        _add("nonesuch_stage_seconds", stage, seconds)
        _add("nonesuch_stage_images", stage, images)


def published(sweep: str) -> None:
    """A shard of a sweep is in the catalog."""
    with _lock:
        _add("nonesuch_shards", sweep, 1)


def samples() -> list[Sample]:
    """Every metric as it is now, by name and label."""
    with _lock:
        return [Sample(*key, value) for key, value in sorted(_values.items())]


class Rate:
    """Recipes per second since the first ones, which come together as a batch and whose own time is not known."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._start = (0.0, 0)  # time and count at the end of the first second

    def at(self, ended: int) -> float:
        """The rate now that `ended` recipes have ended in all; 0 while nothing can be said."""
        now = perf_counter()
        if self._first is None:
            self._first = now
        if now - self._first < _BURST:
            self._start = (now, ended)
        since, count = self._start
        return (ended - count) / (now - since) if now > since else 0.0


class RunMetrics:
    """A nonesuch.flows.reporting.progress.Watcher that keeps the metrics of one run of a sweep."""

    def __init__(self, sweep: str) -> None:
        self._sweep = sweep
        self._rate = Rate()
        self._before = Tally(0, 0, 0, 0)

    def planned(self, total: int, already: int) -> None:
        """The run begins."""
        with _lock:
            _values["nonesuch_images_planned", self._sweep] = total
            _values["nonesuch_images_left", self._sweep] = total
            _values["nonesuch_images_per_second", self._sweep] = 0.0

    def advanced(self, tally: Tally) -> None:
        """One more recipe has ended."""
        before, self._before = self._before, tally
        ended = tally.done + tally.failed
        with _lock:
            flagged = tally.flagged - before.flagged
            _add("nonesuch_images", "flagged", flagged)
            _add("nonesuch_images", "ok", tally.done - before.done - flagged)
            _add("nonesuch_images", "failed", tally.failed - before.failed)
            _add("nonesuch_images_fetched", self._sweep, tally.fetched - before.fetched)
            _values["nonesuch_images_left", self._sweep] = tally.total - ended
            _values["nonesuch_last_image_time_seconds", self._sweep] = time()
            _values["nonesuch_images_per_second", self._sweep] = self._rate.at(tally.worked)


def _add(name: str, label: str, amount: float) -> None:
    """Let a counter grow; the caller holds the lock."""
    _values[name, label] = _values.get((name, label), 0.0) + amount
