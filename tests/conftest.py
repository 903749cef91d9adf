"""What all tests share: no network, no reporting, the person's own keys and caches left alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


# Files that take several seconds each: real child processes, servers, models and large catalogs.
SLOW_FILES = {
    "catalogs/test_catalog_compact.py", "catalogs/test_catalog_likeness.py", "catalogs/test_catalog_remote.py",
    "catalogs/test_export_edges.py", "flows/test_failures.py", "generators/test_backends.py",
    "generators/test_models.py", "house/test_structure.py", "nonesuch/gallery/test_gallery_pages.py",
    "nonesuch/gallery/test_gallery_picks.py", "nonesuch/test_cli_picks.py", "nonesuch/test_exchange_cli.py",
    "nonesuch/test_marks.py", "provenance/test_signing.py", "provenance/test_stamping.py",
    "provenance/watermark/test_secrecy.py", "scoring/test_encoder.py", "training/test_training_shipped.py",
    "nonesuch/gallery/test_gallery_view.py", "provenance/test_limits.py", "provenance/test_credentials.py",
    "catalogs/test_export.py", "catalogs/test_picks_taste.py", "generators/test_init_images.py",
    "provenance/test_hostile.py", "provenance/watermark/test_geometry.py", "scoring/test_embedded_clip.py",
    "training/test_training_world.py", "web/test_web_bindings.py", "web/test_web_parts.py", "web/test_web_verify.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts a Prefect server, and what lies in the files above."""
    here = Path(__file__).parent
    for item in items:
        uses_server = "prefect_server" in getattr(item, "fixturenames", ())
        if uses_server or item.path.relative_to(here).as_posix() in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
