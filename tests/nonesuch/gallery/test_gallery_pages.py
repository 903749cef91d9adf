"""The gallery's routes asked over HTTP: views as addresses, paging by key, hostile input, files by id."""

from __future__ import annotations

import re
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from gallery_samples import ARTISTS, COUNT, FAILED, FLAGGED, LARGE, TWINS, publish, recipes, row_of, visitor
from starlette.testclient import TestClient

from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.thumbnails import thumbnail_path
from nonesuch.foundation.errors import InputError

pytestmark = pytest.mark.slow

Rows = list[dict[str, Any]]


class Page(HTMLParser):
    """The parts of a page that tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def ids(self) -> list[str]:
        return [str(a["data-id"]) for tag, a in self.tags if a.get("class") == "tile"]

    @property
    def next(self) -> str | None:
        return next((a["href"] for _, a in self.tags if a.get("id") == "next"), None)


def shown(client: TestClient, path: str) -> Page:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def all_ids(client: TestClient, path: str) -> list[str]:
    """The ids of every page of a view, through the links that work without scripts."""
    found: list[str] = []
    address: str | None = path
    while address:
        page = shown(client, address)
        assert 0 < len(page.ids) <= 60 or not found
        found += page.ids
        address = page.next
    return found


def in_order(rows: Rows, column: str, *, down: bool) -> list[str]:
    """What the order has to be: by value, nulls last, ties in the plan's order."""
    drawn = [row for row in rows if row["status"] != "failed"]
    known = [row for row in drawn if row.get(column) is not None]
    missing = [row for row in drawn if row.get(column) is None]
    known.sort(key=lambda row: row[column], reverse=down)  # a stable sort keeps the plan's order in ties
    if down:
        known = [
            row
            for value in dict.fromkeys(r[column] for r in known)
            for row in drawn
            if row.get(column) == value
        ]
    return [row["recipe_id"] for row in [*known, *missing]]


def test_the_first_page_shows_the_best_and_the_pages_show_every_image_once(
    client: TestClient, rows: Rows
) -> None:
    assert all_ids(client, "/gallery") == in_order(rows, "aesthetic", down=True)
    page = shown(client, "/gallery")
    assert f"{COUNT - 1} images" in " ".join(page.words.split())


@pytest.mark.parametrize(
    ("query", "column", "down"),
    [
        ("order=aesthetic&dir=up", "aesthetic", False),
        ("order=alignment", "alignment", True),
        ("order=rank", "rank", True),
        ("order=plan_index", "plan_index", False),
        ("order=drawn_at", "drawn_at", True),
        ("order=subject", "subject", False),
        ("order=seed&dir=up", "seed", False),
    ],
)
def test_every_order_pages_without_gaps(
    client: TestClient, rows: Rows, query: str, column: str, down: bool
) -> None:
    assert all_ids(client, f"/gallery?{query}") == in_order(rows, column, down=down)


def test_images_without_any_place_in_the_plan_are_paged_by_their_ids(tmp_path: Path) -> None:
    from gallery_samples import SCHEMA

    from nonesuch.catalogs.storage.parts import publish_shard

    out = tmp_path / "out"
    rows = [row_of(out, recipe, number) for number, recipe in enumerate(recipes())]
    for row in rows:
        row |= {"plan_index": None, "aesthetic": None, "status": "ok"}
    publish_shard(out, "flat-0", rows, SCHEMA)
    found = all_ids(visitor(out), "/gallery?order=aesthetic")
    assert found == sorted(row["recipe_id"] for row in rows)


