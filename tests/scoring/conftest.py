"""A tiny random open_clip model in a folder, and its encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.scoring import Encoder, open_encoder
from tests.scoring.samples import write_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: read it, don't change it."""
    return write_model(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def encoder(folder: Path) -> Encoder:
    return open_encoder(f"local-dir:{folder}", "cpu")
