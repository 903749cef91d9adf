"""The progress bar for verdicts, on a terminal's stderr: files are counted while the first are verified."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nonesuch.provenance.verifying.verdict import Verdict


def counted(verdicts: Iterator[Verdict], files: Callable[[], Iterable[Path]]) -> Iterator[Verdict]:
    """The verdicts, with a progress bar; `files` lists the same files again, to count them."""
    if not sys.stderr.isatty():
        yield from verdicts
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("verified"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("verify", total=None)

        def count() -> None:
            bar.update(task, total=sum(1 for _ in files()))

        threading.Thread(target=count, name="count", daemon=True).start()
        for verdict in verdicts:
            yield verdict
            bar.advance(task)
