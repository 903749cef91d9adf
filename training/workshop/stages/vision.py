"""Stage ``vision``: the CLIP's image tower trained on, its text tower frozen.

The text tower settles early and the UNet needs it early. With its captions encoded
once, a step costs little more than the image tower's own work.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import load_clip
from nonesuch.training.workshop.data import load_drawn
from nonesuch.training.workshop.learning_rate import Averaged, Clock, log_stage, report, set_rate
from nonesuch.training.workshop.stages.clip import encode_texts, facet_captions, facet_loss, prepare, sample
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS, training_pairs
from nonesuch.training.workshop.world.wordings import canonical, caption

_WORDINGS = 12


def train_vision(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Classify images among frozen captions; rewrites ``run/clip/weights.pt``."""
    drawn = load_drawn(run / "drawn")
    torch.manual_seed(config.seed + 7)
    rng = np.random.default_rng(config.seed + 7)
    model: Any = load_clip(run / "clip", device)  # torch types its parts as Tensor | Module
    tokenizer = CLIPTokenizer.from_pretrained(run / "clip")
    pairs = training_pairs()
    row_of = np.full((len(SUBJECTS), len(STYLES)), -1)
    for row, (subject, style) in enumerate(pairs):
        row_of[SUBJECTS.index(subject), STYLES.index(style)] = row
    with torch.no_grad():
        full = [_full_wordings(rng, pairs) for _ in range(_WORDINGS)]
        pool = torch.stack([encode_texts(model, tokenizer, words, device) for words in full])
        facet_pool = torch.stack(
            [encode_texts(model, tokenizer, facet_captions(rng), device) for _ in range(_WORDINGS)]
        )
        scale = model.logit_scale.exp()
    tower = model.visual.requires_grad_(True).to(memory_format=torch.channels_last).train()
    average = Averaged(tower, 0.995)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    clock, step, last, batch = Clock(minutes), 0, time.monotonic(), config.clip_batch
    while clock.share() < 1.0:
        pixels, _, labels = sample(drawn, batch, rng)
        set_rate(optimizer, clock.rate(1e-3))
        with torch.autocast(device.type, torch.bfloat16):
            seen = F.normalize(tower(prepare(pixels, device)).float(), dim=-1)
        pick = rng.integers(_WORDINGS, size=len(pairs))
        told = pool[torch.from_numpy(pick), torch.arange(len(pairs))]
        loss, hits = facet_loss(scale * seen @ facet_pool[rng.integers(_WORDINGS)].T, labels)
        clean = torch.from_numpy(labels[2] == 0)
        truth = torch.from_numpy(row_of[labels[0], labels[1]]).to(device)
        loss = loss + F.cross_entropy((scale * seen @ told.T)[clean], truth[clean])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        average.update(tower)
        step += 1
        if step % 25 == 0:
            now = time.monotonic()
            report("vision", step, {"loss": loss.item(), **hits}, 25 * batch / (now - last))
            last = now
    state = model.state_dict()
    state.update({f"visual.{key}": value for key, value in average.module.state_dict().items()})
    torch.save(state, run / "clip" / "weights.pt")
    log_stage(run, "vision", step, clock.spent())


def _full_wordings(rng: np.random.Generator, pairs: list[tuple[str, str]]) -> list[str]:
    """One wording per pair; a bare subject would claim the plain style, so it is not used."""
    words = []
    for subject, style in pairs:
        plain = style == "photo" or rng.random() < 0.25
        words.append(canonical(subject, style) if plain else caption(subject, style, rng))
    return words
