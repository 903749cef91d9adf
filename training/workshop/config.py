"""Sizes and budgets of every training stage, in one place: presets ``cpu`` and ``gpu``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch


@dataclass(frozen=True)
class Config:
    """What is trained, how large, and for how long.

    Times are wall-clock minutes; learning-rate schedules follow the share of that
    time already spent, so a run always ends fully annealed. The autoencoder halves
    an image's side between its blocks: four blocks turn 128 px into 16 cells.
    """

    seed: int = 20261121
    pictures_per_pair: int = 54
    # autoencoder
    ae_channels: tuple[int, ...] = (16, 32, 64, 128)
    ae_layers: int = 1
    ae_batch: int = 16
    ae_minutes: float = 16.0
    decoder_minutes: float = 24.0
    latent_channels: int = 8
    # CLIP
    clip_embed: int = 192
    clip_layers: tuple[int, ...] = (1, 1, 2, 2)
    clip_width: int = 24
    clip_batch: int = 64
    clip_minutes: float = 12.0
    vision_minutes: float = 6.5
    text_width: int = 192
    text_layers: int = 4
    text_heads: int = 6
    vocabulary: int = 1536
    # UNet
    unet_channels: tuple[int, ...] = (64, 128, 240)
    unet_layers: int = 1
    unet_batch: int = 32
    unet_pictures: int = 16000
    unet_minutes: float = 185.0
    unet_rate: float = 8e-4
    # judge and aesthetic head
    judge_minutes: float = 10.0
    aesthetic_minutes: float = 1.0


PRESETS: Final[dict[str, Config]] = {
    "cpu": Config(),
    "gpu": Config(
        pictures_per_pair=200,
        ae_channels=(64, 128, 256, 256),
        ae_layers=2,
        ae_batch=64,
        decoder_minutes=10.0,
        clip_layers=(2, 2, 3, 2),
        clip_width=48,
        clip_batch=256,
        unet_channels=(128, 256, 512),
        unet_layers=2,
        unet_batch=128,
        unet_minutes=40.0,
        unet_pictures=100_000,
        unet_rate=3e-4,
    ),
}


def pick_device(name: str) -> torch.device:
    """``auto`` takes a GPU where there is one; any other name is passed to torch."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
