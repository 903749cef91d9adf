"""Sheets as files: one HTML file that needs nothing else, and PNG tiles that no viewer chokes on."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from export_samples import make_gallery
from PIL import Image

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.sheets import contact_sheet, grid
from nonesuch.catalogs.sheets.contact_sheet import write_sheet
from nonesuch.catalogs.sheets.grid import grid_pages, xy_grid
from nonesuch.foundation.errors import InputError

EVIL = '<script>alert("1")</script> & <img src=x onerror=y>'


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return make_gallery(tmp_path_factory.mktemp("sheets") / "out")


def rows(gallery: Catalog, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gallery.query("file is not null", as_arrow=True, **more).to_pylist()
    return found


class Reader(HTMLParser):
    """Tags and attributes of a page, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    return reader


def test_an_html_sheet_holds_its_pictures_and_runs_nothing(gallery: Catalog, tmp_path: Path) -> None:
    chosen = rows(gallery)
    chosen[0] |= {"prompt": EVIL, "artist": EVIL, "subject": '"quoted"'}
    chosen[1] |= {"file": "images/gone.png", "reason": EVIL}
    out = tmp_path / "sheets" / "best.html"
    assert write_sheet(chosen, gallery.folder, out, facets=gallery.facets, title=EVIL) == [out]
    page = read(out)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == len(chosen) - 1
    for attributes in pictures:
        kind, _, data = str(attributes["src"]).partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (32, 24)
    assert pictures[0]["alt"] == EVIL
    assert page.words.count(EVIL) >= 3  # title, caption, reason: as words
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "form", "object"}
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    text = out.read_text()
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)


def test_an_html_grid_is_a_table_with_heads(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "grid.html"
    write_sheet(rows(gallery), gallery.folder, out, facets=gallery.facets, grid=("artist", "subject"))
    page = read(out)
    heads = [attributes["scope"] for tag, attributes in page.tags if tag == "th"]
    assert heads == ["col"] * 3 + ["row"] * 2
    assert sum(tag == "img" for tag, _ in page.tags) == 6
    assert "Katsushika Hokusai" in page.words
    with pytest.raises(InputError, match="no column 'mood'"):
        write_sheet(rows(gallery), gallery.folder, out, grid=("mood", "artist"))


def test_large_grids_come_in_tiles(gallery: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MAX_SIDE", 400)
    chosen = rows(gallery, order="aesthetic")
    tiles = list(grid_pages(chosen, gallery.folder, x="subject", y="strokes", thumb=64, title="Tiles"))
    assert len(tiles) == 2  # three lines of cells and two
    assert tiles[0].height - tiles[1].height == 64 + grid.GAP
    assert all(max(tile.size) <= 400 for tile in tiles)
    with pytest.raises(InputError, match="too large for one image"):
        xy_grid(chosen, gallery.folder, x="subject", y="strokes", thumb=64)
    written = write_sheet(chosen, gallery.folder, tmp_path / "grid.png", grid=("strokes", "subject"))
    assert [path.name for path in written] == [f"grid-{n}.png" for n in range(1, len(written) + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    for path in written:
        with Image.open(path) as tile:
            assert max(tile.size) <= 400


def test_large_sheets_come_in_numbered_pages(
    gallery: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "MAX_SIDE", 1300)
    written = write_sheet(rows(gallery) * 4, gallery.folder, tmp_path / "best.png", facets=["artist"])
    assert [path.name for path in written] == ["best-1.png", "best-2.png"]
    alone = write_sheet(rows(gallery)[:3], gallery.folder, tmp_path / "few.png")
    assert [path.name for path in alone] == ["few.png"]


def test_pictures_elsewhere_are_shown_only_when_their_digest_is_known(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.png"
    Image.new("RGB", (32, 32), "red").save(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "out").mkdir()
    for sha256, shown in ((digest, True), ("0" * 64, False), (None, False)):
        row = {"file": "../elsewhere.png", "sha256": sha256}
        write_sheet([row], tmp_path / "out", tmp_path / "sheet.html")
        text = (tmp_path / "sheet.html").read_text()
        assert ("data:image/webp" in text) is shown
        assert ("lies outside the output folder" in text) is not shown
