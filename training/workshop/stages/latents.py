"""Stage ``encode``: latents of the drawn set and text states of its captions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTokenizer

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import encode_prompts, load_clip, text_encoder
from nonesuch.training.workshop.data import load_drawn
from nonesuch.training.workshop.stages.autoencoder import load_autoencoder, to_unit
from nonesuch.training.workshop.world.damage import damage
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS, training_pairs
from nonesuch.training.workshop.world.wordings import caption, damaged_caption

_WORDINGS = 16
_DAMAGED_SHARE = 0.03


@dataclass(frozen=True)
class Encoded:
    """What the UNet trains on.

    Attributes:
        latents: ``float16 [n, C, 16, 16]``, unit deviation.
        first, count: ``int64 [n]``: rows ``first .. first + count - 1`` of ``texts``
            are the wordings that fit each latent.
        texts: ``float16 [m, 77, width]`` text states; the last row is the empty prompt.
    """

    latents: torch.Tensor
    first: torch.Tensor
    count: torch.Tensor
    texts: torch.Tensor


@torch.no_grad()
def encode_pictures(run: Path, config: Config, device: torch.device) -> None:
    """Encode all drawn images, and a small damaged share, into ``run/latents.pt``."""
    drawn = load_drawn(run / "drawn")
    model = load_autoencoder(run, device)
    rng = np.random.default_rng(config.seed + 2)
    kept = min(len(drawn.pixels), config.unet_pictures)
    spoiled = rng.choice(kept, int(_DAMAGED_SHARE * kept), replace=False)
    pictures, kinds = [], []
    for row in spoiled:
        pixels, kind = damage(np.asarray(drawn.pixels[row]), rng)
        pictures.append(pixels)
        kinds.append(kind)
    extra = np.stack(pictures)
    parts, total = [], kept + len(extra)
    for source in (drawn.pixels[:kept], extra):
        for at in range(0, len(source), 32):
            with torch.autocast(device.type, torch.bfloat16):
                latent = model.encode(to_unit(source[at : at + 32], device)).latent_dist.mean
            parts.append(latent.half().cpu())
            if len(parts) % 100 == 0:
                print(f"encode: {32 * len(parts)}/{total}", file=sys.stderr, flush=True)
    torch.save(
        {"latents": torch.cat(parts), "spoiled": torch.from_numpy(spoiled), "kinds": kinds},
        run / "latents.pt",
    )


def encode_captions(run: Path, config: Config, device: torch.device) -> None:
    """Word every pair many times and keep the text states in ``run/texts.pt``."""
    stored = torch.load(run / "latents.pt", weights_only=True)
    drawn = load_drawn(run / "drawn")
    rng = np.random.default_rng(config.seed + 3)
    pairs = training_pairs()
    prompts = [caption(s, t, rng) for s, t in pairs for _ in range(_WORDINGS)]
    row_of = {pair: _WORDINGS * index for index, pair in enumerate(pairs)}
    kept = len(stored["latents"]) - len(stored["kinds"])
    labels = zip(drawn.subject[:kept], drawn.style[:kept], strict=True)
    first = [row_of[SUBJECTS[s], STYLES[t]] for s, t in labels]
    count = [_WORDINGS] * len(first)
    for row, kind in zip(stored["spoiled"].tolist(), stored["kinds"], strict=True):
        first.append(len(prompts))
        count.append(1)
        prompts.append(damaged_caption(SUBJECTS[drawn.subject[row]], STYLES[drawn.style[row]], kind, rng))
    prompts.append("")
    tokenizer = CLIPTokenizer.from_pretrained(run / "clip")
    encoder = text_encoder(load_clip(run / "clip", device), tokenizer)
    texts = encode_prompts(encoder, tokenizer, prompts, device).cpu()
    torch.save({"texts": texts, "first": torch.tensor(first), "count": torch.tensor(count)}, run / "texts.pt")


def load_encoded(run: Path) -> Encoded:
    """Read what the stage ``encode`` wrote."""
    for name in ("latents.pt", "texts.pt"):
        if not (run / name).is_file():
            raise FileNotFoundError(f"{run / name} is missing; run the stage 'encode' first")
    latents = torch.load(run / "latents.pt", weights_only=True)["latents"]
    told = torch.load(run / "texts.pt", weights_only=True)
    return Encoded(latents, told["first"], told["count"], told["texts"])
