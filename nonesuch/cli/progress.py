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

from flows.progress import Tally


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "– images/s")


class Bar:
    """A flows.progress.Watcher that draws a bar with images/s and the time left."""

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

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, total: int, already: int) -> None:
        """Set the bar's length; say what the catalog already holds."""
        if already:
            self._console.print(f"{already:,} images are in the catalog already")
        self._progress.update(self._task, total=total, description="drawing")

    def advanced(self, tally: Tally) -> None:
        """Move the bar; failures are named in its label as they come."""
        label = f"drawing ({tally.failed} failed)" if tally.failed else "drawing"
        self._progress.update(self._task, completed=tally.done + tally.failed, description=label)

    def noted(self, text: str) -> None:
        """Print it above the bar."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
