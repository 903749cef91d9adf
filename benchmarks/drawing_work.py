"""The images that all ways of benchmarks/pipeline.py draw, and drawing them with bare diffusers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch.utils.flop_counter import FlopCounterMode

SUBJECTS = ("panda", "fox", "owl", "castle", "rose", "boat", "cat", "lighthouse")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
TRIED = 3  # sizes, the largest ones that go
TRIED_PIXELS = {"cuda": 1 << 24, "cpu": 1 << 19}  # of the largest batch that is tried
SHARD = 128  # images; whole batches of any size


@dataclass(frozen=True, slots=True)
class Work:
    """The same recipes for each way."""

    folder: Path  # of the pipeline
    items: tuple[tuple[str, int], ...]  # prompt and seed
    side: int  # px
    steps: int
    guidance: float
    device: str = "cpu"
    compiled: bool = False  # bare diffusers and the pipeline compile the repeated blocks

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
        usual = self.compiled == self.device.startswith("cuda")
        options = "" if usual else f", options: {{compile: {str(self.compiled).lower()}}}"
        return (
            f"name: {name}\nmodel: {self.folder}\nprompt: 'a painting of a {{subject}}'\n"
            f"facets: {{subject: [{', '.join(SUBJECTS)}]}}\nseeds: {{count: {seeds}}}\n"
            f"settings: {{size: {self.side}x{self.side}, steps: {self.steps}, guidance: {self.guidance},"
            f" scheduler: default{options}}}\nscoring: {{encoder: {encoder}}}\nshard_size: {SHARD}\n"
        )


def make_work(folder: Path, seeds: int, side: int, steps: int, guidance: float, **more: Any) -> Work:
    """`seeds` images of each of SUBJECTS."""
    return Work(folder, _items(seeds), side, steps, guidance, **more)


def first_of(work: Work, seeds: int) -> Work:
    """The work with `seeds` images of each subject only."""
    return replace(work, items=_items(seeds))


def _items(seeds: int) -> tuple[tuple[str, int], ...]:
    return tuple((f"a painting of a {subject}", seed) for subject in SUBJECTS for seed in range(seeds))


def dtype_on(device: str) -> torch.dtype:
    """What all ways draw in: bfloat16 on CUDA, float32 elsewhere."""
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def clock(device: str) -> float:
    """Seconds, once the device has done all that it was asked to."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return perf_counter()


class BareDiffusers:
    """Drawing and nothing else, in batches, made as fast as diffusers' own means allow."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.pipe = DiffusionPipeline.from_pretrained(work.folder, dtype=dtype_on(work.device))
        self.pipe.to(work.device)
        self.pipe.set_progress_bar_config(disable=True)
        self._denoiser = getattr(self.pipe, "transformer", None) or self.pipe.unet
        if work.device.startswith("cuda"):
            for part in (self._denoiser, self.pipe.vae):
                part.to(memory_format=torch.channels_last)

    def run(self, batch: int, count: int | None = None, steps: int | None = None) -> int:
        """Draw the first `count` images of the work (all by default); how many that were."""
        items = self.work.items[:count]
        arguments = self.work.arguments()
        if steps is not None:
            arguments["num_inference_steps"] = steps
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            with torch.inference_mode():
                self.pipe(
                    [prompt for prompt, _ in part],
                    generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in part],
                    output_type="pt",
                    **arguments,
                ).images.cpu()
        return len(items)

    def operations(self) -> int:
        """Floating-point operations of one image (two for a multiply-add), before anything is compiled.

        Counted: matrix products, convolutions and attention, from the text to the decoded image.
        """
        with FlopCounterMode(display=False) as counter:
            self.run(1, 1)
        return int(counter.get_total_flops())

    def batches(self) -> dict[int, float]:
        """Images a second at each batch size that goes evenly into the work; on the processor the better of two turns.

        A size that the device refuses is left out, and said so on stderr.
        """
        most = TRIED_PIXELS.get(self.work.device.split(":")[0], TRIED_PIXELS["cpu"]) // self.work.side**2
        fitting = [batch for batch in BATCHES if len(self.work.items) % batch == 0 and batch <= most]
        speeds: dict[int, float] = {}
        sizes = fitting[-TRIED:] or [1]
        # What else a machine does weighs more on few steps; a GPU is nobody else's.
        turns, steps = (
            (1, max(2, self.work.steps // 4)) if self.work.device != "cpu" else (2, self.work.steps)
        )
        for batch in sizes * turns:
            try:
                self.run(batch, batch, steps=2)
                count = sizes[-1] if self.work.device == "cpu" else batch
                begun = clock(self.work.device)
                self.run(batch, count, steps=steps)
                speeds[batch] = max(speeds.get(batch, 0.0), count / (clock(self.work.device) - begun))
            except RuntimeError as error:  # out of memory, or more elements than a kernel can number
                print(f"bare: no batch of {batch}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
        return speeds

    def prepare(self, batch: int) -> None:
        """Compile what the work wants compiled, and draw one batch that is not measured."""
        if self.work.compiled:
            self._denoiser.compile_repeated_blocks(dynamic=False)
        self.run(batch, batch, steps=2)
