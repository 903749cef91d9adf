"""What all tests share: no network, no reporting, the person's own keys and caches left alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
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


# minutes each, on one core
LONGEST = ["test_faults.py", "test_schedule_cli.py", "test_resweep_cli.py", "test_ray.py", "test_rescore.py"]


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A real Prefect server in a temporary home; yields its API address, also for child processes."""
    import prefect.settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(prefect.settings.PREFECT_API_URL.value())


@pytest.fixture
def examples() -> Path:
    """The folder of example sweeps."""
    return Path(__file__).parents[1] / "examples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts a Prefect server; begin with the longest files, so that none is waited for alone."""
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
