"""The progress bar of a sweep, on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nonesuch.flows.reporting.metrics import Rate
from nonesuch.flows.reporting.progress import Tally


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.fields.get("rate")
        return Text(f"{rate:.1f} images/s" if rate else "– images/s")


class Bar:
    """A nonesuch.flows.reporting.progress.Watcher that draws a bar with images/s and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=False,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._rate = Rate()

    def __enter__(self) -> Bar:
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
        ended, rate = tally.done + tally.failed, self._rate.at(tally.worked)
        self._progress.update(self._task, completed=ended, description=label, rate=rate)

    def noted(self, text: str) -> None:
        """Print it above the bar."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
