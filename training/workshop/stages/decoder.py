"""Stage ``decoder``: the autoencoder's decoder trained further, alone, its encoder and so the latents unchanged.

The latents tell a dotted image from a plain one, but not where each dot lies: a decoder that is trained to be
right on average blurs the dots away. This stage asks for the right textures instead of the right pixels: the
features of the embedded CLIP's first layers and, window by window, their second moments (Gatys et al. 2016,
"Image Style Transfer Using Convolutional Neural Networks"; Johnson et al. 2016, "Perceptual Losses").

Needs stages ``clip`` and ``encode`` and can run beside stage ``unet``, which only needs the latents.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import load_clip
from nonesuch.training.workshop.data import load_drawn
from nonesuch.training.workshop.learning_rate import Averaged, Clock, log_stage, report, set_rate
from nonesuch.training.workshop.stages.autoencoder import load_autoencoder, reconstruction_loss, to_unit

_CELLS = 8  # side of the latent crops; 64 px
_NOISE = 0.1  # deviation added to the unit-variance latents: a UNet's latents are not exact either
_WINDOWS = 2  # a side: textures are compared in quarters of a crop
_PIXELS, _FEATURES, _TEXTURES = 0.25, 0.5, 2.0  # shares of the loss


class Textures(nn.Module):
    """The first layers of the embedded CLIP's image tower: feature maps at 1/2, 1/2, 1/4 and 1/8 of the side."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.Sequential(visual.conv1, visual.bn1, visual.act1),
                nn.Sequential(visual.conv2, visual.bn2, visual.act2, visual.conv3, visual.bn3, visual.act3),
                nn.Sequential(visual.avgpool, visual.layer1),
                visual.layer2,
            ]
        )

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of ``float [n, 3, H, W]`` in -1 to 1, which is how that CLIP sees images."""
        maps = []
        for stage in self.stages:
            pixels = stage(pixels)
            maps.append(pixels)
        return maps


def texture_loss(made: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
    """Relative distance of the features, and of their second moments in each window."""
    total = torch.zeros((), device=made[0].device)
    for ours, theirs in zip(made, real, strict=True):
        ours, theirs = ours.float(), theirs.float()
        total = total + _FEATURES * (ours - theirs).abs().mean() / theirs.abs().mean().clamp_min(1e-4)
        mine, wanted = _moments(ours), _moments(theirs)
        total = total + _TEXTURES * (mine - wanted).abs().mean() / wanted.abs().mean().clamp_min(1e-4)
    return total / len(made)


def _moments(maps: torch.Tensor) -> torch.Tensor:
    """Second moments of the channels in each window, ``[n * windows, C, C]``."""
    count, channels, height, width = maps.shape
    cut = maps.reshape(count, channels, _WINDOWS, height // _WINDOWS, _WINDOWS, width // _WINDOWS)
    flat = cut.permute(0, 2, 4, 1, 3, 5).reshape(count * _WINDOWS**2, channels, -1)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


def train_decoder(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Train the decoder of ``run/autoencoder`` on crops and put it back there."""
    pixels = load_drawn(run / "drawn").pixels
    model = load_autoencoder(run, device)
    textures = Textures(load_clip(run / "clip", device).visual).eval()
    stored = torch.load(run / "latents.pt", weights_only=True)
    # The damaged images come last and are not kept on disk: only the drawn ones have pixels.
    latents = stored["latents"][: len(stored["latents"]) - len(stored["kinds"])]
    parts = torch.nn.ModuleList([model.post_quant_conv, model.decoder]).requires_grad_(True).train()
    average = Averaged(parts, 0.998)
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    rng = np.random.default_rng(config.seed + 1)
    clock, step, last = Clock(minutes), 0, time.monotonic()
    while clock.share() < 1.0:
        cells = _CELLS if clock.share() < 0.8 else 16
        batch = config.ae_batch if cells == _CELLS else config.ae_batch // 4
        known, real = _crops(pixels[: len(latents)], latents, rng, batch, cells, device)
        set_rate(optimizer, clock.rate(1e-3))
        with torch.autocast(device.type, torch.bfloat16):
            made = parts[1](parts[0](known + _NOISE * torch.randn_like(known)))
            with torch.no_grad():
                wanted = textures(real)
            seen = textures(made)
        loss = _PIXELS * reconstruction_loss(made.float(), real) + texture_loss(seen, wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        average.update(parts)
        step += 1
        if step % 100 == 0:
            psnr = 10 * torch.log10(4.0 / F.mse_loss(made.float(), real)).item()
            now = time.monotonic()
            report("decoder", step, {"loss": loss.item(), "psnr": psnr}, 100 * batch / (now - last))
            last = now
    parts.load_state_dict(average.module.state_dict())
    model.save_pretrained(run / "autoencoder")
    log_stage(run, "decoder", step, clock.spent())


def _crops(
    pixels: np.ndarray,
    latents: torch.Tensor,
    rng: np.random.Generator,
    count: int,
    cells: int,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of ``cells`` latent cells and the pixels below them."""
    known, real = [], np.empty((count, 8 * cells, 8 * cells, 3), np.uint8)
    for row, index in enumerate(rng.integers(len(pixels), size=count)):
        y, x = rng.integers(0, 16 - cells + 1, 2)
        known.append(latents[index, :, y : y + cells, x : x + cells])
        real[row] = pixels[index, 8 * y : 8 * (y + cells), 8 * x : 8 * (x + cells)]
    return torch.stack(known).float().to(device), to_unit(real, device)
