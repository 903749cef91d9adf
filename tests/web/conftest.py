"""Fixtures of the server's tests: marked pictures, a catalog that holds them, and servers on loopback ports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).parent)]

from serving import serving  # noqa: E402
from web_samples import PAYLOADS, marked_file, picture, publish  # noqa: E402

from nonesuch.provenance.request import MarkedFile  # noqa: E402


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web-home")


@pytest.fixture(scope="session")
def marked(home: Path) -> dict[int, MarkedFile]:
    """Watermarked and signed PNG files, by the number of their picture; all but the last are in the catalog."""
    return {number: marked_file(picture(number), PAYLOADS[number], home) for number in (0, 1, 2)}


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory, marked: dict[int, MarkedFile]) -> Path:
    """An output folder: picture 0 with its file, picture 1 with its manifest in a sidecar pack and its file gone."""
    folder = tmp_path_factory.mktemp("web-out")
    publish(folder, {number: marked[number] for number in (0, 1)}, gone={1})
    return folder


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server would put temporary files."""
    return tmp_path_factory.mktemp("web-temporary")


@pytest.fixture(scope="session")
def server(out: Path, home: Path, temporary: Path) -> Iterator[str]:
    """The address of a server with a catalog."""
    with serving("--catalog", out, home=home, temporary=temporary) as address:
        yield address


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=120, trust_env=False) as client:
        yield client
