"""Stage ``evaluate``: every number that the model cards state, as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPTokenizer

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import load_clip
from nonesuch.training.workshop.data import Drawn, draw_set
from nonesuch.training.workshop.ship import DEFAULTS, assemble
from nonesuch.training.workshop.stages.aesthetic import HIDDEN, embed_pictures, order_figures
from nonesuch.training.workshop.stages.autoencoder import load_autoencoder, psnr, through
from nonesuch.training.workshop.stages.clip import encode_texts
from nonesuch.training.workshop.stages.judge import Judge, fresh_accuracy, judged, load_judge
from nonesuch.training.workshop.world.pairs import HELD_OUT, STYLES, SUBJECTS, is_held_out, training_pairs
from nonesuch.training.workshop.world.wordings import canonical, subject_caption

Pair = tuple[str, str]


def generate(
    run: Path,
    prompts: list[str],
    seed: int,
    device: torch.device,
    steps: int = DEFAULTS["steps"],
    guidance: float = DEFAULTS["guidance"],
    negative: str | None = None,
    batch: int = 16,
) -> tuple[np.ndarray, float]:
    """Draw one image per prompt with the pipeline.

    Returns:
        ``uint8 [n, 128, 128, 3]`` and the images drawn per second.
    """
    pipeline = assemble(run, device)
    out, began = [], time.monotonic()
    for at in range(0, len(prompts), batch):
        part = prompts[at : at + batch]
        made = pipeline(
            part,
            negative_prompt=None if negative is None else [negative] * len(part),
            width=128,
            height=128,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed + at + i) for i in range(len(part))],
            output_type="np",
        ).images
        out.append((made * 255).round().astype(np.uint8))
    return np.concatenate(out), len(prompts) / (time.monotonic() - began)


def prompted_accuracy(
    judge: Judge, pairs: list[Pair], pixels: np.ndarray, device: torch.device
) -> dict[str, float]:
    """How often the judge sees in each image what its prompt named."""
    subject, style = judged(judge, pixels, device)
    right_subject = subject == np.array([SUBJECTS.index(s) for s, _ in pairs])
    right_style = style == np.array([STYLES.index(t) for _, t in pairs])
    return {
        "prompts": float(len(pairs)),
        "subject": float(right_subject.mean()),
        "style": float(right_style.mean()),
        "both": float((right_subject & right_style).mean()),
    }


@torch.no_grad()
def clip_figures(run: Path, drawn: Drawn, device: torch.device) -> dict[str, float]:
    """Share of drawn images whose own caption ranks first, overall and by facet."""
    clip = load_clip(run / "clip", device)
    tokenizer = CLIPTokenizer.from_pretrained(run / "clip")
    seen = embed_pictures(clip, drawn.pixels, device)
    pairs = [(s, t) for s in SUBJECTS for t in STYLES]
    best = (
        (seen @ encode_texts(clip, tokenizer, [canonical(*p) for p in pairs], device).T)
        .argmax(1)
        .cpu()
        .numpy()
    )
    subject = best // len(STYLES) == drawn.subject
    style = best % len(STYLES) == drawn.style
    held = np.array(
        [is_held_out(SUBJECTS[s], STYLES[t]) for s, t in zip(drawn.subject, drawn.style, strict=True)]
    )
    rng = np.random.default_rng(0)
    words = [subject_caption(s, rng) for s in SUBJECTS]
    alone = (seen @ encode_texts(clip, tokenizer, words, device).T).argmax(1).cpu().numpy() == drawn.subject
    both = subject & style
    return {
        "pictures": float(len(best)),
        "captions": float(len(pairs)),
        "caption_first": float(both[~held].mean()),
        "caption_first_held_out": float(both[held].mean()),
        "subject": float(subject.mean()),
        "style": float(style.mean()),
        "subject_words_alone": float(alone.mean()),
    }


def _trained(run: Path) -> dict[str, Any]:
    """Steps and minutes of every stage, the UNet's from its checkpoint."""
    log = run / "trained.json"
    known: dict[str, Any] = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else {}
    state = torch.load(run / "unet.pt", map_location="cpu", weights_only=True)
    known["unet"] = {"steps": state["step"], "minutes": round(state["spent"] / 60, 1)}
    return known


def _contact_sheet(pixels: np.ndarray, across: int = 16) -> Image.Image:
    """The first images, ``across`` to a row, at most eight rows, all full."""
    across = min(across, len(pixels))
    whole = min(len(pixels) // across, 8)
    rows = [pixels[row * across : (row + 1) * across] for row in range(whole)]
    return Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))


def run_evaluation(
    run: Path, config: Config, device: torch.device, workers: int, prompts: int = 400
) -> dict[str, Any]:
    """Measure everything, on ``prompts`` trained and a fifth as many held-out prompts.

    Writes ``run/figures.json`` and returns it.
    """
    fresh = draw_set([(s, t) for s in SUBJECTS for t in STYLES], 2, config.seed + 99, workers)
    judge = load_judge(run, device)
    autoencoder = load_autoencoder(run, device)
    decoded = replace(fresh, pixels=through(autoencoder, fresh.pixels, device))
    rng = np.random.default_rng(config.seed + 98)
    trained = training_pairs()
    chosen = [trained[i] for i in rng.choice(len(trained), prompts, replace=False)]
    pixels, rate = generate(run, [canonical(*p) for p in chosen], 50_000, device)
    _contact_sheet(pixels).save(run / "contact.png")
    held = (list(HELD_OUT.items()) * 2)[: max(1, prompts // 5)]
    unseen, _ = generate(run, [canonical(*p) for p in held], 90_000, device)
    figures: dict[str, Any] = {
        "autoencoder_psnr_db": psnr(autoencoder, fresh.pixels[:240], device),
        "clip": clip_figures(run, fresh, device),
        "aesthetic": order_figures(run, config, device, workers),
        "judge_on_drawn": fresh_accuracy(judge, fresh, device),
        "judge_on_decoded": fresh_accuracy(judge, decoded, device),
        "prompts": prompted_accuracy(judge, chosen, pixels, device),
        "prompts_held_out": prompted_accuracy(judge, held, unseen, device),
        "images_per_second": rate,
        "threads": torch.get_num_threads(),
        "settings": DEFAULTS,
        "trained": _trained(run),
        "head": {"embed": config.clip_embed, "hidden": HIDDEN},
    }
    text = json.dumps(figures, indent=2)
    (run / "figures.json").write_text(text + "\n", encoding="utf-8")
    return figures
