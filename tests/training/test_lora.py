"""A LoRA on a tiny random pipeline: stopped and gone on with it is the same; and what is wrong is said."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.digests import lora_digest
from nonesuch.generators.loras import lora_facts
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.training.lora.checkpoint import load_state
from nonesuch.training.lora.loop import train_lora
from nonesuch.training.lora.lora_settings import LoraSettings
from nonesuch.training.lora.training_images import read_pictures

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
import tiny_pipelines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for row in range(3):
        pixels = np.random.default_rng(row).integers(0, 255, (80, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
    (folder / "0.txt").write_text("a drawing of {subject}", "utf-8")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "same.png").write_bytes((folder / "1.png").read_bytes())
    return folder


def settings(pictures: Path, base: Path, **changes: Any) -> LoraSettings:
    made = LoraSettings(
        "sks fox", pictures, str(base), class_prompts=("a fox",), class_images=2, rank=2, steps=4, batch=2,
        checkpoint_every=2, sample_seeds=1,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.long)])
def test_a_training_that_was_stopped_ends_in_the_same_file(
    tmp_path: Path, pictures: Path, family: str
) -> None:
    base = getattr(tiny_pipelines, family)(tmp_path / "base")
    facts = model_facts(str(base))
    wanted = settings(
        pictures, base, text_encoder=family == "sd1", layers="all" if family == "sd1" else "attention",
        prior="base" if family == "sd1" else "images",
    )  # fmt: skip
    wanted.check(facts)
    found = read_pictures(pictures, wanted.side(facts))
    assert [name for name, _ in found.left_out] == ["broken.png", "same.png"]
    whole = train_lora(wanted, facts, found, tmp_path / "whole", device="cpu")

    class Stop(Exception):
        pass

    class StopAt3:
        def advanced(self, what: str, done: int, total: int, loss: float | None) -> None:
            if what == "steps" and done == 3:
                raise Stop

    with pytest.raises(Stop):
        train_lora(wanted, facts, found, tmp_path / "stopped", device="cpu", watcher=StopAt3())
    again = train_lora(wanted, facts, found, tmp_path / "stopped", device="cpu")
    assert (whole.resumed_at, again.resumed_at) == (0, 2)
    assert again.result.digest == whole.result.digest
    state = load_state(tmp_path / "whole", wanted.digest(facts.digest, found.digests))
    assert state is not None
    # a model that has learnt nothing yet says of class images what its base says, and later something else
    assert (state.prior_losses[0] < 1e-9) == (family == "sd1")
    assert state.prior_losses[-1] > 0
    assert (tmp_path / "stopped" / "loss.svg").read_text("utf-8").startswith("<svg")
    assert sorted(path.name for path in (tmp_path / "stopped" / "samples").iterdir()) == [
        "step-000002.png",
        "step-000004.png",
    ]

    with safe_open(whole.result.file, "pt") as file:
        header = file.metadata()
    card = json.loads(whole.result.card.read_text("utf-8"))
    assert card["sha256"] == whole.result.digest == lora_digest(whole.result.file, where="x")
    assert header["nonesuch.training_images"] == card["training_images"]["digest"]
    assert header["nonesuch.base_digest"] == facts.digest
    assert len(card["training_images"]["pictures"]) == 3
    known = lora_facts(whole.result.file, whole.result.digest, where="x")
    assert known.text_width == facts.text_width
    assert known.trigger == "sks fox"

    recipe = Recipe(
        "diffusers",
        str(base),
        facts.digest,
        "a photo of sks fox",
        "",
        1,
        64,
        64,
        2,
        3.0,
        "default",
        "float32",
    )
    strong = dataclasses.replace(recipe, loras=(Lora(str(whole.result.file), whole.result.digest, 1.0),))
    without, with_lora = open_backend(facts, device="cpu").draw([recipe, strong])
    assert with_lora.status == "ok", with_lora.reason
    assert without.image is not None
    assert with_lora.image is not None
    assert not np.array_equal(without.image, with_lora.image)

    with pytest.raises(InputError, match="other settings"):
        train_lora(dataclasses.replace(wanted, rank=3), facts, found, tmp_path / "whole", device="cpu")


def test_what_can_not_be_trained_is_said(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image that can be used"):
        read_pictures(tmp_path / "empty", 64)
    with pytest.raises(InputError, match="is not a folder"):
        read_pictures(tmp_path / "nowhere", 64)
    facts = model_facts("embedded")
    for changes, said in (
        ({"rank": 0}, "--rank"), ({"rate": 0.0}, "--rate"), ({"prompt": "a photo"}, "subject"),
        ({"subject": " "}, "empty"), ({"layers": "some"}, "neither attention nor all"),
        ({"prior": "some"}, "base, images, none"), ({"resolution": 100}, "100"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            settings(pictures, Path("embedded"), **changes).check(facts)
    pixart = model_facts(str(tiny_pipelines.pixart(tmp_path / "pixart")))
    with pytest.raises(InputError, match="PixArtAlphaPipeline can't be trained"):
        settings(pictures, Path("x")).check(pixart)
