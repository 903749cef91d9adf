"""Generators side by side: paired by prompt, ranked by blind comparisons, drawn for them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalog_samples import SCHEMA, make_row
from PIL import Image
from scipy import stats

from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.picks.side_by_side import blind_pair, compare, grid_rows
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.choosing.comparing import write_grid, write_page
from nonesuch.foundation.errors import InputError

MODELS = ("good", "fair", "openai:dall-e-3")
PROMPTS = ("a panda", "a fox", "an owl", "a cat")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three models with the same four prompts, two images each; the service's cost 4 cents and one failed."""
    rng, rows = np.random.default_rng(0), []
    (tmp_path / "images").mkdir()
    for place, model in enumerate(MODELS):
        for which, prompt in enumerate(PROMPTS):
            for seed in range(2):
                number = len(rows)
                file = f"images/{number}.png"
                Image.new("RGB", (32, 32), (40 * place, 60 * which, 99)).save(tmp_path / file)
                facts: dict[str, Any] = {
                    "prompt": prompt.upper() if place == 1 else prompt,
                    "model": model,
                    "seed": seed,
                    "file": file,
                    "status": "ok",
                    "reason": None,
                    "aesthetic": 5.0 + which - place + 0.1 * float(rng.normal()),
                    "draw_seconds": 1.0 + place,
                    "cost": 0.04 if place == 2 else None,
                }
                if model == MODELS[2] and number == 23:
                    facts |= {"file": None, "status": "failed", "aesthetic": None, "reason": "refused"}
                rows.append({**make_row(number), **facts})
    publish_shard(tmp_path, "models", rows, SCHEMA)
    return tmp_path


def ids_of(out: Path) -> dict[str, list[str]]:
    table = Catalog(out).query("file IS NOT NULL", order="plan_index")
    return {model: list(table[table["model"] == model]["recipe_id"]) for model in MODELS}


def test_contenders_have_their_scores_time_and_cost(out: Path) -> None:
    found = compare(Catalog(out))
    assert [one.name for one in found.contenders] == list(MODELS)
    last = found.contenders[2]
    assert (last.images, last.failed, last.prompts) == (7, 1, 4)
    assert last.cost == pytest.approx(0.04)
    assert last.paid == pytest.approx(0.32)
    assert last.seconds == pytest.approx(3.0)
    assert found.contenders[0].cost is None


def test_duels_are_paired_by_prompt_whatever_its_case(out: Path) -> None:
    found = compare(Catalog(out), scores=["aesthetic"])
    duel = next(one for one in found.duels if (one.one, one.other) == ("good", "fair"))
    table = Catalog(out).query("model <> 'openai:dall-e-3'")
    table["prompt"] = table["prompt"].str.lower()
    means = table.groupby(["model", "prompt"])["aesthetic"].mean()
    told = stats.ttest_rel(means["good"].sort_index(), means["fair"].sort_index()).confidence_interval(0.95)
    assert duel.prompts == 4
    assert (duel.low, duel.high) == (pytest.approx(told.low, abs=1e-5), pytest.approx(told.high, abs=1e-5))
    assert duel.better == 1.0
    # the prompts differ by far more than the models: without the pairing nothing could be told apart
    good, fair = found.contenders[:2]
    assert good.scores["aesthetic"].low is not None
    assert fair.scores["aesthetic"].high is not None
    assert good.scores["aesthetic"].low < fair.scores["aesthetic"].high
    assert duel.low is not None
    assert duel.low > 0


def test_blind_comparisons_rank_the_contenders(out: Path) -> None:
    ids, log = ids_of(out), open_picks(out, "someone")
    for number in range(4):
        log.compare(ids["fair"][number], ids["good"][number])
        log.compare(ids["fair"][number], ids[MODELS[2]][number])
    log.compare(ids["good"][0], ids[MODELS[2]][0])
    log.compare(ids["good"][0], ids["good"][1])  # of one contender
    log.compare(ids["good"][0], ids["fair"][7])  # of two prompts
    found = compare(Catalog(out), log.pairs())
    assert found.comparisons == 9
    assert [one.name for one in found.contenders] == ["fair", "good", MODELS[2]]
    first = found.contenders[0].preferred
    assert first is not None
    assert (first.wins, first.losses, found.settled) == (8, 0, False)
    assert first.low is not None
    assert first.low < first.strength


def test_blind_pairs_share_a_prompt_and_come_round_evenly(out: Path) -> None:
    catalog, log = Catalog(out), open_picks(out, "someone")
    rows = {row["recipe_id"]: row for row in catalog.query().to_dict("records")}
    met: Counter[frozenset[str]] = Counter()
    first: Counter[str] = Counter()
    for seed in range(30):
        one, other = blind_pair(catalog, log.pairs(), seed=seed)
        assert rows[one]["prompt"].lower() == rows[other]["prompt"].lower()
        met[frozenset((rows[one]["model"], rows[other]["model"]))] += 1
        first[rows[one]["model"]] += 1
        log.compare(one, other)
    assert sorted(met.values()) == [10, 10, 10]
    assert all(count < 20 for count in first.values())


def test_by_another_column_and_by_what_is_not_there(out: Path) -> None:
    assert {one.name for one in compare(Catalog(out), by="seed").contenders} == {"0", "1"}
    with pytest.raises(InputError, match="modle"):
        compare(Catalog(out), by="modle")
    with pytest.raises(InputError, match="1 contenders"):
        compare(Catalog(out), where="model = 'good'")
    with pytest.raises(InputError, match="no prompt was drawn by two"):
        blind_pair(Catalog(out), [], where="model = 'good'")


def test_the_grid_has_contenders_across_and_the_best_image_of_each_cell(out: Path, tmp_path: Path) -> None:
    rows = grid_rows(Catalog(out), prompts=3)
    assert len(rows) == 9
    assert {row["contender"] for row in rows} == set(MODELS)
    table = Catalog(out).query()
    best = table[(table["model"] == "good") & (table["prompt"] == "a panda")]["aesthetic"].max()
    shown = next(row for row in rows if row["contender"] == "good" and row["prompt"].lower() == "a panda")
    assert shown["aesthetic"] == pytest.approx(best)
    written = write_grid(Catalog(out), compare(Catalog(out)), tmp_path / "grid.png", where=None, prompts=4)
    assert Image.open(written[0]).width > 400


def test_the_page_escapes_what_it_shows(out: Path, tmp_path: Path) -> None:
    row = {
        **make_row(99),
        "model": "<script>alert(1)</script>",
        "prompt": "<b>a panda</b>",
        "status": "ok",
        "file": "images/0.png",
    }
    publish_shard(out, "hostile", [row], SCHEMA)
    catalog = Catalog(out)
    page = write_page(catalog, compare(catalog), tmp_path / "page.html", where=None, prompts=9).read_text()
    assert "<script>alert" not in page
    assert "<b>a panda" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<img") == 13


def test_the_command_prints_json_that_programs_read(out: Path) -> None:
    from typer.testing import CliRunner

    from nonesuch.cli.app import app

    told = CliRunner().invoke(app, ["compare", str(out), "--json", "--html", str(out / "page.html")])
    assert told.exit_code == 0
    assert [one["name"] for one in json.loads(told.stdout)["contenders"]] == list(MODELS)
    assert (out / "page.html").exists()
    table = CliRunner().invoke(app, ["compare", str(out)])
    assert "paired by prompt" in table.stdout
