"""The ways through a real run: what the credential says of them, and drawing each again from its file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nonesuch.foundation.errors import InputError

pytestmark = pytest.mark.slow

SWEEP = """\
name: ways
model: noise
prompt: "a {subject}"
facets:
  subject: [panda]
  way:
    - {name: hires, settings: {hires: {scale: 2, strength: 0.4}}}
    - {name: larger, settings: {upscale: {scale: 1.5}, hires: {scale: 2, upscaler: latent}}}
    - {name: margins, settings: {init_image: pictures/start.png, extend: {left: 16, top: 8}}}
    - {name: masked, settings: {init_image: pictures/start.png, mask: pictures/mask.png, size: 64x64}}
    - {name: guided, settings: {control: {model: net, image: pictures/start.png, preprocess: canny, low: 50}, size: 136x136}}
settings: {steps: 2}
scoring: {scorers: [technical]}
"""
FRAMES = """\
name: frames
model: noise
prompt: "a {subject}"
facets: {subject: [panda], frame: {frames: 4}}
settings: {between: {prompt: "a {subject} by Monet", seed: 7}, width: 136, height: 136, steps: 2}
scoring: {scorers: [technical]}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("ways")
    (folder / "pictures").mkdir()
    (folder / "net").mkdir()
    (folder / "net" / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (128, 128, 3)).astype(np.uint8)).save(
        folder / "pictures" / "start.png"
    )
    Image.new("L", (128, 128), 255).save(folder / "pictures" / "mask.png")
    for name, text in (("ways", SWEEP), ("frames", FRAMES)):
        (folder / f"{name}.yaml").write_text(text)
        assert sweep(folder / f"{name}.yaml", folder / "out").failed == 0
    return folder / "out"


def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog")


def credential(path: Path) -> dict[str, Any]:
    import c2pa

    with c2pa.Reader(path) as reader:
        store = json.loads(reader.json())
    manifest: dict[str, Any] = store["manifests"][store["active_manifest"]]
    return manifest


def actions(path: Path) -> list[dict[str, Any]]:
    found = [a for a in credential(path)["assertions"] if a["label"].startswith("c2pa.actions")]
    return list(found[0]["data"]["actions"])


def test_the_credential_names_every_step_in_order(out: Path) -> None:
    by_way = rows(out).dropna(subset=["way"]).set_index("way")
    for way, names in (
        ("hires", ["created", "resized", "edited"]),
        ("larger", ["created", "resized", "edited", "resized"]),
        ("margins", ["opened", "edited"]),
        ("guided", ["created"]),
    ):
        done = [one["action"] for one in actions(out / by_way.loc[way, "file"])]
        assert done == [f"c2pa.{name}" for name in (*names, "watermarked.bound")]
    guided = credential(out / by_way.loc["guided", "file"])
    assert [one["relationship"] for one in guided["ingredients"]] == ["inputTo"]
    assert (by_way.loc["larger", "width"], by_way.loc["hires", "height"]) == (384, 256)
    assert b"pictures/start" not in (out / by_way.loc["guided", "file"]).read_bytes()


@pytest.mark.parametrize("way", ["hires", "larger", "margins", "masked", "guided"])
def test_each_way_comes_back_from_its_file(out: Path, way: str, tmp_path: Path) -> None:
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import load_sweep
    from nonesuch.redrawing.refining import sweep_of_image
    from nonesuch.redrawing.reproducing import reproduce

    row = rows(out).set_index("way").loc[way]
    made = sweep_of_image(out / row["file"], inputs=[out.parent])
    (tmp_path / "again.yaml").write_text(made.text())
    assert [one.id for one in open_matrix(load_sweep(tmp_path / "again.yaml"))] == [row["recipe_id"]]
    assert reproduce(out / row["file"], inputs=[out.parent]).outcome == "bit-identical"
    stripped = tmp_path / "stripped.webp"
    with Image.open(out / row["file"]) as image:
        Image.fromarray(np.asarray(image.convert("RGB"))).save(stripped, lossless=True)
    again = reproduce(stripped, catalog=out, inputs=[out.parent])
    assert (again.source, again.outcome) == ("catalog", "bit-identical")


def test_a_picture_that_is_not_here_is_asked_for(out: Path) -> None:
    from nonesuch.redrawing.refining import sweep_of_image
    from nonesuch.redrawing.reproducing import reproduce

    row = rows(out).set_index("way").loc["margins"]
    with pytest.raises(InputError, match="is not here: its SHA-256") as caught:
        reproduce(out / row["file"])
    assert "--inputs" in str(caught.value.hint)
    assert f"picture-{row['init_digest'][:12]}.png" in sweep_of_image(out / row["file"]).text()


def test_frames_become_an_animation_that_is_signed_with_them(out: Path, tmp_path: Path) -> None:
    from nonesuch.provenance.verifying.verify import verify_file
    from nonesuch.redrawing.animating import animate_catalog
    from nonesuch.redrawing.reproducing import reproduce

    frames = rows(out).query("sweep == 'frames'").sort_values("plan_index")
    assert list(frames["frame"]) == ["0", "1", "2", "3"]
    assert frames["prompt"].iloc[-1] == "a panda by Monet"
    made = animate_catalog(
        out, tmp_path / "walk.webp", where="sweep = 'frames'", bounce=True, strip=tmp_path / "strip.png"
    )
    assert made.frames == 4
    with Image.open(tmp_path / "walk.webp") as image:
        assert image.n_frames == 6
        image.seek(2)
        shown = np.asarray(image.convert("RGB"))
    with Image.open(out / frames["file"].iloc[2]) as image:
        assert np.array_equal(shown, np.asarray(image.convert("RGB")))
    assert [one["relationship"] for one in credential(tmp_path / "walk.webp")["ingredients"]] == [
        "componentOf"
    ] * 4
    said = verify_file(tmp_path / "walk.webp").to_json()
    assert said["integrity"] == "intact"
    with Image.open(tmp_path / "strip.png") as image:
        assert image.size == (4 * 136, 136)
    assert reproduce(out / frames["file"].iloc[1]).outcome == "bit-identical"
    with pytest.raises(InputError, match="different sizes"):
        animate_catalog(out, tmp_path / "x.webp")
    with pytest.raises(InputError, match="needs two"):
        animate_catalog(out, tmp_path / "x.webp", where="frame = '1'")
