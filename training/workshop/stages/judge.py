"""Stage ``judge``: an independent small network that names subject and style.

It shares nothing with the embedded models: own drawings (another seed), own
weights, images as its only input. It is a measuring tool and is not shipped.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.data import Drawn, draw_set
from nonesuch.training.workshop.learning_rate import Averaged, Clock, batches, report, set_rate
from nonesuch.training.workshop.stages.clip import prepare
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS

_SEED_SHIFT = 7777


class Judge(nn.Module):
    """Strided convolutions and two linear heads.

    Input ``float32 [n, 3, 128, 128]`` in -1 to 1; output subject logits
    ``[n, 40]`` and style logits ``[n, 12]``.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 160)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.subject = nn.Linear(2 * widths[-1], len(SUBJECTS))
        self.style = nn.Linear(2 * widths[-1], len(STYLES))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Subject and style logits."""
        maps = self.features(pixels)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], 1)
        return self.subject(pooled), self.style(pooled)


def train_judge(run: Path, config: Config, minutes: float, device: torch.device, workers: int) -> None:
    """Draw all pairs (held-out ones too) afresh and train; writes ``run/judge.pt``."""
    pairs = [(s, t) for s in SUBJECTS for t in STYLES]
    drawn = draw_set(pairs, max(2, config.pictures_per_pair // 4), config.seed + _SEED_SHIFT, workers)
    torch.manual_seed(config.seed + 5)
    rng = np.random.default_rng(config.seed + 5)
    built: Any = Judge()  # torch types no to() that takes both arguments
    model = built.to(device, memory_format=torch.channels_last)
    average = Averaged(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    clock, step, last, size = Clock(minutes), 0, time.monotonic(), 64
    rows = batches(len(drawn.pixels), size, config.seed)
    while clock.share() < 1.0:
        pick = next(rows).numpy()
        pixels = _vary(drawn.pixels[pick], rng)
        set_rate(optimizer, clock.rate(3e-3))
        with torch.autocast(device.type, torch.bfloat16):
            subject, style = model(prepare(pixels, device))
        truth_subject = torch.from_numpy(drawn.subject[pick].astype(np.int64)).to(device)
        truth_style = torch.from_numpy(drawn.style[pick].astype(np.int64)).to(device)
        loss = F.cross_entropy(subject.float(), truth_subject) + F.cross_entropy(style.float(), truth_style)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model)
        step += 1
        if step % 50 == 0:
            right = (subject.argmax(1) == truth_subject).float().mean().item()
            now = time.monotonic()
            report("judge", step, {"loss": loss.item(), "subject": right}, 50 * size / (now - last))
            last = now
    torch.save(average.module.state_dict(), run / "judge.pt")


def _vary(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror, shift, slightly soften: generated images passed through a decoder."""
    out = np.empty_like(pixels)
    for row, one in enumerate(pixels):
        one = one[:, ::-1] if rng.random() < 0.5 else one
        one = np.roll(one, rng.integers(-6, 7, 2), (0, 1)).astype(np.float32)
        if rng.random() < 0.5:
            one = one * 0.5 + 0.125 * sum(np.roll(one, s, a) for s in (-1, 1) for a in (0, 1))
        out[row] = np.clip(one * rng.uniform(0.9, 1.1), 0, 255)
    return out


def load_judge(run: Path, device: torch.device) -> Judge:
    """The trained judge in evaluation mode."""
    path = run / "judge.pt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run the stage 'judge' first")
    model = Judge()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.to(device).eval().requires_grad_(False)


@torch.no_grad()
def judged(model: Judge, pixels: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Best subject and style index of ``uint8 [n, 128, 128, 3]``, each ``int64 [n]``."""
    subjects, styles = [], []
    for at in range(0, len(pixels), 64):
        subject, style = model(prepare(pixels[at : at + 64], device))
        subjects.append(subject.argmax(1).cpu().numpy())
        styles.append(style.argmax(1).cpu().numpy())
    return np.concatenate(subjects), np.concatenate(styles)


def fresh_accuracy(model: Judge, drawn: Drawn, device: torch.device) -> dict[str, float]:
    """The judge's own share of right answers on drawn images."""
    subject, style = judged(model, drawn.pixels, device)
    right_subject, right_style = subject == drawn.subject, style == drawn.style
    return {
        "subject": float(right_subject.mean()),
        "style": float(right_style.mean()),
        "both": float((right_subject & right_style).mean()),
    }
