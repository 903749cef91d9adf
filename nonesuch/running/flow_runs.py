"""Running a flow from Python or the command line: a sweep, whose model starts with Prefect, a rescoring, a training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonesuch.foundation.files import AnyPath

if TYPE_CHECKING:
    from nonesuch.flows.reporting.summary import Summary
    from nonesuch.flows.rescore import RescoreSummary
    from nonesuch.generators.matrix.plan import Plan
    from nonesuch.training.lora.loop import Trained
    from nonesuch.training.lora.lora_settings import LoraSettings


def plan_sweep(sweep_file: AnyPath, *, policy: AnyPath | None = None) -> Plan:
    """What a sweep would draw: counts, first prompts, time, bytes and cost. Loads no model and uses no network.

    `policy` is a further file that the sweep must satisfy. Raises InputError with file, line and key.
    """
    from nonesuch.flows.run.job import prepare
    from nonesuch.generators.matrix.plan import plan

    return plan(prepare(Path(sweep_file), Path(), online=False, policy=_path(policy)).sweep)


def run_sweep(
    sweep_file: AnyPath,
    out: AnyPath,
    *,
    retry_failed: bool = False,
    online: bool = True,
    shard_size: int | None = None,
    engine: Mapping[str, Any] | None = None,
    policy: AnyPath | None = None,
    repair: bool = False,
) -> Summary:
    """Run the flow `sweep` on Prefect's embedded server, or on the server that PREFECT_API_URL names.

    Draws, scores, marks and catalogues what the output folder (or URL) `out` lacks of the sweep: run it again to
    continue after a stop. `retry_failed` draws failed recipes again; unless `online`, nothing is fetched;
    `shard_size` is the number of recipes that are published together.
    `engine` replaces keys of the sweep file's: {"name": "processes", "devices": 2}.
    `policy` is a further file that the sweep must satisfy; `repair` mends the folder and draws lost images again.
    Returns the run's Summary.
    Raises InputError, StorageError, ServerError or DrawingError with what to do.
    """
    from nonesuch.flows.run.job import prepare
    from nonesuch.flows.run.loaded_models import warm

    sweep_file, out, policy = Path(sweep_file), Path(out), _path(policy)
    job = prepare(sweep_file, out, online=online, policy=policy)
    if job.sweep.engine.changed(engine).chosen == "here":
        # Prefect's server needs some ten seconds to start; the model loads meanwhile.
        threading.Thread(target=warm, args=(job,), name="warm", daemon=True).start()
    from nonesuch.flows.sweep import sweep

    leave_errors_to_the_caller()
    with server_losses_told():
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


def rescore_catalog(
    out: AnyPath,
    scorers: Sequence[str],
    *,
    encoder: str | None = None,
    aesthetic: str | None = None,
    safety_threshold: float | None = None,
    again: bool = False,
    online: bool = False,
) -> RescoreSummary:
    """Run the flow `rescore` on Prefect's embedded server, or on the one that PREFECT_API_URL names.

    The arguments are nonesuch.flows.rescore.rescore's, and so is what is raised; unknown scorers and folders without a
    catalog are told before the server starts.
    """
    from nonesuch.catalogs.query import Catalog
    from nonesuch.scoring.scorers import scorer_kind

    out = Path(out)
    Catalog(out)
    for name in scorers:
        scorer_kind(name)
    from nonesuch.flows.rescore import rescore

    leave_errors_to_the_caller()
    with server_losses_told():
        summary: RescoreSummary = rescore(
            out,
            scorers,
            encoder=encoder,
            aesthetic=aesthetic,
            safety_threshold=safety_threshold,
            again=again,
            online=online,
        )
    return summary


def train_subject(
    settings: LoraSettings,
    out: AnyPath,
    *,
    revision: str | None = None,
    online: bool = True,
    restart: bool = False,
) -> Trained:
    """Run the flow `train` on Prefect's embedded server, or on the one that PREFECT_API_URL names.

    The arguments are nonesuch.flows.train.train's, and so is what is raised; what is wrong with the settings, the base or
    the pictures is told before the server starts.
    """
    from nonesuch.flows.train import check_training, train

    check_training(settings, revision=revision, online=online)
    leave_errors_to_the_caller()
    with server_losses_told():
        done: Trained = train(settings, Path(out), revision=revision, online=online, restart=restart)
    return done


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else Path(given)


@contextmanager
def server_losses_told() -> Iterator[None]:
    """Turn what Prefect's client raises when its server is away into a ServerError."""
    from httpx import TransportError

    from nonesuch.foundation.errors import ServerError

    try:
        yield
    except (TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise ServerError(
            f"Prefect's server can't be reached ({type(error).__name__})",
            hint="What is published stays. Start the server that PREFECT_API_URL names, or unset it, "
            "and run the command again to continue.",
        ) from error


def leave_errors_to_the_caller() -> None:
    """Keep Prefect's console from printing tracebacks of errors that the caller gets, and tells, anyway.

    Its server still records them.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(is_not_about_runs)


def is_not_about_runs(record: logging.LogRecord) -> bool:
    """A logging filter that leaves out what Prefect says of errors in runs."""
    return not record.name.startswith(("prefect.flow_runs", "prefect.task_runs", "prefect.engine"))
