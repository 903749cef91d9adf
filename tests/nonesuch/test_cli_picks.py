"""Picks on the command line: choosing, undoing, ranking, agreement, taste, and pairs to train on."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.cli.app import app
from nonesuch.foundation.errors import InputError
from tests.command_line import nonesuch

pytestmark = pytest.mark.slow

DIM = 6
SCHEMA = catalog_schema({"subject": "string"}, {"aesthetic": "float32", "alignment": "float32"}, DIM)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, (result.stderr, result.exception)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    rng = np.random.default_rng(3)
    rows = []
    (folder / "images").mkdir(parents=True)
    for index in range(60):
        file = f"images/{index:02d}.png"
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / file)
        vector = rng.standard_normal(DIM)
        rows.append(
            {
                "recipe_id": hashlib.sha256(str(index).encode()).hexdigest(),
                "sweep": "demo",
                "plan_index": index,
                "status": "ok",
                "subject": ("fox", "panda")[index % 2],
                "prompt": f"a {('fox', 'panda')[index % 2]}, {index // 2 % 6}",
                "model": "embedded",
                "encoder": "embedded toy 6",
                "aesthetic": float(index),
                "alignment": float(rng.normal()),
                "embedding": (vector / np.linalg.norm(vector)).astype(np.float16),
                "file": file,
            }
        )
    publish_shard(folder, "demo-0", rows, SCHEMA)
    return folder


def ids(out: Path, where: str) -> list[str]:
    found = lines(
        call("query", out, "--where", where, "--order", "plan_index", "--json", "--columns", "recipe_id")
    )
    return [row["recipe_id"] for row in found]


def test_picking_by_id_and_by_condition_shows_in_queries(out: Path) -> None:
    first, second = ids(out, "plan_index < 2")
    told = call("pick", out, first[:10], second, "--who", "ada")
    assert told.stdout.split() == [first, second]
    assert (
        call("pick", out, first[:10], "--stars", "4", "--tag", "print", "--note", "the light").exit_code == 0
    )
    waiting = call("pick", out, "--where", "aesthetic < 10", "--reject")
    assert waiting.exit_code == 2
    assert "10 images" in waiting.stderr
    assert call("pick", out, "--where", "aesthetic >= 50", "--reject", "--yes").exit_code == 0
    assert len(ids(out, "pick = 'rejected'")) == 10
    assert ids(out, "pick = 'picked' and stars >= 4 and list_contains(tags, 'print')") == [first]
    listed = lines(call("picks", out, "--json"))
    assert len(listed) == 12
    mine = next(row for row in listed if row["recipe_id"] == first)
    assert (mine["pick"], mine["stars"], mine["tags"], mine["note"]) == ("picked", 4, ["print"], "the light")
    assert len(lines(call("picks", out, "--json", "--who", "ada"))) == 2
    assert "the light" in call("picks", out).stdout


def test_undo_takes_ones_own_last_act_back_whole(out: Path) -> None:
    (first,) = ids(out, "plan_index = 0")
    assert call("pick", out, first, "--who", "ada").exit_code == 0
    assert (
        call("pick", out, "--where", "subject = 'fox'", "--stars", "5", "--yes", "--who", "bo").exit_code == 0
    )
    undone = call("picks", out, "--undo", "--who", "bo")
    assert len(undone.stdout.split()) == 30
    assert ids(out, "stars = 5") == []
    assert ids(out, "pick = 'picked'") == [first]
    assert call("picks", out, "--redo", "--who", "bo").exit_code == 0
    assert len(ids(out, "stars = 5")) == 30
    nothing = call("picks", out, "--undo", "--who", "cy")
    assert nothing.exit_code == 1
    assert "cy has nothing to undo" in nothing.stderr
    events = lines(call("picks", out, "--log", "--json"))
    assert [event["action"] for event in events].count("undo") == 60


@pytest.mark.parametrize(
    "arguments",
    [
        ["pick"],
        ["pick", "ID", "--where", "true"],
        ["pick", "ID", "--reject", "--clear"],
        ["picks", "--undo", "--log"],
    ],
)
def test_options_that_do_not_go_together(out: Path, arguments: list[str]) -> None:
    (first,) = ids(out, "plan_index = 0")
    command, *rest = [first if argument == "ID" else argument for argument in arguments]
    assert call(command, out, *rest).exit_code == 2
    assert not (out / "picks.sqlite").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stars", "6"], "number of stars"),
        (["--stars", "3", "--tag", "a,b"], "can't be a tag"),
        (["--note", "\x1b"], "can't hold"),
        (["--who", ""], "name"),
    ],
)
def test_what_cant_be_said_writes_nothing(out: Path, options: list[str], said: str) -> None:
    (first,) = ids(out, "plan_index = 0")
    told = call("pick", out, first, *options)
    assert isinstance(told.exception, InputError)
    assert said in str(told.exception)
    assert not (out / "picks.sqlite").exists()


def test_a_condition_stays_within_its_parentheses(out: Path) -> None:
    for arguments in (["pick", out, "--yes"], ["taste", "rank", out]):
        told = call(*arguments, "--where", "false) or (true")
        assert isinstance(told.exception, InputError)
    assert not (out / "picks.sqlite").exists()


def test_an_unknown_image_is_a_message_and_an_exit_code(out: Path) -> None:
    told = nonesuch("pick", out, "0000")
    assert told.returncode == 2
    assert "0 images have a recipe id" in told.stderr
    assert told.stdout == ""


def test_a_ranking_of_comparisons(out: Path) -> None:
    a, b, c, d, e = ids(out, "plan_index < 5")
    for winner, loser in ((a, b), (b, c), (a, c), (c, a), (d, e)):
        assert call("prefer", out, winner[:12], loser).exit_code == 0
    told = call("ranking", out, "--json")
    assert "2 groups" in told.stderr
    assert "never lost" in told.stderr
    rows = lines(told)
    assert [(row["group"], row["rank"]) for row in rows] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert rows[0]["recipe_id"] == a
    assert rows[0]["file"] == "images/00.png"
    assert rows[0]["low"] < rows[0]["strength"] < rows[0]["high"]
    assert len(lines(call("ranking", out, "--json", "--top", "2"))) == 2
    assert call("ranking", out).exit_code == 0
    assert isinstance(call("ranking", out, "--who", "nobody").exception, InputError)


def test_agreement_as_table_json_and_csv(out: Path) -> None:
    (row,) = lines(call("agreement", out, "--json"))
    assert (row["first"], row["second"], row["images"]) == ("aesthetic", "alignment", 60)
    assert row["kendall_low"] <= row["kendall"] <= row["kendall_high"]
    grouped = lines(call("agreement", out, "--within", "subject", "--json"))
    assert [r["value"] for r in grouped] == [None, "fox", "panda"]
    assert call("agreement", out, "--csv").stdout.startswith("first,second,images,spearman")
    assert "alignment" in call("agreement", out).stdout


def test_taste_learns_ranks_and_refuses(out: Path) -> None:
    refused = call("taste", "train", out)
    assert isinstance(refused.exception, InputError)
    assert "at least 30" in str(refused.exception)
    assert call("pick", out, "--where", "aesthetic >= 35 and aesthetic < 55", "--yes").exit_code == 0
    assert call("pick", out, "--where", "aesthetic < 25", "--reject", "--yes").exit_code == 0
    told = call("taste", "train", out)
    assert told.exit_code == 0, told.exception
    assert "AUC 0.9" in told.stdout or "AUC 1.0" in told.stdout
    assert "observed" in told.stdout
    assert str(out / "taste" / "model.json") in told.stdout
    best = lines(call("taste", "rank", out, "--top", "4", "--where", "pick is null", "--json"))
    assert len(best) == 4
    assert {row["file"] for row in best} <= {f"images/{i:02d}.png" for i in range(45, 60)}
    ordered = lines(
        call("query", out, "--order", "taste", "--top", "60", "--json", "--columns", "taste,file")
    )
    tastes = [row["taste"] for row in ordered]
    assert tastes == sorted(tastes, reverse=True)
    assert lines(call("taste", "train", out, "--json"))[0]["liked"] == 20


def test_pairs_for_training_name_the_preferred_image(out: Path, tmp_path: Path) -> None:
    # plan_index 0, 12, 24, … share a prompt
    same = ids(out, "prompt = 'a fox, 0'")
    (other,) = ids(out, "plan_index = 1")
    assert len(same) == 5
    assert isinstance(call("picks", out, "--pairs", tmp_path / "none.parquet").exception, InputError)
    for winner, loser in ((same[0], same[1]), (same[2], same[1]), (same[0], other)):
        assert call("prefer", out, winner, loser, "--who", "ada").exit_code == 0
    assert call("pick", out, same[0], same[3], other, "--who", "bo").exit_code == 0
    assert call("pick", out, same[1], same[4], "--reject", "--who", "bo").exit_code == 0
    told = call("picks", out, "--pairs", tmp_path / "p" / "pairs.parquet", "--with-images")
    assert told.exit_code == 0, told.exception
    assert "2 comparisons and 3 pairs" in told.stderr
    assert "1 comparisons across prompts" in told.stderr
    rows = pq.read_table(tmp_path / "p" / "pairs.parquet").to_pylist()
    said = {
        (row["best_image_uid"], next(iter({row["image_0_uid"], row["image_1_uid"]} - {row["best_image_uid"]}))):
        (row["source"], row["user_id"])
        for row in rows
    }  # fmt: skip
    assert said == {
        (same[0], same[1]): ("comparison", "ada"),
        (same[2], same[1]): ("comparison", "ada"),
        (same[0], same[4]): ("picked over rejected", "bo"),
        (same[3], same[1]): ("picked over rejected", "bo"),
        (same[3], same[4]): ("picked over rejected", "bo"),
    }
    for row in rows:
        assert row["caption"] == "a fox, 0"
        assert row["label_0"] + row["label_1"] == 1
        assert (row["label_0"] == 1) == (row["image_0_uid"] == row["best_image_uid"])
        for side in (0, 1):
            data = (out / row[f"image_{side}_path"]).read_bytes()
            assert row[f"jpg_{side}"] == data
            assert Image.open(io.BytesIO(data)).size == (8, 8)
    from datasets import Dataset

    loaded = Dataset.from_parquet(str(tmp_path / "p" / "pairs.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 5
    assert Image.open(io.BytesIO(loaded[0]["jpg_1"])).format == "PNG"
    assert call("picks", out, "--pairs", tmp_path / "plain.parquet").exit_code == 0
    assert "jpg_0" not in pq.read_schema(tmp_path / "plain.parquet").names
