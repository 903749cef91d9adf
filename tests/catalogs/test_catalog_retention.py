"""Retention: what meets the policy loses its file and keeps its row; picks, parents and other people's files stay."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage import retention
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.catalogs.storage.retention import JOURNAL, Policy, retain
from nonesuch.foundation.errors import InputError

SCHEMA = catalog_schema({"subject": "string"}, {"aesthetic": "float32"}, None)
COUNT = 8


def recipe_id(number: int) -> str:
    return f"{number:016x}" * 4


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Eight images of two subjects; the number is the score, the days since it was drawn fall with it."""
    out = tmp_path / "out"
    rows = []
    for number in range(COUNT):
        file = out / "images" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 100)
        rows.append(
            {
                "recipe_id": recipe_id(number),
                "sweep": "s",
                "status": "ok",
                "plan_index": number,
                "subject": "fox" if number % 2 else "owl",
                "aesthetic": float(number),
                "file": f"images/{number}.png",
                "bytes": 100,
                "drawn_at": datetime.now(UTC) - timedelta(days=10 * (COUNT - number)),
            }
        )
    publish_shard(out, "s-a", rows[:3], SCHEMA)
    publish_shard(out, "s-b", rows[3:], SCHEMA)
    return out


def files(out: Path) -> set[int]:
    return {int(path.stem) for path in (out / "images").iterdir()}


def removed(out: Path) -> set[int]:
    rows = pd.read_parquet(out / "catalog")
    gone = rows[rows["status"] == "removed"]
    assert gone["file"].isna().all()
    assert len(rows) == COUNT  # no row goes
    return {int(i[:16], 16) for i in gone["recipe_id"]}


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (Policy(where="aesthetic < 3"), {0, 1, 2}),
        (Policy(older_than=45), {0, 1, 2, 3}),
        (Policy(keep_top=2), {0, 1, 2, 3, 4, 5}),
        (Policy(keep_top=1, keep_per="subject"), {0, 1, 2, 3, 4, 5}),
        (Policy(keep_top=1, keep_per="subject", where="subject = 'fox'"), {1, 3, 5}),
        (Policy(where="subject = 'owl'", older_than=45), {0, 2}),
        (Policy(keep_top=2, order="-aesthetic"), {2, 3, 4, 5, 6, 7}),
    ],
)
def test_files_that_meet_every_condition_go_and_rows_stay(out: Path, policy: Policy, gone: set[int]) -> None:
    dry = retain(out, policy)
    assert (dry.images, dry.bytes, dry.applied) == (len(gone), 100 * len(gone), False)
    assert files(out) == set(range(COUNT))
    assert removed(out) == set()
    done = retain(out, policy, apply=True)
    assert (done.images, done.applied) == (len(gone), True)
    assert files(out) == set(range(COUNT)) - gone
    assert removed(out) == gone
    assert retain(out, policy).images == 0 or policy.keep_top is not None
    rows = pd.read_parquet(out / "catalog")
    assert rows["aesthetic"].notna().all()
    assert rows.loc[rows["status"] == "removed", "reason"].str.contains("retention").all()


def test_what_people_said_anything_of_and_parents_stay(out: Path) -> None:
    log = open_picks(out, "anna")
    log.pick(recipe_id(0))
    log.stars(recipe_id(1), 1)
    log.tag(recipe_id(2), "cover")
    log.note(recipe_id(3), "look")
    log.reject(recipe_id(4))
    child = {
        "recipe_id": recipe_id(99),
        "sweep": "s",
        "status": "ok",
        "parent": recipe_id(5),
        "aesthetic": 99.0,
    }
    (out / "images" / "99.png").write_bytes(b"y")
    publish_shard(out, "s-c", [child | {"file": "images/99.png", "bytes": 1}], SCHEMA)
    done = retain(out, Policy(where="aesthetic < 50"), apply=True)
    assert (done.images, done.spared) == (3, 5)
    assert files(out) == {0, 1, 2, 3, 5, 99}


def test_files_outside_the_folder_are_not_touched(out: Path) -> None:
    elsewhere = out.parent / "mine.png"
    elsewhere.write_bytes(b"mine")
    row = {"recipe_id": recipe_id(50), "sweep": "s", "status": "ok", "file": "../mine.png", "aesthetic": 0.0}
    publish_shard(out, "s-d", [row], SCHEMA)
    done = retain(out, Policy(where="aesthetic = 0"), apply=True)
    assert (done.images, done.outside) == (1, 1)
    assert elsewhere.read_bytes() == b"mine"


def test_a_killed_run_is_finished_by_the_next(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_delete", die)
        with pytest.raises(Killed):
            retain(out, Policy(where="aesthetic < 2"), apply=True)
    assert removed(out) == {0, 1}
    assert files(out) == set(range(COUNT))
    retain(out, Policy(where="aesthetic > 1000"), apply=True)
    assert files(out) == set(range(2, COUNT))
    assert not (out / JOURNAL).exists()


def test_a_journal_can_delete_nothing_that_the_catalog_has_or_that_lies_outside(out: Path) -> None:
    outside = out.parent / "precious.txt"
    outside.write_text("mine")
    (out / JOURNAL).write_text(json.dumps({recipe_id(6): "images/6.png", recipe_id(77): "../precious.txt"}))
    retain(out, Policy(where="aesthetic > 1000"), apply=True)
    assert outside.exists()
    assert 6 in files(out)


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (Policy(), "no condition"),
        (Policy(where="beauty > 3"), "beauty"),
        (Policy(where="1=1); DROP TABLE x; --"), "DROP"),
        (Policy(keep_per="subject", where="true"), "keep_top"),
        (Policy(keep_top=1, keep_per="nix"), "nix"),
        (Policy(older_than=-1), "age"),
    ],
)
def test_a_broken_policy_is_refused(out: Path, policy: Policy, what: str) -> None:
    with pytest.raises(InputError, match=what):
        retain(out, policy, apply=True)
    assert files(out) == set(range(COUNT))


def test_removed_images_are_still_recognised_and_not_counted_as_images(out: Path) -> None:
    from nonesuch.flows.catalog_folder import CatalogFolder

    rows = [{"recipe_id": recipe_id(60), "sweep": "s", "status": "ok", "file": "images/60.png"}]
    rows[0] |= {"watermark_id": 4711, "sha256": "ab" * 32, "aesthetic": 1.5}
    (out / "images" / "60.png").write_bytes(b"z")
    publish_shard(out, "s-e", rows, SCHEMA)
    retain(out, Policy(where="watermark_id = 4711"), apply=True)
    (found,) = CatalogFolder(out).by_watermark(4711)
    assert (found.image_id, found.file) == (recipe_id(60), None)
    assert Catalog(out).count("file IS NOT NULL") == COUNT