@pytest.mark.parametrize(
    "query",
    ["order=aesthetic", "order=rank&dir=up", "order=drawn_at", "order=subject", "order=seed&f.blank=true"],
)
def test_pages_are_right_whatever_was_asked_before(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """With chunks so small that pages, neighbours and the beginning come from different ones, in any sequence."""
    from nonesuch.web.gallery import reader
    from nonesuch.web.gallery.view import parse_view

    order = all_ids(client, f"/gallery?{query}")
    gallery = client.app.state.site.room.gallery  # type: ignore[attr-defined]
    monkeypatch.setattr(reader, "CHUNK", 7)
    monkeypatch.setattr(gallery, "_chunks", reader.Kept(4))
    view = parse_view(parse_qsl(query), gallery.columns)
    after, found = None, []
    for turn in range(200):
        page = gallery.page(view, after, size=3)
        found += [card.recipe_id for card in page.cards]
        middle = order[(turn * 37) % len(order)]  # somebody looks at another place meanwhile
        place = order.index(middle)
        before, behind = gallery.neighbours(view, gallery.row(middle))
        assert before == (order[place - 1] if place else None)
        assert behind == (order[place + 1] if place + 1 < len(order) else None)
        assert [card.recipe_id for card in gallery.page(view, size=3).cards] == order[:3]
        after = page.next
        if after is None:
            break
    assert found == order


def test_filters_show_what_fits_and_count_what_else_there_is(client: TestClient, rows: Rows) -> None:
    page = shown(client, "/gallery?f.subject=fox&f.subject=owl&f.artist=Munch&min.aesthetic=4")
    wanted = [
        row["recipe_id"]
        for row in rows
        if row["subject"] in ("fox", "owl") and row["artist"] == "Munch" and row.get("aesthetic", 0) >= 4
    ]
    assert sorted(page.ids) == sorted(wanted)
    boxes = {a["value"]: "checked" in a for tag, a in page.tags if a.get("name") == "f.subject"}
    assert boxes["fox"] is True
    assert boxes["panda"] is False
    others = [
        r for r in rows if r["subject"] == "panda" and r["artist"] == "Munch" and r.get("aesthetic", 0) >= 4
    ]
    assert re.search(rf"panda\s*{len(others)}\b", page.words)
    labels = [a["href"] for tag, a in page.tags if a.get("class") == "chip"]
    assert len(labels) == 4
    without_artist, without_score = (
        next(str(h) for h in labels if name not in str(h)) for name in ("artist", "aesthetic")
    )
    for address in (without_artist, without_score):
        assert set(all_ids(client, address)) > set(wanted)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=failed", 1),
        ("status=flagged", 1),
        ("status=ok", COUNT - 2),
        ("status=all", COUNT),
        ("f.blank=true", COUNT // 5),
        ("f.seed=3", COUNT // 10),
        ("q=panda", COUNT // 5),
        ("q=PAINTED+-panda", COUNT * 4 // 5 - 1),
        ('q="by+Munch"', COUNT // 3),
        ("q=nothing+like+it", 0),
        ("q=%27+OR+1%3D1+--", 0),
        ("q=%7Bcatalog%7D", 0),
        ("f.artist=%7Bcatalog%7D%27", 0),
        ("tag=good", 0),
        ("pick=open", COUNT - 1),
        ("pick=picked", 0),
    ],
)
def test_how_many_fit(client: TestClient, query: str, count: int) -> None:
    page = shown(client, f"/gallery?{query}&order=plan_index")
    assert f"{count} image" in " ".join(page.words.split())
    assert len(all_ids(client, f"/gallery?{query}&order=plan_index")) == count


@pytest.mark.parametrize(
    "query",
    [
        "f.nothing=1",
        "f.recipe_id=1",
        "f.blank=maybe",
        "f.seed=1+OR+1",
        "f.seed=99999999999999999999",
        "min.aesthetic=0)+OR+(1",
        "min.aesthetic=nan",
        "max.prompt=1",
        "order=prompt",
        "order=aesthetic%3B+DROP+TABLE+x",
        "order=(SELECT+1)",
        "dir=sideways",
        "status=%27+OR+1",
        "pick=%27",
        "stars=6",
        "tag=%3Cb%3E",
        "near=abc",
        "twins=" + "z" * 64,
        "after=AAAA",
        "after=%F0%9F%A6%8A",
        "after=" + "A" * 5000,
        "size=xxl",
        "q=" + "a" * 501,
    ],
)
def test_what_can_not_be_asked_is_refused_with_a_reason(client: TestClient, query: str) -> None:
    answer = client.get(f"/gallery?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    page = client.get(f"/gallery?{query}", headers={"Accept": "text/html"})
    assert page.status_code == 400
    assert "can’t be shown" in page.text


def test_cursors_of_another_kind_are_refused(client: TestClient) -> None:
    import base64
    import json

    def cursor(*parts: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")

    for parts in (
        ["x' OR 1=1", 0, "a" * 64], [1.0, "0; DROP", "a" * 64], [1.0, 0, "' OR 1"], [1.0, 0], [True, 0, "a" * 64],
        [1.0, 2**70, "a" * 64], [[1], 0, "a" * 64],
    ):  # fmt: skip
        assert client.get("/gallery", params={"after": cursor(*parts)}).status_code == 400
    assert client.get("/gallery", params={"after": cursor(float("nan"), 0, "a" * 64)}).status_code == 200


def test_foreign_text_stays_text(client: TestClient) -> None:
    for path in ("/gallery", f"/gallery?f.artist={quote(ARTISTS[2])}", "/grid", "/gallery?status=failed"):
        page = shown(client, path)
        assert [
            a for tag, a in page.tags if tag == "script" and not (a.get("src") or "").startswith("/static/")
        ] == []
        assert not [a for _, a in page.tags if any(key.startswith("on") or key == "style" for key in a)]
        assert [tag for tag, _ in page.tags if tag == "b" and "broke" in page.words] == [] or path == "/grid"


@pytest.mark.parametrize(
    "path", ["/gallery", "/grid", "/image/", "/compare?ids=", "/gallery?q=nothing+like+it"]
)
def test_pages_name_no_other_host_and_hold_no_inline_code(client: TestClient, rows: Rows, path: str) -> None:
    if path.startswith("/image/"):
        path += rows[1]["recipe_id"]
    if path.endswith("ids="):
        path += ",".join(row["recipe_id"] for row in rows[:3])
    answer = client.get(path)
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = Page(answer.text)
    for tag, attributes in page.tags:
        for key in ("src", "href", "action", "data-from"):
            assert not (attributes.get(key) or "").startswith(("http", "//", "javascript")), attributes
        assert "style" not in attributes
        assert tag != "style"
        assert tag != "img" or attributes.get("alt") is not None
    assert [tag for tag, _ in page.tags].count("h1") == 1
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))


def test_controls_have_names(client: TestClient, rows: Rows) -> None:
    for path in ("/gallery", "/grid", f"/image/{rows[1]['recipe_id']}"):
        text = client.get(path).text
        for tag, inside in re.findall(r"<(button|a)\b[^>]*>(.*?)</\1>", text, re.DOTALL):
            words = re.sub(r"<svg.*?</svg>", "", inside, flags=re.DOTALL)
            named = re.sub(r"<[^>]+>", "", words).strip() or re.search(r'alt="[^"]+"', inside)
            assert named, (tag, inside)
        for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", text):
            if 'type="hidden"' in field:
                continue
            at = text.index(field)
            label = text.rfind("<label", 0, at)
            assert "aria-label" in field or (label >= 0 and text.find("</label>", label) > at), field


def test_prompts_are_what_a_screen_reader_says(client: TestClient, rows: Rows) -> None:
    page = shown(client, "/gallery?order=plan_index")
    alts = [a["alt"] for tag, a in page.tags if tag == "img" and (a.get("src") or "").startswith("/thumb/")]
    assert alts[0] == rows[0]["prompt"]


def test_more_like_this_and_near_duplicates(client: TestClient, rows: Rows) -> None:
    near = all_ids(client, f"/gallery?near={rows[50]['recipe_id']}")
    assert near[:2] in (
        [rows[49]["recipe_id"], rows[51]["recipe_id"]],
        [rows[51]["recipe_id"], rows[49]["recipe_id"]],
    )
    assert len(near) == len(set(near)) == COUNT - 2
    only = all_ids(client, f"/gallery?near={rows[50]['recipe_id']}&f.subject={rows[90]['subject']}")
    assert set(only) == {
        row["recipe_id"] for row in rows if row["subject"] == rows[90]["subject"] and row.get("file")
    }
    twins = all_ids(client, f"/gallery?twins={rows[TWINS[0]]['recipe_id']}")
    assert twins[0] == rows[TWINS[1]]["recipe_id"]
    part = client.get(f"/image/{rows[TWINS[0]]['recipe_id']}/like")
    assert {"More like this", "Near duplicates"} <= set(re.findall(r">([A-Z][a-z ]+)</a>", part.text))
    assert rows[TWINS[1]]["recipe_id"] in part.text


def test_a_search_by_text_without_an_encoder_says_so(client: TestClient) -> None:
    answer = client.get("/gallery?like=a+fox")
    assert answer.status_code == 400
    assert "embeddings" in answer.json()["error"]


def test_an_image_shows_everything_and_its_neighbours_in_the_view(client: TestClient, rows: Rows) -> None:
    order = in_order(rows, "alignment", down=True)
    for place in (0, 1, 70, len(order) - 1):
        page = shown(client, f"/image/{order[place]}?order=alignment")
        links = {a["id"]: a["href"] for _, a in page.tags if a.get("id") in ("before", "behind")}
        assert ("before" in links) == (place > 0)
        assert ("behind" in links) == (place < len(order) - 1)
        if place > 0:
            assert links["before"] == f"/image/{order[place - 1]}?order=alignment"
        if "behind" in links:
            assert links["behind"] == f"/image/{order[place + 1]}?order=alignment"
    row = rows[1]
    words = shown(client, f"/image/{row['recipe_id']}").words
    for said in (row["prompt"], f"{row['watermark_id']:016x}", row["recipe_id"], "exactly this image"):
        assert str(said) in words
    failed = shown(client, f"/image/{rows[FAILED]['recipe_id']}").words
    assert "it <b>broke</b>" in failed
    assert "flagged" in shown(client, f"/image/{rows[FLAGGED]['recipe_id']}").words


def test_the_copied_sweep_draws_exactly_that_image(client: TestClient, rows: Rows, tmp_path: Path) -> None:
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import load_sweep

    for row in (rows[1], rows[25], rows[-1]):
        answer = client.get(f"/image/{row['recipe_id']}/sweep.yaml")
        assert answer.headers["content-type"].startswith("application/yaml")
        (tmp_path / "again.yaml").write_text(answer.text)
        drawn = list(open_matrix(load_sweep(tmp_path / "again.yaml")))
        assert [recipe.id for recipe in drawn] == [row["recipe_id"]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_sweep_copy_finds_the_dtype_that_the_recipe_left_open(rows: Rows, dtype: str) -> None:
    from nonesuch.web.gallery.sweepfile import sweep_file

    whole = {"model_revision": None, "init_digest": None, "strength": None, **rows[1]}
    assert sweep_file({**whole, "dtype": dtype}).exact
    other = sweep_file({**whole, "seed": 12345})
    assert not other.exact
    assert "as far as that is known" in other.text


@pytest.mark.parametrize(
    ("loras", "options"),
    [("[1]", "[]"), ("no JSON", "{"), ('{"a": 1}', "7"), (None, None), ("[]", '{"a": {"b": 1}, "c": NaN}')],
)
def test_recipes_that_other_programs_wrote_are_shown(
    tmp_path: Path, loras: str | None, options: str | None
) -> None:
    from gallery_samples import SCHEMA

    from nonesuch.catalogs.storage.parts import publish_shard

    row = row_of(tmp_path / "out", recipes()[0], 0) | {
        "loras": loras,
        "options": options,
        "seed": None,
        "model": None,
    }
    publish_shard(tmp_path / "out", "look-0", [row], SCHEMA)
    client = visitor(tmp_path / "out")
    assert "the closest that the catalog" in client.get(f"/image/{row['recipe_id']}").text
    assert client.get(f"/image/{row['recipe_id']}/sweep.yaml").status_code == 200


def test_files_are_served_by_id_and_as_they_are(client: TestClient, out: Path, rows: Rows) -> None:
    row = rows[1]
    answer = client.get(f"/original/{row['recipe_id']}")
    assert answer.content == (out / row["file"]).read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    saved = client.get(f"/original/{row['recipe_id']}?download")
    assert saved.headers["content-disposition"] == f'attachment; filename="{row["recipe_id"][:16]}.png"'
    assert saved.content == answer.content
    small = client.get(f"/thumb/{row['recipe_id']}")
    assert small.content == answer.content  # it is smaller than a thumbnail
    assert not thumbnail_path(out, row["recipe_id"]).exists()


def test_a_missing_thumbnail_is_made_once_and_kept(
    own: tuple[Path, Rows, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rows, client = own
    recipe_id = rows[LARGE]["recipe_id"]
    first = client.get(f"/thumb/{recipe_id}")
    assert first.headers["content-type"] == "image/webp"
    assert "immutable" in first.headers["cache-control"]
    path = thumbnail_path(out, recipe_id)
    assert path.read_bytes() == first.content
    (out / rows[LARGE]["file"]).unlink()
    assert client.get(f"/thumb/{recipe_id}").content == first.content
    path.unlink()
    assert client.get(f"/thumb/{recipe_id}").status_code == 404


def test_a_folder_that_can_not_be_written_is_still_shown(own: tuple[Path, Rows, TestClient]) -> None:
    out, rows, client = own
    (out / "thumbnails").write_text("in the way")
    answer = client.get(f"/thumb/{rows[LARGE]['recipe_id']}")
    assert answer.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("route", ["/image/{}", "/thumb/{}", "/original/{}", "/image/{}/like", "/image/{}/sweep.yaml",
                                   "/image/{}/verdict"])  # fmt: skip
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("f" * 64, 404),
        ("abc", 400),
        ("A" * 64, 400),
        ("' OR 1=1 --", 400),
        ("..%2f..%2fetc%2fpasswd", 404),
        ("%00", 400),
    ],
)
def test_ids_that_are_none(client: TestClient, route: str, name: str, status: int) -> None:
    answer = client.get(route.format(name))
    assert answer.status_code in (status, 404)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/passwd", "images/../../secret.png", "images\\..\\x", "gone.png"]
)
def test_paths_out_of_the_folder_are_not_followed(tmp_path: Path, file: str) -> None:
    from gallery_samples import SCHEMA, picture, png

    from nonesuch.catalogs.storage.parts import publish_shard

    out = tmp_path / "out"
    row = row_of(out, recipes()[0], 0) | {"file": file}
    publish_shard(out, "look-0", [row], SCHEMA)
    (tmp_path / "secret.png").write_bytes(png(picture(1)))
    client = visitor(out)
    for route in ("thumb", "original"):
        assert client.get(f"/{route}/{row['recipe_id']}").status_code == 404
    assert client.get("/gallery").status_code == 200


def test_imported_files_are_shown_where_they_lie_if_they_are_still_the_same(tmp_path: Path) -> None:
    from gallery_samples import SCHEMA, picture, png

    from nonesuch.catalogs.storage.parts import publish_shard

    out = tmp_path / "out"
    row = row_of(out, recipes()[0], 0) | {"file": "../photos/mine.png"}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(png(picture(0)))
    publish_shard(out, "look-0", [row], SCHEMA)
    client = visitor(out)
    assert client.get(f"/original/{row['recipe_id']}").content == png(picture(0))
    assert client.get(f"/thumb/{row['recipe_id']}").status_code == 200
    (tmp_path / "photos" / "mine.png").write_bytes(png(picture(1)))
    assert client.get(f"/original/{row['recipe_id']}").status_code == 404


def test_a_catalog_in_a_storage_is_looked_through_from_its_mirror(
    out: Path, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nonesuch.catalogs.storage.mirror import push

    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))
    url = f"memory://{tmp_path.name}/storage"
    push(out, url)
    client = visitor(Path(url))
    assert len(all_ids(client, "/gallery?status=all")) == COUNT
    assert client.get(f"/original/{rows[1]['recipe_id']}").content == (out / rows[1]["file"]).read_bytes()


def test_what_is_no_picture_is_never_shown_in_the_page(tmp_path: Path) -> None:
    from gallery_samples import SCHEMA

    from nonesuch.catalogs.storage.parts import publish_shard

    out = tmp_path / "out"
    row = row_of(out, recipes()[0], 0)
    (out / row["file"]).write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    publish_shard(out, "look-0", [row], SCHEMA)
    answer = visitor(out).get(f"/original/{row['recipe_id']}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert visitor(out).get(f"/thumb/{row['recipe_id']}").status_code == 404


def test_the_grid_shows_the_best_of_each_cell(client: TestClient, rows: Rows) -> None:
    page = shown(client, "/grid?rows=subject&columns=artist&score=aesthetic")
    cells = [a["data-id"] for tag, a in page.tags if tag == "td" and a.get("data-id")]
    best = {}
    for row in rows:
        place = row["subject"], row["artist"]
        if row.get("aesthetic") is not None and row["aesthetic"] > best.get(place, (-1.0, ""))[0]:
            best[place] = (row["aesthetic"], row["recipe_id"])
    assert sorted(map(str, cells)) == sorted(one for _, one in best.values())
    heads = [a for tag, a in page.tags if tag == "th"]
    assert len(heads) == 5 + 3
    levels = {a["class"] for tag, a in page.tags if tag == "td" and (a.get("class") or "").startswith("h")}
    assert {"h0", "h10"} <= levels
    seeds = shown(client, "/grid?rows=subject&columns=artist&seed=4")
    chosen = {a["data-id"] for tag, a in seeds.tags if tag == "td" and a.get("data-id")}
    assert chosen == {row["recipe_id"] for row in rows if row["seed"] == 4}


def test_a_cell_leads_to_its_images(client: TestClient, rows: Rows) -> None:
    page = shown(client, "/grid?rows=subject&columns=seed&heat=best&sort=name")
    links = [str(a["href"]) for tag, a in page.tags if a.get("class") == "n"]
    assert len(links) == 5 * 10
    assert len(all_ids(client, links[0])) in (2, 3)
    assert "f.subject=UFO" in links[0] or "f.subject=castle" in links[0]


@pytest.mark.parametrize(
    "query",
    [
        "rows=nothing",
        "rows=prompt",
        "score=prompt",
        "heat=hot",
        "seed=x",
        "r=x",
        "rows=sweep&columns=artist",
        "c=1e9",
    ],
)
def test_grids_that_can_not_be(client: TestClient, query: str) -> None:
    assert client.get(f"/grid?{query}").status_code == 400


def test_grids_beyond_the_last_value_and_without_images_are_empty(client: TestClient) -> None:
    assert "No image matches" in client.get("/grid?r=900").text
    assert "No image matches" in client.get("/grid?q=nothing+like+it").text


def test_a_comparison_names_what_differs(client: TestClient, rows: Rows) -> None:
    ids = [row["recipe_id"] for row in rows[:3]]
    page = shown(client, f"/compare?ids={ids[0]}&ids={ids[1]}&ids={ids[2]}")
    assert [a["data-id"] for _, a in page.tags if a.get("class") == "pane"] == ids
    assert "aesthetic" in page.words
    assert "scheduler" not in page.words  # they share it
    drawn = client.get("/compare?f.subject=owl")
    assert drawn.status_code == 303
    assert shown(client, drawn.headers["location"]).tags


def test_a_blind_comparison_shows_two_of_one_prompt_and_nothing_that_tells_them_apart(
    client: TestClient, rows: Rows
) -> None:
    drawn = client.get("/compare?blind=seed")
    assert drawn.status_code == 303
    address = drawn.headers["location"]
    page = shown(client, address)
    ids = [a["data-id"] for _, a in page.tags if a.get("class") == "pane"]
    chosen = [row for row in rows if row["recipe_id"] in ids]
    assert len({row["prompt"] for row in chosen}) == 1
    assert len({row["seed"] for row in chosen}) == 2
    assert "Where they differ" not in page.words
    links = [str(a.get("href")) for _, a in page.tags]
    assert not any("/image/" in link for link in links)
    assert any(link.startswith("/compare?") and "blind=seed" in link for link in links)
    assert client.get("/compare?blind=nothing").status_code == 400


@pytest.mark.parametrize(
    "ids", ["a" * 64, "x,y", ",".join(str(n) * 64 for n in range(5)), f"{'a' * 64},{'b' * 64}"]
)
def test_comparisons_that_can_not_be(client: TestClient, ids: str) -> None:
    assert client.get(f"/compare?ids={ids}").status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", ""])
def test_foreign_hosts_see_nothing(client: TestClient, rows: Rows, host: str) -> None:
    for path in ("/gallery", f"/thumb/{rows[1]['recipe_id']}", f"/original/{rows[1]['recipe_id']}", "/grid"):
        assert client.get(path, headers={"Host": host}).status_code == 421


def test_new_parts_and_compaction_are_seen_at_once(tmp_path: Path) -> None:
    from gallery_samples import SCHEMA

    from nonesuch.catalogs.storage.parts import publish_shard

    out = tmp_path / "out"
    rows = [row_of(out, recipe, number) for number, recipe in enumerate(recipes())]
    publish_shard(out, "look-0", rows[:50], SCHEMA)
    client = visitor(out)
    assert len(all_ids(client, "/gallery?status=all")) == 50
    first = shown(client, "/gallery?status=all&order=plan_index&dir=down")
    publish_shard(out, "look-1", rows[50:], SCHEMA)
    assert len(all_ids(client, "/gallery?status=all")) == COUNT
    later = shown(client, "/gallery?status=all&order=plan_index&dir=down")
    assert later.ids != first.ids
    compact(out, everything=True)
    assert str(later.next)
    assert shown(client, str(later.next)).ids == [row["recipe_id"] for row in rows[::-1]][60:120]


def test_without_a_catalog_there_is_no_gallery(out: Path) -> None:
    from starlette.testclient import TestClient as Client

    from nonesuch.web.app import create_app

    bare = Client(create_app(), base_url="http://localhost")
    assert bare.get("/gallery").status_code == 404
    assert "/gallery" not in bare.get("/").text
    start = visitor(out).get("/")
    assert start.status_code == 200
    assert 'href="/gallery"' in start.text


def test_a_question_that_takes_too_long_is_broken_off(out: Path) -> None:
    import asyncio

    from nonesuch.web.gallery.reader import Gallery
    from nonesuch.web.gallery.threads import Threads
    from nonesuch.web.upload_limits import Refused

    gallery, threads = Gallery(out), Threads(1, 0.3)
    endless = "SELECT count(*) AS n FROM range(1000000) a, range(1000000) b, range(1000000) c"

    async def asked() -> int:
        with pytest.raises(Refused) as told:
            await threads.ask(gallery.read, lambda session: session.sql(endless))
        assert (told.value.status, bool(told.value.retry)) == (503, True)
        # the only thread is free again: the query was ended, not merely forgotten
        while True:  # a busy machine may need several tries of so short a time
            with suppress(Refused):
                table = await threads.ask(
                    gallery.read, lambda s: s.sql("SELECT count(*) AS n FROM {catalog}")
                )
                break
        return int(table["n"][0].as_py())

    assert asyncio.run(asked()) == COUNT


def test_nobody_hangs_while_the_encoder_is_loaded(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from nonesuch.choosing import like
    from nonesuch.web.gallery import room

    loaded = threading.Event()

    def load(catalog: object) -> object:
        loaded.wait(60)
        raise InputError("a search by likeness needs embeddings of one encoder")

    monkeypatch.setattr(like, "catalog_encoder", load)
    monkeypatch.setattr(room, "SECONDS", 0.1)
    client = visitor(out)
    with client:
        for _ in range(6):  # more than there are threads
            answer = client.get("/gallery?like=fox", headers={"Accept": "text/html"})
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "still loading" in answer.text
        assert client.get("/gallery?order=rank").status_code == 200
        loaded.set()
        monkeypatch.setattr(room, "SECONDS", 60)
        assert client.get("/gallery?like=fox").status_code == 400  # and why, as soon as that is known


def test_publishing_the_same_sample_twice_shows_each_image_once(tmp_path: Path) -> None:

    publish(tmp_path / "out")
    assert len(all_ids(visitor(tmp_path / "out"), "/gallery?status=all&order=rank")) == COUNT


@pytest.mark.slow
def test_a_search_by_text_finds_what_its_encoder_says(tmp_path: Path) -> None:
    from gallery_samples import SUBJECTS

    from nonesuch.catalogs.schema import catalog_schema
    from nonesuch.catalogs.storage.parts import publish_shard
    from nonesuch.scoring.encoders import open_encoder

    encoder = open_encoder("embedded")
    schema = catalog_schema({"subject": "string", "artist": "string"}, {}, encoder.dim)
    out = tmp_path / "out"
    rows = []
    for number, recipe in enumerate(recipes()):
        row = row_of(out, recipe, number)
        if row["status"] == "ok" and row["seed"] == 1:
            vector = encoder.texts([f"a painting of a {row['subject']}"])[0]
            told = {"embedding": vector, "encoder": f"{encoder.name} {encoder.tag} {encoder.preprocessing}"}
            rows.append({name: value for name, value in (row | told).items() if name in schema.names})
    publish_shard(out, "look-0", rows, schema)
    client = visitor(out)
    for subject in SUBJECTS[:3]:
        page = shown(client, f"/gallery?like=a+painting+of+a+{subject}")
        first = next(row for row in rows if row["recipe_id"] == page.ids[0])
        assert first["subject"] == subject
        assert len(page.ids) == len(rows)
        assert "1.00" in page.words
