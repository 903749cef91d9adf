"""`--log-json`: what a run reports, as JSON lines on stderr for log collectors, in place of the bar."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from nonesuch.flows.reporting.progress import Tally
from nonesuch.running.flow_runs import is_not_about_runs

EVERY = 5.0  # seconds between two lines of progress


def tell(event: str, **facts: Any) -> None:
    """One line: time, event, and the event's facts."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
    print(json.dumps(line, ensure_ascii=False, default=str), file=sys.stderr, flush=True)


class JsonLog(logging.Handler):
    """A nonesuch.flows.reporting.progress.Watcher, and a logging handler for libraries' warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._begun = monotonic()
        self._told = self._begun
        self._failed = 0
        self.addFilter(is_not_about_runs)

    def __enter__(self) -> JsonLog:
        import prefect.logging.configuration

        import nonesuch.flows  # noqa: F401  (its settings come before Prefect's import, which sets the handlers)

        prefect.logging.configuration.setup_logging()
        root = logging.getLogger()
        self._others = root.handlers[:]
        root.handlers[:] = [self]
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().handlers[:] = self._others

    def planned(self, total: int, already: int) -> None:
        """The run starts."""
        self._begun = self._told = monotonic()
        tell("planned", images=total, already=already)

    def advanced(self, tally: Tally) -> None:
        """A recipe has ended: a line every few seconds, one for new failures, and one for the last."""
        now, ended = monotonic(), tally.done + tally.failed
        if now - self._told < EVERY and tally.failed == self._failed and ended < tally.total:
            return
        self._told, self._failed = now, tally.failed
        tell(
            "progress",
            done=tally.done,
            failed=tally.failed,
            flagged=tally.flagged,
            fetched=tally.fetched,
            total=tally.total,
            images_per_second=round(tally.worked / max(now - self._begun, 1e-9), 3),
        )

    def noted(self, text: str) -> None:
        """What the user should know before the end."""
        tell("note", message=text)

    def emit(self, record: logging.LogRecord) -> None:
        """A library's warning or error."""
        tell("log", level=record.levelname.lower(), logger=record.name, message=record.getMessage())
