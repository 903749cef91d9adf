"""Thumbnails: how large they are, where they lie, and that drawing leaves them behind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonesuch.catalogs.thumbnails import LONGEST, thumbnail, thumbnail_path, write_thumbnail
from nonesuch.foundation.errors import InputError


@pytest.mark.parametrize(
    ("width", "height", "small"),
    [(640, 640, (320, 320)), (960, 480, (320, 160)), (480, 960, (160, 320)), (5000, 3, (320, 1))],
)
def test_the_longest_side_is_the_limit(width: int, height: int, small: tuple[int, int]) -> None:
    data = thumbnail(np.full((height, width, 3), (200, 40, 90), np.uint8))
    assert data is not None
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("WEBP", small)
    red, green, blue = np.asarray(image.convert("RGB")).reshape(-1, 3).mean(0)
    assert abs(red - 200) < 8
    assert abs(green - 40) < 8
    assert abs(blue - 90) < 8


def test_small_images_need_none(tmp_path: Path) -> None:
    small = np.zeros((LONGEST, 200, 3), np.uint8)
    assert thumbnail(small) is None
    write_thumbnail(tmp_path, "a" * 64, small)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_only_recipe_ids_name_thumbnails(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        thumbnail_path(tmp_path, name)


@pytest.mark.slow
def test_a_run_leaves_thumbnails_of_large_images(tmp_path: Path, prefect_server: str) -> None:
    from nonesuch.catalogs.query import Catalog
    from nonesuch.flows.sweep import sweep

    (tmp_path / "sweep.yaml").write_text(
        "name: sizes\nmodel: noise\nprompt: noise\n"
        "facets: {size: [128x128, 384x352]}\nseeds: {count: 2}\nscoring: {scorers: [technical]}\n"
    )
    sweep(tmp_path / "sweep.yaml", tmp_path / "out")
    rows = Catalog(tmp_path / "out").query(as_arrow=True).to_pylist()
    assert len(rows) == 4
    for row in rows:
        path = thumbnail_path(tmp_path / "out", row["recipe_id"])
        assert path.exists() == (row["width"] == 384)
        if path.exists():
            assert Image.open(path).size == (320, 293)
