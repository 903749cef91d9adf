"""The progress bar of a training, on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


class StepBar:
    """A nonesuch.training.lora.loop.TrainingWatcher that draws a bar for the class images and one for the steps."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks = {"": self._progress.add_task("starting", total=None)}

    def __enter__(self) -> StepBar:
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
