"""The progress bars, on stderr: of a sweep, a training, verdicts, and of whatever counts what it has done.

rich is imported with the first bar: `--help` of the commands that import this module needs none.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

    from nonesuch.flows.reporting.progress import Tally
    from nonesuch.provenance.verifying.verdict import Verdict


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields the function that is told how many are done, and of how many when that is known."""
    with _progress() as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


def counted(verdicts: Iterator[Verdict], files: Callable[[], Iterable[Path]]) -> Iterator[Verdict]:
    """The verdicts, on a terminal with a bar; `files` names the same files once more, for their number.

    They are counted while the first are verified.
    """
    if not sys.stderr.isatty():
        yield from verdicts
        return
    with _progress() as bar:
        task = bar.add_task("verified", total=None)

        def count() -> None:
            bar.update(task, total=sum(1 for _ in files()))

        threading.Thread(target=count, name="count", daemon=True).start()
        for verdict in verdicts:
            yield verdict
            bar.advance(task)


class SweepBar(AbstractContextManager["SweepBar"]):
    """A nonesuch.flows.reporting.progress.Watcher: a bar with images/s and the time left."""

    def __init__(self, console: Console) -> None:
        from nonesuch.flows.reporting.metrics import Rate

        self._console = console
        self._progress = _progress(console, "{task.fields[rate]}")
        self._task = self._progress.add_task("starting", total=None, rate=_per_second(None))
        self._rate = Rate()

    def __enter__(self) -> SweepBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, total: int, already: int) -> None:
        """Set the bar's length; report how many images the catalog already has."""
        if already:
            self._console.print(f"{already:,} images are in the catalog already")
        self._progress.update(self._task, total=total, description="drawing")

    def advanced(self, tally: Tally) -> None:
        """Move the bar; its label shows failures and fetched images."""
        counts = ((tally.fetched, "fetched"), (tally.failed, "failed"))
        told = ", ".join(f"{count} {what}" for count, what in counts if count)
        label = f"drawing ({told})" if told else "drawing"
        ended, rate = tally.done + tally.failed, _per_second(self._rate.at(tally.worked))
        self._progress.update(self._task, completed=ended, description=label, rate=rate)

    def noted(self, text: str) -> None:
        """Print it above the bar."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


class TrainingBar(AbstractContextManager["TrainingBar"]):
    """A nonesuch.training.lora.loop.TrainingWatcher: a bar for the class images and one for the steps."""

    def __init__(self, console: Console) -> None:
        self._progress = _progress(console)
        self._tasks = {"": self._progress.add_task("starting", total=None)}

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advanced(self, what: str, done: int, total: int, loss: float | None) -> None:
        """Move the bar of `what`."""
        if what not in self._tasks:
            self._progress.update(self._tasks[""], visible=False)
            self._tasks[what] = self._progress.add_task(what, total=total)
        label = what if loss is None else f"{what}, loss {loss:.4f}"
        self._progress.update(self._tasks[what], completed=done, total=total, description=label)


def _progress(console: Console | None = None, *columns: str) -> Progress:
    """Label, bar, count, further columns and the time left. A given console keeps the bar when it has ended."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=console is None,
    )


def _per_second(rate: float | None) -> str:
    return f"{rate:.1f} images/s" if rate else "– images/s"
