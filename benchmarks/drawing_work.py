"""The images that all ways of benchmarks/pipeline.py draw, and drawing them with bare diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from diffusers import DiffusionPipeline

SUBJECTS = ("panda", "fox", "owl", "castle", "rose", "boat", "cat", "lighthouse")
BATCHES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Work:
    """The same recipes for each way."""

    folder: Path  # of the pipeline
    items: tuple[tuple[str, int], ...]  # prompt and seed
    side: int  # px
    steps: int
    guidance: float
    device: str = "cpu"

    def arguments(self) -> dict[str, Any]:
        """What a pipeline's call takes beside prompt and generator."""
        return {
            "width": self.side,
            "height": self.side,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
        }

    def sweep(self, name: str, encoder: str) -> str:
        """The sweep file of this work; the items are the subjects times the seeds."""
        seeds = len(self.items) // len(SUBJECTS)
        return (
            f"name: {name}\nmodel: {self.folder}\nprompt: 'a painting of a {{subject}}'\n"
            f"facets: {{subject: [{', '.join(SUBJECTS)}]}}\nseeds: {{count: {seeds}}}\n"
            f"settings: {{size: {self.side}x{self.side}, steps: {self.steps}, guidance: {self.guidance},"
            f" scheduler: default}}\nscoring: {{encoder: {encoder}}}\nshard_size: 100\n"
        )


def make_work(folder: Path, seeds: int, side: int, steps: int, guidance: float, device: str = "cpu") -> Work:
    """`seeds` images of each of SUBJECTS."""
    items = tuple((f"a painting of a {subject}", seed) for subject in SUBJECTS for seed in range(seeds))
    return Work(folder, items, side, steps, guidance, device)


def dtype_on(device: str) -> torch.dtype:
    """What all ways draw in: bfloat16 on CUDA, float32 elsewhere."""
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


class BareDiffusers:
    """Drawing and nothing else, in batches."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.pipe = DiffusionPipeline.from_pretrained(work.folder, dtype=dtype_on(work.device))
        self.pipe.to(work.device)
        self.pipe.set_progress_bar_config(disable=True)

    def run(self, batch: int, count: int | None = None) -> int:
        """Draw the first `count` images of the work (all by default); how many that were."""
        items = self.work.items[:count]
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            with torch.inference_mode():
                self.pipe(
                    [prompt for prompt, _ in part],
                    generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in part],
                    output_type="pt",
                    **self.work.arguments(),
                ).images.cpu()
        return len(items)

    def best_batch(self, batches: tuple[int, ...] = BATCHES) -> int:
        """The batch size that draws the most images a second."""
        speeds = {}
        for batch in batches:
            if batch > len(self.work.items):
                continue
            begun = perf_counter()
            count = self.run(batch, batch)
            speeds[batch] = count / (perf_counter() - begun)
        return max(speeds, key=lambda batch: speeds[batch], default=1)
