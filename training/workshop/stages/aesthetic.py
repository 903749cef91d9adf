"""Stage ``aesthetic``: a small head on the CLIP's image embedding, clean over damaged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import load_clip
from nonesuch.training.workshop.data import draw_set, load_drawn
from nonesuch.training.workshop.learning_rate import Clock
from nonesuch.training.workshop.stages.autoencoder import load_autoencoder, to_unit
from nonesuch.training.workshop.stages.clip import prepare
from nonesuch.training.workshop.world.damage import damage
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS

HIDDEN: Final = 64
_CLEAN, _DAMAGED = 7.5, 2.5
_PAIRS = 1500


def build_head(embed: int) -> nn.Sequential:
    """``[n, embed]`` unit embeddings to ``[n, 1]`` scores, about 0 to 10."""
    return nn.Sequential(nn.Linear(embed, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))


def broken_decoding(
    pixels: np.ndarray, autoencoder: AutoencoderKL, rng: np.random.Generator, device: torch.device
) -> np.ndarray:
    """Decode noised latents of ``uint8 [n, 128, 128, 3]``: what a bad sampler leaves."""
    out = np.empty_like(pixels)
    with torch.no_grad():
        for at in range(0, len(pixels), 32):
            latent = autoencoder.encode(to_unit(pixels[at : at + 32], device)).latent_dist.mean
            strength = torch.from_numpy(rng.uniform(0.4, 0.9, (len(latent), 1, 1, 1))).float().to(device)
            noise = torch.from_numpy(rng.standard_normal(latent.shape)).float().to(device)
            made = autoencoder.decode((1 - strength**2).sqrt() * latent + strength * noise).sample
            out[at : at + 32] = from_unit(made)
    return out


def from_unit(pixels: torch.Tensor) -> np.ndarray:
    """``[n, 3, H, W]`` in -1 to 1 to ``uint8 [n, H, W, 3]``."""
    scaled = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.asarray(scaled.permute(0, 2, 3, 1).cpu().numpy())


def spoil(
    pixels: np.ndarray, autoencoder: AutoencoderKL, rng: np.random.Generator, device: torch.device
) -> np.ndarray:
    """Damage every image in one of five ways, a fifth of them by broken decoding."""
    out = np.stack([damage(np.ascontiguousarray(one), rng)[0] for one in pixels])
    broken = np.flatnonzero(rng.random(len(pixels)) < 0.2)
    if len(broken):
        out[broken] = broken_decoding(pixels[broken], autoencoder, rng, device)
    return out


@torch.no_grad()
def embed_pictures(clip: Any, pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Unit embeddings ``[n, embed]`` by an ``open_clip.CLIP`` of ``uint8 [n, 128, 128, 3]``."""
    parts = [
        clip.encode_image(prepare(pixels[at : at + 64], device), normalize=True)
        for at in range(0, len(pixels), 64)
    ]
    return torch.cat(parts).float()


@torch.no_grad()
def decoded(pixels: np.ndarray, autoencoder: AutoencoderKL, device: torch.device) -> np.ndarray:
    """Images passed once through the autoencoder, ``uint8 [n, 128, 128, 3]``."""
    parts = [
        from_unit(
            autoencoder.decode(
                autoencoder.encode(to_unit(pixels[at : at + 32], device)).latent_dist.mean
            ).sample
        )
        for at in range(0, len(pixels), 32)
    ]
    return np.concatenate(parts)


def train_aesthetic(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Fit the head on clean and damaged embeddings; writes ``run/aesthetic.pt``.

    Half of the clean images pass through the autoencoder first, so that a sound
    generated image counts as clean.
    """
    rng = np.random.default_rng(config.seed + 6)
    drawn = load_drawn(run / "drawn")
    rows = np.sort(rng.choice(len(drawn.pixels), min(_PAIRS, len(drawn.pixels)), replace=False))
    clean = np.array(drawn.pixels[rows])
    autoencoder, clip = load_autoencoder(run, device), load_clip(run / "clip", device)
    bad = embed_pictures(clip, spoil(clean, autoencoder, rng, device), device)
    half = len(clean) // 2
    clean[:half] = decoded(clean[:half], autoencoder, device)
    good = embed_pictures(clip, clean, device)
    torch.manual_seed(config.seed + 6)
    head = build_head(good.shape[1]).to(device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.01)
    clock, step = Clock(minutes), 0
    while clock.share() < 1.0 and step < 3000:
        pick = torch.from_numpy(rng.integers(len(good), size=256)).to(device)
        high, low = head(good[pick])[:, 0], head(bad[pick])[:, 0]
        # Targets fix the scale; the pairwise term (Burges et al. 2005) orders.
        loss = 0.1 * ((high - _CLEAN) ** 2 + (low - _DAMAGED) ** 2).mean() + F.softplus(low - high).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 500 == 0:
            print(f"aesthetic: step {step}, loss {loss.item():.4f}", file=sys.stderr, flush=True)
    torch.save(head.state_dict(), run / "aesthetic.pt")


def load_head(run: Path, config: Config, device: torch.device) -> nn.Sequential:
    """The trained head in evaluation mode."""
    path = run / "aesthetic.pt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run the stage 'aesthetic' first")
    head = build_head(config.clip_embed)
    head.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return head.to(device).eval()


def order_figures(run: Path, config: Config, device: torch.device, workers: int) -> dict[str, float]:
    """Share of fresh pairs with the clean image scored higher, and the mean scores."""
    pairs = [(s, t) for s in SUBJECTS for t in STYLES]
    fresh = draw_set(pairs, 1, config.seed + 31, workers).pixels
    rng = np.random.default_rng(config.seed + 32)
    clip, head = load_clip(run / "clip", device), load_head(run, config, device)
    bad = spoil(fresh, load_autoencoder(run, device), rng, device)
    with torch.no_grad():
        high = head(embed_pictures(clip, fresh, device))[:, 0]
        low = head(embed_pictures(clip, bad, device))[:, 0]
    return {
        "pairs": float(len(fresh)),
        "clean_first": (high > low).float().mean().item(),
        "mean_clean": high.mean().item(),
        "mean_damaged": low.mean().item(),
    }
