"""What all tests share: no network, no reporting, the person's own keys and caches left alone."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis
import pytest

_HOME = tempfile.mkdtemp(prefix="nonesuch-tests-")
# Set before any test module imports Prefect, the hub client or nonesuch.
os.environ |= {
    "NONESUCH_HOME": f"{_HOME}/config",
    "NONESUCH_CACHE": f"{_HOME}/cache",
    "PREFECT_HOME": f"{_HOME}/prefect",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
os.environ.pop("PREFECT_API_URL", None)

# How long an example takes says nothing on a machine that does other things too.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


# by their minutes in `make test-slow`, then in `make test`
LONGEST = [
    "test_faults.py",
    "test_ray.py",
    "test_left_behind.py",
    "test_schedule_cli.py",
    "test_foreign_folder.py",
]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, one for all workers of pytest-xdist; yields its API address, also for child processes."""
    import prefect.context
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tests.shared_server import shared_server

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the whole session
    with ExitStack() as stack:
        url = stack.enter_context(shared_server(folder))
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        # Prefect's own threads have no context but the process's.
        settings = prefect.context.get_settings_context()
        stack.enter_context(prefect.context._temporary_global_settings_context(settings))
        stack.callback(_send_the_rest)
        yield url


def _send_the_rest() -> None:
    """Send what Prefect's logs and events still hold for the server while that is there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.utilities.asyncutils import run_coro_as_sync

    async def drained() -> None:
        for drain in (lambda: APILogWorker.instance().drain(), EventsWorker.drain_all):
            with suppress(RuntimeError):  # it never began
                if inspect.isawaitable(rest := drain()):
                    await rest

    run_coro_as_sync(drained())


@pytest.fixture
def examples() -> Path:
    """The folder of example sweeps."""
    return Path(__file__).parents[1] / "examples"


def pytest_unconfigure() -> None:
    """Leave nothing behind in the temporary folder."""
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is long or starts a Prefect server; begin with the longest files, so that none is waited for."""
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()) or item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
