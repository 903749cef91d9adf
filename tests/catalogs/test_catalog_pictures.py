"""Perceptual hashes, contact sheets, grids and look-ups over real pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from catalog_samples import SCHEMA, make_row
from PIL import Image, ImageDraw

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.hashes import NAMES, distance, distances, perceptual_hashes
from nonesuch.catalogs.search.lookup import by_digest, by_phash, by_recipe, by_watermark
from nonesuch.catalogs.sheets.captions import MAX_SIDE
from nonesuch.catalogs.sheets.contact_sheet import contact_sheet, sheet_pages, write_sheet
from nonesuch.catalogs.sheets.grid import xy_grid
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB

COUNT = 24


def picture(index: int, size: int = 320) -> RGB:
    """A picture of coloured discs and a slope, another one for each index."""
    rng = np.random.default_rng(index)
    slope = np.linspace(0, 120, size, dtype=np.float32)
    base = np.clip(slope[None, :, None] * rng.uniform(0, 1, 3) + slope[:, None, None], 0, 255)
    image = Image.fromarray(base.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, r = (int(rng.integers(*span)) for span in ((0, size), (0, size), (size // 12, size // 4)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return np.asarray(image)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    out = tmp_path_factory.mktemp("gallery")
    rows: list[dict[str, Any]] = []
    for index in range(COUNT):
        row = make_row(index, status="failed" if index == 3 else "ok")
        if index == 3:
            row["reason"] = "out of memory"
        else:
            row |= perceptual_hashes(picture(index))
            path = out / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(index)).save(path)
        rows.append(row)
    publish_shard(out, "demo-0", rows, SCHEMA)
    return Catalog(out)


def test_hashes_agree_with_imagehash_on_the_whole_picture() -> None:
    for index in range(12):
        found = perceptual_hashes(picture(index))
        assert tuple(found) == NAMES
        image = Image.fromarray(picture(index))
        for name in NAMES:
            whole = int("".join("01"[int(b)] for b in getattr(imagehash, name)(image).hash.ravel()), 2)
            assert distance(found[name], whole) <= 4, name
        assert f"{found['phash']:016x}" == str(
            imagehash.phash(image.resize((128, 128), Image.Resampling.BOX))
        )


def test_a_recompressed_picture_is_near_and_another_is_far() -> None:
    near, far = [], []
    for index in range(12):
        image = picture(index)
        packed = io.BytesIO()
        Image.fromarray(image).resize((200, 200)).save(packed, "JPEG", quality=60)
        again = np.asarray(Image.open(packed).convert("RGB"))
        near.append(distance(perceptual_hashes(image)["phash"], perceptual_hashes(again)["phash"]))
        far.append(
            distance(perceptual_hashes(image)["phash"], perceptual_hashes(picture(index + 50))["phash"])
        )
    assert max(near) <= 8 < min(far)


def test_distances_count_bits() -> None:
    hashes = np.array([0, 1, 2**64 - 1, 0b1011], np.uint64)
    assert distances(hashes, 0).tolist() == [0, 1, 64, 3]
    assert [distance(int(h), 0) for h in hashes] == [0, 1, 64, 3]


def test_a_sheet_shows_each_picture_in_its_place(gallery: Catalog) -> None:
    rows = gallery.query(order="plan_index")
    sheet = contact_sheet(
        rows, gallery.folder, columns=5, thumb=100, captions=("subject", "aesthetic"), title="Demo × 24"
    )
    pixels = np.asarray(sheet).astype(int)
    assert pixels[2, 2].tolist() == [255, 255, 255]
    head = next(y for y in range(60, 200) if (pixels[y, 30:120] < 250).any(axis=1).mean() > 0.9)
    for place in (0, 4, 6):
        y = head + place // 5 * (pixels.shape[0] - 24 * 2 - head + 24) // 5
        x = 24 + place % 5 * 112
        small = np.asarray(
            Image.fromarray(picture(place)).resize((100, 100), Image.Resampling.LANCZOS)
        ).astype(int)
        window = min(
            np.abs(pixels[y + d : y + d + 100, x : x + 100] - small).mean()
            for d in range(-12, 40)
            if pixels[y + d : y + d + 100].shape[0] == 100
        )
        assert window < 3, place


def test_missing_broken_and_foreign_files_leave_a_field_that_says_so(
    gallery: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    rows = [{"file": "broken.png"}, {"file": "gone.png"}, {"file": "../../etc/passwd"}, {"file": None}]
    sheet = np.asarray(contact_sheet(rows, tmp_path, columns=4, thumb=120))
    for place in range(4):
        cell = sheet[24:144, 24 + 132 * place : 144 + 132 * place]
        assert cell[5, 5].tolist() == [0xEC, 0xEC, 0xEC]
        assert cell.min() < 160  # words


def test_long_sheets_are_cut_into_pages(gallery: Catalog) -> None:
    rows = gallery.query(order="plan_index", top=8).to_dict("records") * 3
    pages = list(sheet_pages(rows, gallery.folder, columns=1, thumb=1200, title="Long"))
    assert len(pages) == 2
    assert all(max(page.size) <= MAX_SIDE for page in pages)
    assert sum((page.height - 40) // 1212 for page in pages) == len(rows)
    with pytest.raises(InputError, match="too many images for one page"):
        contact_sheet(rows, gallery.folder, columns=1, thumb=1200)


def test_sheets_refuse_what_can_not_be_shown(gallery: Catalog) -> None:
    rows = gallery.query(top=3)
    with pytest.raises(InputError, match="no images"):
        contact_sheet(rows[:0], gallery.folder)
    with pytest.raises(InputError, match="no column 'mood'"):
        contact_sheet(rows, gallery.folder, captions=("mood",))
    with pytest.raises(InputError, match="pixels wide"):
        contact_sheet(rows, gallery.folder, columns=100)
    with pytest.raises(InputError, match="columns"):
        contact_sheet(rows, gallery.folder, columns=0)


def test_a_grid_has_a_cell_for_each_pair(gallery: Catalog) -> None:
    grid = xy_grid(
        gallery.query(order="aesthetic"),
        gallery.folder,
        x="subject",
        y="artist",
        thumb=96,
        captions=("aesthetic",),
    )
    pixels = np.asarray(grid)
    assert grid.width >= 3 * 96
    best = gallery.query("subject = 'castle' AND artist = 'Edvard Munch'", order="aesthetic", top=1)
    shown = np.asarray(
        Image.fromarray(picture(int(best["plan_index"][0]))).resize((96, 96), Image.Resampling.LANCZOS)
    )
    left = grid.width - 24 - 3 * 96 - 2 * 12
    errors = [
        np.abs(pixels[y : y + 96, left : left + 96].astype(int) - shown).mean()
        for y in range(grid.height - 96)
    ]
    assert min(errors) < 3
    with pytest.raises(InputError, match="no column 'mood'"):
        xy_grid(gallery.query(), gallery.folder, x="mood", y="artist")


def test_sheets_are_written_as_png_files(gallery: Catalog, tmp_path: Path) -> None:
    rows = gallery.query(order="aesthetic", as_arrow=True).to_pylist()
    out = tmp_path / "sheets" / "best.png"
    assert write_sheet(rows, gallery.folder, out, facets=gallery.facets) == [out]
    assert Image.open(out).format == "PNG"
    wide = write_sheet(rows, gallery.folder, out, facets=gallery.facets, grid=("artist", "subject"))
    grid = Image.open(wide[0])
    assert grid.width > grid.height  # two artists down, three subjects across
    with pytest.raises(InputError, match="written as PNG"):
        write_sheet(rows, gallery.folder, tmp_path / "best.jpg")


def test_an_image_is_found_by_each_of_its_names(gallery: Catalog) -> None:
    row = make_row(5)
    for found in (
        by_recipe(gallery, row["recipe_id"]),
        by_recipe(gallery, row["recipe_id"][:9].upper()),
        by_watermark(gallery, row["watermark_id"]),
        by_digest(gallery, row["sha256"]),
    ):
        assert [r["plan_index"] for r in found] == [5]
        assert found[0]["watermark_id"] == row["watermark_id"]
        assert "embedding" not in found[0]
    assert by_watermark(gallery, 0) == []
    assert by_watermark(gallery, 12345) == []
    assert by_recipe(gallery, "0" * 64) == []


def test_the_nearest_fingerprints_come_first(gallery: Catalog) -> None:
    phash = perceptual_hashes(picture(5))["phash"] ^ 0b101
    found = by_phash(gallery, phash, max_distance=64)
    assert found[0]["plan_index"] == 5
    assert found[0]["distance"] == 2
    assert [r["distance"] for r in found] == sorted(r["distance"] for r in found)
    assert 3 not in [r["plan_index"] for r in found]
    assert by_phash(gallery, phash, max_distance=1) == []
    assert by_phash(gallery, 0) == []


def test_names_that_can_not_be_ids_are_refused(gallery: Catalog) -> None:
    with pytest.raises(InputError, match="too short"):
        by_recipe(gallery, "ab")
    for bad in ("xyz1", "ab' OR 1=1 --", "", "a" * 65):
        with pytest.raises(InputError, match="is not a"):
            by_recipe(gallery, bad)
        with pytest.raises(InputError, match="is not a"):
            by_digest(gallery, bad)
