"""Stage ``unet``: the text-conditioned denoiser, trained on pre-encoded latents."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.learning_rate import Averaged, Clock, batches, report, set_rate
from nonesuch.training.workshop.stages.latents import load_encoded

NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
"""The noise schedule that training and every sampler share (Rombach et al. 2022)."""

_EMPTY_SHARE = 0.1
_FOCUS = (350, 950)  # of 1000 noise levels
_FOCUSED = 0.75  # share of a batch


def build_unet(config: Config) -> UNet2DConditionModel:
    """An untrained denoiser of the configured size."""
    depth = len(config.unet_channels)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.unet_channels,
        layers_per_block=config.unet_layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (depth - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (depth - 1) + ("UpBlock2D",),
        cross_attention_dim=config.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def train_unet(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Train for ``minutes`` in all, continuing ``run/unet.pt`` where there is one.

    v-prediction (Salimans & Ho 2022),
    classifier-free dropout (Ho & Salimans 2022) and averaged weights. Writes
    ``run/unet.pt`` every few minutes and the averaged ``run/unet`` at each.
    """
    data = load_encoded(run)
    torch.manual_seed(config.seed + 4)
    model = build_unet(config).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
    average = Averaged(model, 0.998)
    spent, step = 0.0, 0
    saved = run / "unet.pt"
    if saved.is_file():
        state = torch.load(saved, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step = state["spent"], state["step"]
        average.steps = step
    alphas = DDPMScheduler(**NOISE).alphas_cumprod.to(device)
    rows = batches(len(data.latents), config.unet_batch, config.seed + step)
    empty = len(data.texts) - 1
    clock = Clock(minutes, spent)
    last, losses = time.monotonic(), []
    kept = time.monotonic()
    while clock.share() < 1.0:
        pick = next(rows)
        wording = data.first[pick] + (torch.rand(len(pick)) * data.count[pick]).long()
        wording[torch.rand(len(pick)) < _EMPTY_SHARE] = empty
        clean = data.latents[pick].to(device).float().contiguous(memory_format=torch.channels_last)
        text = data.texts[wording].to(device).float()
        times = _times(len(pick)).to(device)
        noise = torch.randn_like(clean)
        alpha = alphas[times][:, None, None, None]
        mixed = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        set_rate(optimizer, clock.rate(config.unet_rate))
        with torch.autocast(device.type, torch.bfloat16):
            guess = model(mixed, times, text).sample
        error = (guess.float() - target).square().mean(dim=(1, 2, 3))
        # Unweighted: at 16 by 16 cells a subject is settled at high noise, where
        # min-SNR weights leave almost no gradient.
        loss = error.mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        step += 1
        losses.append(error.mean().item())
        if step % 50 == 0:
            now = time.monotonic()
            values = {"v-error": sum(losses) / len(losses), "share": clock.share()}
            report("unet", step, values, 50 * len(pick) / (now - last))
            last, losses = now, []
        if time.monotonic() - kept > 240:
            _keep(run, model, average, optimizer, clock.spent(), step)
            kept = time.monotonic()
    _keep(run, model, average, optimizer, clock.spent(), step)


def _times(count: int) -> torch.Tensor:
    """Noise levels, ``int64 [count]``, stratified so that the loss of one batch varies less.

    Most lie where an image's subject is settled; favouring the middle levels follows
    Esser et al. 2024 (Stable Diffusion 3, section 3.1).
    """
    focused = int(_FOCUSED * count)
    low, high = _FOCUS
    even = (torch.rand(1) + torch.arange(count - focused) / max(1, count - focused)) % 1.0 * 1000
    middle = low + (torch.rand(1) + torch.arange(focused) / max(1, focused)) % 1.0 * (high - low)
    return torch.cat([even, middle]).long()


def _keep(
    run: Path,
    model: UNet2DConditionModel,
    average: Averaged,
    optimizer: torch.optim.Optimizer,
    spent: float,
    step: int,
) -> None:
    state = {
        "model": model.state_dict(),
        "average": average.module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "spent": spent,
        "step": step,
    }
    torch.save(state, run / "unet.pt.new")
    (run / "unet.pt.new").replace(run / "unet.pt")
    average.module.save_pretrained(run / "unet")
