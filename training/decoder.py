"""Stage ``decoder``: the autoencoder's decoder trained on alone, its encoder and so the latents unchanged.

Needs stage ``encode`` and can run beside stage ``unet``, which only needs the latents.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from training.autoencoder import load_autoencoder, reconstruction_loss, to_unit
from training.config import Config
from training.data import load_drawn
from training.schedule import Averaged, Clock, log_stage, report, set_rate

_CELLS = 8  # side of the latent crops; 64 px
_NOISE = 0.05  # deviation added to the unit-variance latents: a UNet's latents are not exact either


def train_decoder(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Train the decoder of ``run/autoencoder`` on crops and put it back there."""
    pixels = load_drawn(run / "drawn").pixels
    model = load_autoencoder(run, device)
    stored = torch.load(run / "latents.pt", weights_only=True)
    # The damaged pictures come last and are not kept on disk: only the drawn ones have pixels.
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
        set_rate(optimizer, clock.rate(2e-3))
        with torch.autocast(device.type, torch.bfloat16):
            made = parts[1](parts[0](known + _NOISE * torch.randn_like(known)))
        loss = reconstruction_loss(made.float(), real)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        average.update(parts)
        step += 1
        if step % 200 == 0:
            psnr = 10 * torch.log10(4.0 / F.mse_loss(made.float(), real)).item()
            now = time.monotonic()
            report("decoder", step, {"loss": loss.item(), "psnr": psnr}, 200 * batch / (now - last))
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
