"""Fixtures of the gallery's tests: a catalog with files, its server's application, and a server for the browser."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).parent)]

from gallery_samples import publish, visitor  # noqa: E402
from serving import serving  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An output folder that no test changes, and its rows in the plan's order."""
    out = tmp_path_factory.mktemp("gallery") / "out"
    return out, publish(out)


@pytest.fixture(scope="session")
def out(sample: tuple[Path, list[dict[str, Any]]]) -> Path:
    return sample[0]


@pytest.fixture(scope="session")
def rows(sample: tuple[Path, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return sample[1]


@pytest.fixture(scope="session")
def client(out: Path) -> TestClient:
    """A visitor of the sample catalog's gallery."""
    return visitor(out)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, list[dict[str, Any]], TestClient]:
    """A catalog of the test's own, its rows and a visitor who may pick."""
    folder = tmp_path / "out"
    rows = publish(folder)
    return folder, rows, visitor(folder)


@pytest.fixture
def say() -> Callable[..., Any]:
    """Says something of an image as the page's script does."""

    def said(client: TestClient, **fields: str) -> Any:
        page = client.get("/gallery")
        found = re.search(r'data-token="([0-9a-f]{64})"', page.text)
        assert found
        headers = {"X-Nonesuch-Token": found[1], "Accept": "application/json"}
        return client.post("/picks", json=fields, headers=headers)

    return said


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose catalog the browser's tests pick in."""
    folder = tmp_path_factory.mktemp("gallery-server")
    publish(folder / "out")
    with serving("--catalog", folder / "out", "--who", "Ada", home=folder / "home") as address:
        yield address
