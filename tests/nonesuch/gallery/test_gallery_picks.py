"""Picks over HTTP: what is said lands in the log, is shown, can be undone, and comes from the gallery's own pages only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nonesuch.catalogs.picks.log import open_picks

pytestmark = pytest.mark.slow

Own = tuple[Path, list[dict[str, Any]], TestClient]
Say = Callable[..., Any]


def test_what_is_said_is_kept_and_shown(own: Own, say: Say) -> None:
    out, rows, client = own
    one, other = rows[1]["recipe_id"], rows[2]["recipe_id"]
    assert say(client, do="pick", id=one).json()["states"][one]["verdict"] == "picked"
    assert say(client, do="stars", id=one, value="4").json()["said"] == "4 stars"
    assert say(client, do="tag", id=one, value="cover").json()["states"][one]["tags"] == ["cover"]
    assert say(client, do="note", id=one, value="for <the> title").json()["states"][one]["who"] == "Ada"
    assert say(client, do="reject", id=other).json()["states"][other]["verdict"] == "rejected"
    state = open_picks(out, "Bob").states()[one]
    assert (state.verdict, state.stars, state.tags, state.note) == (
        "picked",
        4,
        ("cover",),
        "for <the> title",
    )
    for query, wanted in (
        ("pick=picked", {one}), ("pick=rejected", {other}), ("stars=4", {one}), ("stars=5", set()), ("tag=cover", {one}),
    ):  # fmt: skip
        page = client.get(f"/gallery?{query}").text
        assert set(re.findall(r'class="tile" data-id="([0-9a-f]{64})"', page)) == wanted
    assert one not in client.get("/gallery?pick=open&order=plan_index").text
    page = client.get(f"/image/{one}").text
    assert "for &lt;the&gt; title" in page
    assert 'aria-pressed="true"' in page


def test_undo_goes_back_step_by_step_and_redo_forth(own: Own, say: Say) -> None:
    _, rows, client = own
    one = rows[1]["recipe_id"]
    say(client, do="pick", id=one)
    say(client, do="stars", id=one, value="2")
    told = say(client, do="undo").json()
    assert told["said"] == "Undone: 2 stars"
    assert told["states"][one] == {**told["states"][one], "verdict": "picked", "stars": 0}
    assert say(client, do="undo").json()["states"][one]["verdict"] is None
    assert say(client, do="undo").json() == {"said": "Nothing to undo", "states": {}}
    told = say(client, do="redo").json()
    assert told["said"] == "Redone: pick"
    assert told["states"][one]["verdict"] == "picked"


def test_several_images_are_one_act(own: Own, say: Say) -> None:
    _, rows, client = own
    ids = [row["recipe_id"] for row in rows[:3]]
    assert say(client, do="pick", id=",".join(ids)).json()["said"] == "Picked 3 images"
    states = say(client, do="undo").json()["states"]
    assert {one: state["verdict"] for one, state in states.items()} == dict.fromkeys(ids)


def test_a_preference_is_a_comparison_with_each_other_image(own: Own, say: Say) -> None:
    out, rows, client = own
    best, *others = (row["recipe_id"] for row in rows[:3])
    told = say(client, do="prefer", id=best, value=",".join(others))
    assert told.json()["said"] == "Preferred to 2 others"
    assert [(pair.winner, pair.loser) for pair in open_picks(out).pairs()] == [(best, one) for one in others]


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "pick", "id": "abc"},
        {"do": "pick", "id": "f" * 64},  # well formed, but not in the catalog
        {"do": "pick", "id": "' OR 1=1"},
        {"do": "stars", "value": "6"},
        {"do": "stars", "value": "-1"},
        {"do": "stars", "value": "1.5"},
        {"do": "tag", "value": "<b>"},
        {"do": "note", "value": "a" * 2001},
        {"do": "note", "value": "\x00"},
        {"do": "prefer", "value": ""},
        {"do": "prefer", "value": "f" * 64},
        {"do": "vanish"},
        {"do": "close"},
        {"do": ""},
        {},
    ],
)
def test_what_can_not_be_said_is_refused_and_leaves_nothing(
    own: Own, say: Say, fields: dict[str, str]
) -> None:
    out, rows, client = own
    answer = say(client, **{"id": rows[1]["recipe_id"], **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    assert open_picks(out).events() == []


def test_requests_without_the_pages_token_are_refused(own: Own) -> None:
    out, rows, client = own
    fields = {"do": "pick", "id": rows[1]["recipe_id"]}
    token = re.search(r'data-token="([0-9a-f]{64})"', client.get("/gallery").text)
    assert token
    stranger = TestClient(client.app, base_url="http://localhost")
    for headers, who in (
        ({}, client),  # the cookie alone, as another site's form would bring it
        ({"X-Nonesuch-Token": "0" * 64}, client),
        ({"X-Nonesuch-Token": "ü".encode()}, client),
        ({"X-Nonesuch-Token": token[1]}, stranger),  # the token without the cookie
        ({"X-Nonesuch-Token": token[1], "Cookie": "nonesuch-session=" + "0" * 32}, stranger),
    ):
        answer = who.post("/picks", json=fields, headers={**headers, "Accept": "application/json"})
        assert answer.status_code == 403, headers
    own_site = {"X-Nonesuch-Token": token[1], "Origin": "https://evil.example"}
    assert client.post("/picks", json=fields, headers=own_site).status_code == 403
    foreign = {"X-Nonesuch-Token": token[1], "Host": "evil.example"}
    assert client.post("/picks", json=fields, headers=foreign).status_code == 421
    assert client.get("/picks").status_code == 405
    assert open_picks(out).events() == []


def test_the_session_is_kept_from_scripts_and_other_sites(own: Own) -> None:
    cookie = own[2].get("/gallery").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'{"do": {"a": 1}}', "application/json", 400),
        (b"[" * 9000, "application/json", 400),
        (b"do=pick&id=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 100, "application/x-www-form-urlencoded", 400),
        (b"x" * 20_000, "application/json", 413),
        (b"do=pick", "text/plain", 415),
        (b"", "", 415),
    ],
)
def test_broken_requests_are_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    assert client.post("/picks", content=body, headers={"Content-Type": kind}).status_code == status


@pytest.mark.parametrize(
    ("back", "goes"),
    [
        ("/gallery?q=fox", "/gallery?q=fox"),
        ("https://evil.example/", None),
        ("//evil.example", None),
        ("/gallery\\@evil.example", None),
        ("/gallery\r\nSet-Cookie: a=b", None),
        ("/api", None),
    ],
)
def test_plain_forms_work_and_lead_back_to_the_gallery_only(own: Own, back: str, goes: str | None) -> None:
    _, rows, client = own
    page = client.get("/gallery").text
    token = re.search(r'name="token" value="([0-9a-f]{64})"', page)
    assert token
    button = f"pick:{rows[1]['recipe_id']}"
    assert f'value="{button}"' in client.get("/gallery?order=plan_index").text
    answer = client.post("/picks", data={"token": token[1], "back": back, "do": button})
    assert answer.status_code == (303 if goes else 200)
    assert answer.headers.get("location") == goes
    assert "evil" not in str(answer.headers)
    stars = client.post(
        "/picks", data={"token": token[1], "back": back, "do": f"stars:{rows[1]['recipe_id']}:5"}
    )
    assert stars.status_code == answer.status_code
    assert 'data-verdict="picked" data-stars="5"' in client.get("/gallery?pick=picked").text


def test_picks_leave_the_files_alone(own: Own, say: Say) -> None:
    out, rows, client = own
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in out.glob("images/**/*.png")}
    say(client, do="pick", id=rows[1]["recipe_id"])
    assert before == {
        path: hashlib.sha256(path.read_bytes()).digest() for path in out.glob("images/**/*.png")
    }


def test_pages_follow_what_others_say_meanwhile(own: Own) -> None:
    out, rows, client = own
    assert rows[5]["recipe_id"] not in client.get("/gallery?pick=picked").text
    open_picks(out, "Bob").pick(rows[5]["recipe_id"])
    assert rows[5]["recipe_id"] in client.get("/gallery?pick=picked").text
