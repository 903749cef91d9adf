"""Small catalogs written the way the flow writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.storage.parts import publish_shard


@pytest.fixture
def demo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a catalog of `count` rows in parts of `per`; each row number in `failed` failed."""

    def write(count: int = 60, per: int = 20, failed: tuple[int, ...] = ()) -> Path:
        out = tmp_path / "out"
        for start in range(0, count, per):
            rows = [
                make_row(i, status="failed" if i in failed else "ok")
                for i in range(start, min(start + per, count))
            ]
            publish_shard(out, f"demo-{start // per:05d}", rows, SCHEMA)
        return out

    return write
