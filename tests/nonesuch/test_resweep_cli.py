"""`nonesuch recipe` and `refine` as a person uses them, on a sweep that was really run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import nonesuch, nonesuch_process

SWEEP = """\
name: tiny
model: noise
prompt: "a {subject} by Munch"
facets: {subject: [panda, fox]}
seeds: {count: 2}
settings: {width: 132, height: 132, steps: 3}
scoring: {scorers: [technical]}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("resweep")
    (folder / "tiny.yaml").write_text(SWEEP)
    sweep(folder / "tiny.yaml", folder / "out")
    return folder / "out"


def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog")


def test_the_recipe_of_an_image_draws_it_again(out: Path, tmp_path: Path) -> None:
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import load_sweep

    row = rows(out).iloc[1]
    told = nonesuch("recipe", out / row["file"])
    assert told.returncode == 0, told.stderr
    (tmp_path / "again.yaml").write_text(told.stdout)
    assert [recipe.id for recipe in open_matrix(load_sweep(tmp_path / "again.yaml"))] == [row["recipe_id"]]


def test_a_picture_that_nothing_knows_is_told(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "plain.png")
    told = nonesuch("recipe", tmp_path / "plain.png")
    assert told.returncode == 2
    assert "how it was made" in told.stderr
    for name, said in (("gone.png", "no such file"), ("broken.png", "truncated")):
        (tmp_path / "broken.png").write_bytes((tmp_path / "plain.png").read_bytes()[:100])
        told = nonesuch("reproduce", tmp_path / name)
        assert told.returncode == 2
        assert said in told.stderr
        assert "how it was made" not in told.stderr


def test_picked_images_are_drawn_better_and_know_their_parents(out: Path) -> None:
    from nonesuch.catalogs.picks.log import open_picks
    from nonesuch.flows.sweep import sweep

    refused = nonesuch("refine", out, "--picks")
    assert refused.returncode == 2
    assert "picked" in refused.stderr
    chosen = rows(out)["recipe_id"].iloc[2]
    open_picks(out).pick(chosen)
    told = nonesuch("refine", out, "--picks", "--scale", "1.5", "--strength", "0.3")
    assert told.returncode == 0, told.stderr
    (out / "refined.yaml").write_text(told.stdout)
    assert sweep(out / "refined.yaml", out).done == 1
    new = rows(out).set_index("sweep").loc["tiny-refined"]
    assert new["parent"] == chosen
    assert (new["width"], new["steps"], new["strength"]) == (200, 6, 0.3)
    assert new["init_digest"] == rows(out).set_index("recipe_id").loc[chosen, "sha256"]


def test_images_are_chosen_by_id_or_condition(out: Path) -> None:
    ids = rows(out)["recipe_id"]
    assert nonesuch("refine", out, ids.iloc[0][:12]).stdout.count("init_image") == 1
    assert nonesuch("refine", out, "--where", "subject = 'fox'").stdout.count("init_image") >= 2
    assert "no image" in nonesuch("refine", out, "ffff" * 4).stderr
    assert "no images are given" in nonesuch("refine", out).stderr


def test_an_image_is_drawn_again_bit_for_bit(out: Path, tmp_path: Path) -> None:
    import json

    row = rows(out).iloc[0]
    told = nonesuch("reproduce", out / row["file"], "--json", "--out", tmp_path / "again.png")
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["outcome"] == "bit-identical"
    assert (said["drawn"], said["evidence"]) == (True, "drawn here, by this process")
    assert said["recipe_id"] == row["recipe_id"]
    assert (tmp_path / "again.png").is_file()


def test_a_stripped_and_recompressed_image_is_found_and_compared(out: Path, tmp_path: Path) -> None:
    import json

    from PIL import Image

    row = rows(out).iloc[1]
    with Image.open(out / row["file"]) as image:
        image.save(tmp_path / "stripped.webp", lossless=True)
    same = nonesuch("reproduce", tmp_path / "stripped.webp", "--catalog", out, "--json")
    assert same.returncode == 0, same.stderr
    assert json.loads(same.stdout)["outcome"] == "bit-identical"
    assert json.loads(same.stdout)["source"] == "catalog"


@pytest.mark.slow
def test_the_embedded_model_draws_its_image_again(tmp_path: Path, prefect_server: str) -> None:
    import json

    from nonesuch.flows.sweep import sweep

    (tmp_path / "one.yaml").write_text(
        'name: one\nprompt: "a panda by Hokusai"\nsettings: {steps: 4}\nscoring: {scorers: [technical]}\n'
        "format: {type: jpeg, quality: 95}\n"
    )
    sweep(tmp_path / "one.yaml", tmp_path / "out")
    file = tmp_path / "out" / rows(tmp_path / "out").iloc[0]["file"]
    told = nonesuch_process("reproduce", file, "--json")
    assert told.returncode == 0, told.stderr + told.stdout
    assert json.loads(told.stdout)["outcome"] == "visually identical"


@pytest.mark.slow
def test_images_drawn_together_come_back_bit_for_bit(tmp_path: Path, prefect_server: str) -> None:
    import json

    from nonesuch.flows.sweep import sweep

    (tmp_path / "batch.yaml").write_text(
        'name: batch\nprompt: "a {subject}"\nfacets: {subject: [panda, fox, owl]}\nsettings: {steps: 3}\n'
        "scoring: {scorers: []}\n"
    )
    out = tmp_path / "out"
    sweep(tmp_path / "batch.yaml", out)
    assert set(rows(out)["batch_size"]) == {3}
    for name in rows(out)["file"]:
        told = nonesuch("reproduce", out / name, "--catalog", out, "--json")
        assert told.returncode == 0, told.stderr + told.stdout
        assert json.loads(told.stdout)["outcome"] == "bit-identical"
