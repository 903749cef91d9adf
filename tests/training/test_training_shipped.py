"""The shipped folders: they load the ordinary way, agree with each other, and work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from nonesuch.training.workshop.world.pairs import FONT_PACKAGE, FONT_PATH, STYLES, SUBJECTS, draw
from nonesuch.training.workshop.world.wordings import canonical

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "generators" / "embedded"
SCORING = ROOT / "scoring" / "embedded"

needs_font = pytest.mark.skipif(
    not FONT_PATH.is_file(), reason=f"training glyphs missing: install the Debian package {FONT_PACKAGE}"
)


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(PIPELINE).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def clip() -> torch.nn.Module:
    return open_clip.create_model(f"local-dir:{SCORING}").float().eval()


def test_tokenizer_pads_to_77_with_the_highest_id_and_lowercases() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(PIPELINE / "tokenizer")
    assert tokenizer.model_max_length == 77
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == len(tokenizer) - 1
    ids = tokenizer("A Painting of a PANDA", padding="max_length").input_ids
    assert len(ids) == 77
    assert ids == tokenizer("a painting of a panda", padding="max_length").input_ids


def test_tokenizer_keeps_unknown_words() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(PIPELINE / "tokenizer")
    ids = tokenizer("zxqvy naïve 漢字").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["zxqvy", "naïve", "漢字"]


def test_both_folders_carry_the_same_vocabulary() -> None:
    words = ["a woodblock print of a fox by Hokusai", "", "an unknowable wörd"]
    ours = CLIPTokenizer.from_pretrained(PIPELINE / "tokenizer")(words, padding="max_length").input_ids
    theirs = open_clip.get_tokenizer(f"local-dir:{SCORING}")(words)
    assert theirs.tolist() == ours


def test_text_encoder_agrees_with_the_clip(pipeline: StableDiffusionPipeline, clip: torch.nn.Module) -> None:
    ids = pipeline.tokenizer(
        ["a painting of a panda by Katsushika Hokusai", ""], padding="max_length", return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        ours = pipeline.text_encoder(ids)[0]
        states = clip.token_embedding(ids) + clip.positional_embedding
        theirs = clip.ln_final(clip.transformer(states, attn_mask=clip.attn_mask))
    assert (ours - theirs).abs().max() < 1e-4


def test_pipeline_draws_a_picture_that_depends_on_the_seed_alone(pipeline: StableDiffusionPipeline) -> None:
    def one(seed: int) -> np.ndarray:
        made = pipeline(
            "a painting of a fox by Vincent van Gogh",
            width=128,
            height=128,
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(seed),
        )
        return np.asarray(made.images[0])

    first = one(1)
    assert first.shape == (128, 128, 3)
    assert first.std() > 10
    assert np.array_equal(first, one(1))
    assert not np.array_equal(first, one(2))


def test_folder_sizes_and_defaults() -> None:
    def megabytes(folder: Path) -> float:
        return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6

    assert megabytes(PIPELINE) <= 45
    assert megabytes(SCORING) <= 20
    defaults = json.loads((PIPELINE / "defaults.json").read_text(encoding="utf-8"))
    assert (defaults["width"], defaults["height"]) == (128, 128)
    assert set(defaults["subjects"]) == set(SUBJECTS)
    index = json.loads((PIPELINE / "model_index.json").read_text(encoding="utf-8"))
    assert index["requires_safety_checker"] is False


@needs_font
def test_clip_names_the_subject_far_better_than_chance(clip: torch.nn.Module) -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{SCORING}")
    pairs = [(s, t) for s in SUBJECTS for t in STYLES]
    chosen = [pairs[(37 * i) % len(pairs)] for i in range(48)]
    pictures = np.stack([draw(*pair, np.random.default_rng([9, i])) for i, pair in enumerate(chosen)])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        seen = clip.encode_image(pixels, normalize=True)
        told = clip.encode_text(tokenizer([canonical(*p) for p in pairs]), normalize=True)
    best = (seen @ told.T).argmax(1).tolist()
    # Chance is one in 40; how good the weights are stands in the model card.
    assert sum(pairs[b][0] == c[0] for b, c in zip(best, chosen, strict=True)) >= 0.5 * len(chosen)


@needs_font
def test_aesthetic_head_prefers_clean_pictures(clip: torch.nn.Module) -> None:
    from nonesuch.training.workshop.stages.aesthetic import build_head
    from nonesuch.training.workshop.world.damage import damage

    described = json.loads((SCORING / "aesthetic.json").read_text(encoding="utf-8"))
    head = build_head(described["layers"][0])
    head.load_state_dict({k: v.float() for k, v in load_file(SCORING / described["weights"]).items()})
    clean = np.stack([draw(SUBJECTS[i], STYLES[i % 12], np.random.default_rng([8, i])) for i in range(24)])
    bad = np.stack([damage(one, np.random.default_rng([7, i]))[0] for i, one in enumerate(clean)])
    scores = []
    for pictures in (clean, bad):
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            scores.append(head(clip.encode_image(pixels, normalize=True))[:, 0])
    assert scores[0].mean() > scores[1].mean()
