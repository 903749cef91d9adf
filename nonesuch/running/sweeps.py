"""Running a sweep from Python or the command line: Prefect and the model start at the same time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonesuch.flows.reporting.summary import Summary


def run_sweep(
    sweep_file: Path,
    out: Path,
    *,
    retry_failed: bool = False,
    online: bool = True,
    shard_size: int | None = None,
    engine: Mapping[str, Any] | None = None,
    policy: Path | None = None,
    repair: bool = False,
) -> Summary:
    """Run the flow `sweep` on Prefect's embedded server, or on the server that PREFECT_API_URL names.

    `engine` replaces keys of the sweep file's: {"name": "processes", "devices": 2}.
    `policy` is another policy file that the sweep must satisfy; `repair` repairs the folder and redraws lost images. Returns the run's Summary.
    Raises InputError, StorageError, ServerError or DrawingError with what to do.
    """
    from nonesuch.flows.run.job import prepare
    from nonesuch.flows.warm import warm

    job = prepare(sweep_file, out, online=online, policy=policy)
    if job.sweep.engine.changed(engine).chosen == "here":
        # Prefect's server needs about ten seconds to start; the model loads meanwhile.
        threading.Thread(target=warm, args=(job,), name="warm", daemon=True).start()
    from nonesuch.flows.sweep import sweep

    leave_errors_to_the_caller()
    with _server_losses_told():
        summary: Summary = sweep(
            sweep_file,
            out,
            retry_failed=retry_failed,
            online=online,
            shard_size=shard_size,
            engine=engine,
            policy=policy,
            repair=repair,
        )
    return summary


@contextmanager
def _server_losses_told() -> Iterator[None]:
    """Turn what Prefect's client raises when its server is unreachable into a ServerError."""
    from httpx import TransportError

    from nonesuch.foundation.errors import ServerError

    try:
        yield
    except (TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise ServerError(
            f"Prefect's server can't be reached ({type(error).__name__})",
            hint="Everything published is safe. Start the server that PREFECT_API_URL names, or unset it, "
            "and run it again to continue.",
        ) from error


def leave_errors_to_the_caller() -> None:
    """Keep Prefect's console from printing tracebacks of errors that the caller receives and reports anyway.

    Prefect's server still records them.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(is_not_about_runs)


def is_not_about_runs(record: logging.LogRecord) -> bool:
    """A logging filter that drops Prefect's messages about errors in runs."""
    return not record.name.startswith(("prefect.flow_runs", "prefect.task_runs", "prefect.engine"))
