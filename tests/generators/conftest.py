from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NONESUCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a sweep file from an indented literal."""

    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of tiny random pipelines by family, each made once."""
    import tiny_pipelines

    folder = tmp_path_factory.mktemp("pipelines")

    def made(family: str) -> Path:
        path = folder / family
        return path if path.is_dir() else getattr(tiny_pipelines, family)(path)

    return made
