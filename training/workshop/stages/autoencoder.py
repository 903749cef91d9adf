"""Stage ``autoencoder``: a small AutoencoderKL, 128 px images to 16 by 16 latents."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.data import Drawn, load_drawn
from nonesuch.training.workshop.learning_rate import Averaged, Clock, log_stage, report, set_rate

_KL_WEIGHT = 1e-6  # only keeps latents bounded, as in Rombach et al. 2022


def build_autoencoder(config: Config) -> AutoencoderKL:
    """An untrained autoencoder of the configured size."""
    blocks = len(config.ae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=config.ae_channels,
        layers_per_block=config.ae_layers,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        force_upcast=False,
        scaling_factor=1.0,
    )


def to_unit(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """``uint8 [n, H, W, 3]`` to ``float32 [n, 3, H, W]`` in -1 to 1."""
    tensor = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div_(127.5).sub_(1.0).contiguous()


def crops(drawn: Drawn, rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Random crops from random images, ``uint8 [count, side, side, 3]``, half mirrored."""
    out = np.empty((count, side, side, 3), np.uint8)
    for row, index in enumerate(rng.integers(len(drawn.pixels), size=count)):
        y, x = rng.integers(0, 128 - side + 1, 2)
        cut = drawn.pixels[index, y : y + side, x : x + side]
        out[row] = cut[:, ::-1] if rng.random() < 0.5 else cut
    return out


def reconstruction_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """L1 and squared error over four scales plus L1 of the pixel gradients.

    The coarse scales hurry the colours, which small networks learn last.
    """
    # Any: torch types the sum of tensors as Tensor | float.
    loss: Any = 0.5 * sum((made.diff(dim=axis) - real.diff(dim=axis)).abs().mean() for axis in (2, 3))
    for scale in (1, 2, 4, 8):
        a = F.avg_pool2d(made, scale) if scale > 1 else made
        b = F.avg_pool2d(real, scale) if scale > 1 else real
        loss = loss + 0.5 * (a - b).abs().mean() + F.mse_loss(a, b)
    total: torch.Tensor = loss
    return total


def train_autoencoder(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Train on random crops and write ``run/autoencoder``, a diffusers folder.

    Continues the weights in ``run/autoencoder`` where there are some.
    """
    drawn = load_drawn(run / "drawn")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    model = build_autoencoder(config)
    if (run / "autoencoder").is_dir():
        model = AutoencoderKL.from_pretrained(run / "autoencoder")
    model = model.to(device).train()
    average = Averaged(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    clock, step, last = Clock(minutes), 0, time.monotonic()
    while clock.share() < 1.0:
        # Small crops are cheap; whole images at the end settle the group norms.
        side, batch = (64, config.ae_batch) if clock.share() < 0.85 else (128, max(1, config.ae_batch // 4))
        real = to_unit(crops(drawn, rng, batch, side), device)
        set_rate(optimizer, clock.rate(2e-3))
        with torch.autocast(device.type, torch.bfloat16):
            posterior = model.encode(real).latent_dist
            made = model.decode(posterior.sample()).sample
        loss = reconstruction_loss(made.float(), real) + _KL_WEIGHT * posterior.kl().sum() / batch
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        step += 1
        if step % 100 == 0:
            psnr = 10 * torch.log10(4.0 / F.mse_loss(made.float(), real)).item()
            now = time.monotonic()
            report("autoencoder", step, {"loss": loss.item(), "psnr": psnr}, 100 * batch / (now - last))
            last = now
        if step % 1000 == 0:
            average.module.save_pretrained(run / "autoencoder-partial")
    model = average.module
    _normalise_latents(model, drawn, device)
    model.save_pretrained(run / "autoencoder")
    log_stage(run, "autoencoder", step, clock.spent())


@torch.no_grad()
def _normalise_latents(model: AutoencoderKL, drawn: Drawn, device: torch.device) -> None:
    """Fold each latent channel's mean and deviation into the two 1x1 convolutions.

    Latents then have zero mean and unit deviation by themselves, so the scaling
    factor stays 1 and no shift is needed (StableDiffusionPipeline ignores shifts).
    """
    means = [
        model.encode(to_unit(drawn.pixels[at : at + 32], device)).latent_dist.mean for at in range(0, 512, 32)
    ]
    latents = torch.cat(means)
    middle, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    count = len(middle)
    into, out = model.quant_conv, model.post_quant_conv
    into.weight[:count] /= spread[:, None, None, None]
    into.bias[:count] = (into.bias[:count] - middle) / spread
    into.bias[count:] -= 2 * spread.log()
    out.bias += out.weight[:, :, 0, 0] @ middle
    out.weight *= spread[None, :, None, None]


def load_autoencoder(run: Path, device: torch.device) -> AutoencoderKL:
    """The trained autoencoder, frozen."""
    model = AutoencoderKL.from_pretrained(run / "autoencoder").to(device)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def through(model: AutoencoderKL, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """Images encoded and decoded again, ``uint8 [n, H, W, 3]`` both ways."""
    out = np.empty_like(np.asarray(pixels))
    for at in range(0, len(pixels), 32):
        real = to_unit(pixels[at : at + 32], device)
        made = model.decode(model.encode(real).latent_dist.mean).sample.clamp(-1, 1)
        out[at : at + 32] = ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return out


@torch.no_grad()
def psnr(model: AutoencoderKL, pixels: np.ndarray, device: torch.device) -> float:
    """Mean peak signal-to-noise ratio in dB of ``uint8 [n, 128, 128, 3]`` decoded again."""
    values = []
    for at in range(0, len(pixels), 32):
        real = to_unit(pixels[at : at + 32], device)
        made = model.decode(model.encode(real).latent_dist.mean).sample.clamp(-1, 1)
        error = (made - real).square().mean(dim=(1, 2, 3))
        values.append(10 * torch.log10(4.0 / error))
    return torch.cat(values).mean().item()
