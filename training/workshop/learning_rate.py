"""Wall-clock learning-rate schedules, averaged weights and progress lines."""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Clock:
    """Counts a stage's minutes, including those of the runs it resumes.

    Args:
        minutes: The stage's wall-clock budget.
        spent: Seconds already spent by earlier runs of the same stage.
    """

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self._budget = minutes * 60.0
        self._began = time.monotonic() - spent

    def spent(self) -> float:
        """Seconds spent so far."""
        return time.monotonic() - self._began

    def share(self) -> float:
        """Share of the budget spent, 0 to 1."""
        return min(1.0, self.spent() / self._budget)

    def rate(self, peak: float, warmup: float = 0.02) -> float:
        """Linear warm-up, then a cosine down to 2 % of ``peak``."""
        share = self.share()
        if share < warmup:
            return peak * (0.05 + 0.95 * share / warmup)
        along = (share - warmup) / (1.0 - warmup)
        return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * along)))


class Averaged:
    """Exponential moving average of a module's weights (warm-up included)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        # Any: whatever the module's class adds (save_pretrained, parts) is there too.
        self.module: Any = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards ``module``."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        mine: list[torch.Tensor] = list(self.module.parameters())
        theirs: list[torch.Tensor] = list(module.parameters())
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)
        for own, new in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(new)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def batches(count: int, size: int, seed: int, device: torch.device | None = None) -> Iterator[torch.Tensor]:
    """Endless shuffled index batches over ``range(count)``."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        for at in range(0, count - size + 1, size):
            yield order[at : at + size]


def log_stage(run: Path, stage: str, steps: int, seconds: float) -> None:
    """Note in ``run/trained.json`` what a stage took; a resumed stage adds up."""
    path = run / "trained.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    before = known.get(stage, {"steps": 0, "minutes": 0.0})
    minutes = round(before["minutes"] + seconds / 60, 1)
    known[stage] = {"steps": before["steps"] + steps, "minutes": minutes}
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def report(stage: str, step: int, values: dict[str, float], images: float) -> None:
    """One progress line to stderr."""
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    print(f"{stage}: step {step}, {shown}, {images:.1f} images/s", file=sys.stderr, flush=True)
