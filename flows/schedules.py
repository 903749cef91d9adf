"""Sweeps that run at their times on one machine: a schedule is noted in the person's folder and served by a process.

The note (a small JSON file) is what `schedule list` and `schedule remove` read from another terminal; whether a
schedule is served is read from a lock, which the operating system drops with the process. Prefect's server
keeps the times, the runs and their states, and lets no two runs of a schedule overlap.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from nonesuch.flows.servers.local_server import prefect_server, schedules_dir, server_at_hand
from nonesuch.foundation import children
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import atomic_write, held_alone, is_held

if TYPE_CHECKING:
    from prefect.schedules import Schedule

TAG = "nonesuch-schedule"
_LOOK_EVERY = 2.0  # seconds between two looks at whether the schedule was removed
_ASK_EVERY = 30.0  # seconds between two questions to the server about its runs
_RUNS = 200  # runs that are looked at, the latest first: those of the next days and the last ones


@dataclass(frozen=True, slots=True)
class Nightly:
    """A sweep with its times."""

    name: str  # of the schedule: letters, digits, dots, dashes and underscores
    sweep_file: str  # absolute path; read anew by every run
    out: str  # absolute path of the output folder
    cron: str | None  # five fields, as in crontab
    interval: float | None  # seconds
    timezone: str | None  # IANA name; None: UTC
    since: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Listed:
    """A schedule as `schedule list` shows it."""

    schedule: Nightly
    served: bool  # whether a process serves it now
    last_run: str | None  # state of its last run with its time; None: none yet, or no server to ask
    next_run: str | None  # ISO 8601, UTC


def times(cron: str | None, interval: float | None, timezone: str | None) -> Schedule:
    """The times as Prefect takes them. Raises InputError for what is no cron line, interval or time zone."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
    from prefect.schedules import Cron, Interval
    from pydantic import ValidationError

    if (cron is None) == (interval is None):
        raise InputError("a schedule has either a cron line or an interval", where="schedule")
    try:
        if cron is not None:
            CronSchedule(cron=cron, timezone=timezone)  # checks what Cron leaves for the server to refuse
            return Cron(cron, timezone=timezone)
        length = timedelta(seconds=interval or 0)
        IntervalSchedule(interval=length, timezone=timezone)
        return Interval(length, timezone=timezone)
    except (ValidationError, ValueError, OverflowError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(
            said.removeprefix("Value error, "),
            where="schedule",
            hint='Use for example --cron "0 2 * * *" --timezone Europe/Berlin, or --interval 6h.',
        ) from error


def serve(schedule: Nightly, tell: Callable[[str], None] = lambda line: None) -> None:
    """Run the sweep at its times until the process is interrupted or the schedule removed.

    A run that is due while the last one draws is cancelled (Prefect's collision strategy CANCEL_NEW). A change
    of the sweep file holds from the next run on. `tell` gets a line for every run that ends.
    Raises InputError for bad times, StorageError when a process serves that name already, DependencyError without a server.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from nonesuch.flows.sweep import sweep

    when = times(schedule.cron, schedule.interval, schedule.timezone)
    tell(f"{schedule.name}: reaching Prefect's server, which may have to start first")
    os.chdir(children.NOBODYS_FOLDER)  # Prefect runs flows in the current folder, and imports from it
    with _served(schedule), prefect_server() as url:
        tell(f"{schedule.name}: {told(schedule)}; Prefect at {url.removesuffix('/api')}; Ctrl-C stops it")
        ended = threading.Event()
        here = copy_context()  # Prefect's settings of this block, the server's address among them
        watch = threading.Thread(
            target=here.run, args=(_watch, schedule, ended, tell), name="watch", daemon=True
        )
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell's background jobs begin so, and the interrupt that ends a removed schedule would be ignored too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        watch.start()
        try:
            sweep.serve(
                name=schedule.name,
                schedule=when,
                parameters={"sweep_file": schedule.sweep_file, "out": schedule.out},
                tags=[TAG],
                global_limit=ConcurrencyLimitConfig(
                    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
                ),
                print_starting_message=False,
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        finally:
            ended.set()
            watch.join(timeout=10)
            if not _note(schedule.name).exists():
                _forget_deployment(schedule.name)


def schedules() -> list[Listed]:
    """Every schedule of this person, by name. Asks a Prefect server only where one runs."""
    found = []
    for path in _notes():
        schedule = _read(path)
        last, following = _runs(schedule.name)
        found.append(Listed(schedule, is_held(_lock_file(schedule.name)), last, following))
    return found


def remove(name: str) -> bool:
    """Forget a schedule; the process that serves it ends. Returns whether one did. Raises InputError for an unknown one."""
    note = _note(name)
    if not note.exists():
        known = ", ".join(path.name.removesuffix(".schedule.json") for path in _notes()) or "none"
        raise InputError(f"there is no schedule {name!r}", where="schedule", hint=f"Known: {known}.")
    served = is_held(_lock_file(name))
    note.unlink()
    if not served:
        _lock_file(name).unlink(missing_ok=True)
        with prefect_server():
            _forget_deployment(name)
    return served


def told(schedule: Nightly) -> str:
    """When it runs, for a person."""
    if schedule.cron is not None:
        return f"{schedule.cron} ({schedule.timezone or 'UTC'})"
    return f"every {timedelta(seconds=schedule.interval or 0)}"


def _watch(schedule: Nightly, ended: threading.Event, tell: Callable[[str], None]) -> None:
    """Tell of runs that end, and end the process's serving when its schedule is removed."""
    seen: set[str] = set()
    begun = datetime.now(UTC)
    asked = monotonic()
    while not ended.wait(_LOOK_EVERY):
        removed = not _note(schedule.name).exists()
        if removed or monotonic() - asked >= _ASK_EVERY:
            _tell_ended(schedule.name, begun, seen, tell)
            asked = monotonic()
        if removed:
            tell(f"{schedule.name}: removed")
            # unlike _thread.interrupt_main, a signal wakes an event loop that waits
            os.kill(os.getpid(), signal.SIGINT)
            return


def _tell_ended(name: str, since: datetime, seen: set[str], tell: Callable[[str], None]) -> None:
    """Tell of the runs that have ended `since` and are not in `seen`, which they enter; the oldest first."""
    for run in reversed(_flow_runs(name)):
        if run.state is None or not run.state.is_final() or str(run.id) in seen:
            continue
        seen.add(str(run.id))
        if run.state.timestamp >= since:
            at = run.state.timestamp.isoformat(timespec="seconds")
            reason = f": {run.state.message}" if run.state.message else ""
            tell(f"{at} {run.name}: {run.state.name}{reason}")


def _flow_runs(name: str) -> list[Any]:
    """The newest runs of a schedule, scheduled ones among them; none where the server can't be asked."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    try:
        with get_client(sync_client=True) as client:
            return list(
                client.read_flow_runs(
                    deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
                    sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                    limit=_RUNS,
                )
            )
    except Exception:  # what the server is busy with must not end a schedule
        return []


def _runs(name: str) -> tuple[str | None, str | None]:
    """The last run's state and the next run's time, where a server runs."""
    with server_at_hand() as url:
        runs = [] if url is None else _flow_runs(name)
    waiting = [run for run in runs if run.state is not None and run.state.is_scheduled()]
    begun = [run for run in runs if run.state is not None and not run.state.is_scheduled()]
    following = min((run.expected_start_time for run in waiting), default=None)
    last = max(begun, key=lambda run: run.state.timestamp, default=None)
    return (
        None if last is None else f"{last.state.name}, {last.state.timestamp.isoformat(timespec='seconds')}",
        None if following is None else following.isoformat(timespec="seconds"),
    )


def _forget_deployment(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound), get_client(sync_client=True) as client:
        client.delete_deployment(client.read_deployment_by_name(f"sweep/{name}").id)


@contextmanager
def _served(schedule: Nightly) -> Iterator[None]:
    """Note the schedule and hold its lock. Raises StorageError when a process holds it."""
    taken = StorageError(
        f"the schedule {schedule.name!r} is served already",
        where=str(schedules_dir()),
        hint=f"Remove it first (nonesuch schedule remove {schedule.name}), or give this one another --name.",
    )
    with held_alone(_lock_file(schedule.name), taken, mode=0o600):
        atomic_write(_note(schedule.name), json.dumps(asdict(schedule)).encode(), mode=0o600)
        yield


def _read(path: Path) -> Nightly:
    try:
        return Nightly(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"this note of a schedule can't be read ({error})", where=str(path), hint="Delete it."
        ) from error


def _notes() -> list[Path]:
    return sorted(schedules_dir().glob("*.schedule.json"))


def _note(name: str) -> Path:
    return schedules_dir() / f"{name}.schedule.json"


def _lock_file(name: str) -> Path:
    return schedules_dir() / f"{name}.lock"
