"""Three ways to the same images in one run: bare diffusers, a plain script, and this pipeline.

    python -m benchmarks.pipeline [--model embedded|sd15|sdxl|sd3] [--side 512] [--steps 20] [--images 64] [--profile]

(a) diffusers alone at its best batch, nothing saved; (b) benchmarks/plain_script.py; (c) a sweep through
`run_sweep`, Prefect included, with scores, watermark, credential and catalog. The ways take turns in every repeat, so
that what else the machine does weighs on all of them; processor time, of child processes too, is the
cross-check. Starting (models, Prefect's server, compiling) is told apart. sd15, sdxl and sd3 are
benchmarks/architectures.py's, with random weights. On CUDA all ways draw in bfloat16, (a) and (c) with compiled blocks
and channels last. Every way scores with the embedded encoder.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import psutil
import torch

from benchmarks.architectures import ARCHITECTURES, build
from benchmarks.drawing_work import SUBJECTS, BareDiffusers, Work, clock, first_of, make_work
from benchmarks.gpu_rows import peak_of, published_for
from benchmarks.machine import machine, today
from nonesuch.foundation.processor import computed
from nonesuch.generators.backends.pipelines import best_device, quieten
from nonesuch.generators.models import EMBEDDED_FOLDER
from nonesuch.scoring.encoders import EMBEDDED as ENCODER

T = TypeVar("T")

EMBEDDED = {"side": 128, "steps": 12, "guidance": 3.0}
TINY_SIDE = 64  # px
WAYS = ("bare", "plain", "pipeline")
GRAPHS = (
    64  # compiled graphs of one block's code; torch's limit is meant for one way in a process, not for three
)


class Measured:
    """Runs of the ways: seconds, processor seconds and device memory of each."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._cuda = device.startswith("cuda")
        self.started: dict[str, float] = {}  # seconds
        self.loaded: dict[str, int] = {}  # bytes on the device that a way's models hold
        self.peak: dict[str, int] = {}  # bytes beyond what all held before its runs
        self.rates: dict[str, list[float]] = {way: [] for way in WAYS}  # images a second
        self.cores: dict[str, list[float]] = {way: [] for way in WAYS}  # processor seconds an image

    def start(self, way: str, make: Callable[[], Any]) -> Any:
        """What `make` makes: something that the way needs before it is measured."""
        before, begun = self._held(), clock(self._device)
        made = make()
        self.started[way] = self.started.get(way, 0.0) + clock(self._device) - begun
        self.loaded[way] = self.loaded.get(way, 0) + self._held() - before
        return made

    def run(self, way: str, draw: Callable[[], int]) -> None:
        """Measure `draw`, which tells how many images it drew."""
        before = self._held()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        begun, core = clock(self._device), _core_seconds()
        count = draw()
        self.rates[way].append(count / (clock(self._device) - begun))
        self.cores[way].append((_core_seconds() - core) / count)
        if self._cuda:
            self.peak[way] = max(self.peak.get(way, 0), torch.cuda.max_memory_allocated() - before)
        print(f"{way}: {self.rates[way][-1]:.2f} images/s", file=sys.stderr)

    def told(self, operations: int) -> dict[str, Any]:
        """The figures so far, medians over the repeats; nothing of a way that has not run."""
        ran = [way for way in WAYS if self.rates[way]]
        rates = {way: statistics.median(self.rates[way]) for way in ran}
        told: dict[str, Any] = {
            "images_per_second": rates,
            "core_seconds_per_image": {way: statistics.median(self.cores[way]) for way in ran},
            "start_seconds": self.started,
        }
        if self._cuda:
            told["device_gigabytes"] = {way: (self.loaded[way] + self.peak[way]) / 1e9 for way in ran}
            if (peak := peak_of(torch.cuda.get_device_name())) is not None:
                told["share_of_peak"] = {way: rates[way] * operations / peak for way in ran}
        for other in ("bare", "plain"):
            pairs = list(zip(self.rates["pipeline"], self.rates[other], strict=False))
            if pairs:
                told[f"pipeline_of_{other}"] = statistics.median(own / theirs for own, theirs in pairs)
        return told

    def _held(self) -> int:
        gc.collect()
        return int(torch.cuda.memory_allocated()) if self._cuda else 0


def compare(
    work: Work,
    repeats: int,
    home: Path,
    *,
    plain_images: int | None = None,
    packages: Path | None = None,
    profile: bool = False,
    keep: Callable[[dict[str, Any]], None] = lambda told: None,
) -> dict[str, Any]:
    """The figures of each way; `keep` is given what there is after every run.

    The plain script draws `plain_images` of the work, all by default: one at a time, it is as fast with few.
    """
    from benchmarks.plain_script import PlainScript
    from nonesuch.running.flow_runs import run_sweep

    torch._dynamo.config.recompile_limit = GRAPHS
    measured = Measured(work.device)

    def alone(draw: Callable[[], T]) -> Callable[[], T]:
        # Where the pipeline computes too: a second thread's idle OpenMP threads would slow the others down.
        return lambda: computed(work.device, draw)

    bare = measured.start("bare", alone(lambda: BareDiffusers(work)))
    operations = computed(work.device, bare.operations)
    batches = computed(work.device, bare.batches)
    if not batches:
        raise SystemExit("bare diffusers draws no batch of this work on this device (see above)")
    batch = max(batches, key=lambda size: batches[size])
    measured.start("bare", alone(lambda: bare.prepare(batch)))
    plain = measured.start("plain", alone(lambda: PlainScript(work, str(ENCODER), packages)))
    facts: dict[str, Any] = {
        "images": len(work.items),
        "batch": batch,
        "batches": batches,  # images a second, uncompiled
        "operations_per_image": operations,
        "plain_unmarked": plain.unmarked,
    }
    keep(facts)

    def swept(name: str, what: Work) -> int:
        (home / f"{name}.yaml").write_text(what.sweep("work", "embedded"))
        return int(run_sweep(home / f"{name}.yaml", home / name, online=False).done)

    computed(work.device, lambda: plain.run(home / "first_plain", 1))
    # where blocks are compiled for one shape, the first run must have the shapes of those that are measured
    measured.start("pipeline", lambda: swept("first", work if work.compiled else first_of(work, 1)))
    before = _stages()
    for repeat in range(repeats):
        ways: dict[str, Callable[[], int]] = {
            "bare": alone(lambda: bare.run(batch)),
            "plain": alone(lambda name=f"plain{repeat}": plain.run(home / name, plain_images)),
            "pipeline": lambda name=f"out{repeat}": swept(name, work),
        }
        for way, draw in ways.items():
            measured.run(way, draw)
            keep({**facts, **measured.told(operations)})
    facts["pipeline_rows"] = _rows(home / "out0")
    facts["stage_seconds_per_image"] = {
        stage: (seconds - before.get(stage, 0.0)) / (repeats * len(work.items))
        for stage, seconds in _stages().items()
    }
    keep(told := {**facts, **measured.told(operations)})
    if profile and work.device.startswith("cuda"):
        told["kernels"] = _kernels(lambda: swept("profiled", work))
        keep(told)
    return told


def _rows(out: Path) -> dict[str, int]:
    """How many images the pipeline drew by status and batch size: a batch that failed is drawn one by one."""
    import pyarrow.dataset as ds

    rows = ds.dataset(out / "catalog").to_table(columns=["status", "batch_size"]).to_pylist()
    return dict(Counter(f"{row['status']} in batches of {row['batch_size']}" for row in rows))


def _stages() -> dict[str, float]:
    from nonesuch.flows.reporting import metrics

    return {one.label: one.value for one in metrics.samples() if one.name == "nonesuch_stage_seconds"}


def _kernels(draw: Callable[[], object]) -> str:
    """Torch's table of the kernels that the device spends most time in."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CUDA]) as seen:
        draw()
    return str(
        seen.key_averages().table(sort_by="self_device_time_total", row_limit=15, max_name_column_width=70)
    )


def _core_seconds() -> float:
    """Processor seconds of this process and its living children (Prefect's server) so far."""
    own = psutil.Process()
    return sum(
        times.user + times.system
        for times in (process.cpu_times() for process in (own, *own.children(recursive=True)))
    )


def table(told: dict[str, Any]) -> str:
    """The figures as Markdown, with what must be said beside them."""
    columns = {
        "images/s": ("images_per_second", ".2f"),
        "share of the chip's peak": ("share_of_peak", ".1%"),
        "GB on the device": ("device_gigabytes", ".1f"),
        "core seconds an image": ("core_seconds_per_image", ".3f"),
        "start, s": ("start_seconds", ".1f"),
    }
    columns = {name: column for name, column in columns.items() if column[0] in told}
    lines = [f"| way | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    for way in told["images_per_second"]:
        label = "plain, no watermark" if way == "plain" and told["plain_unmarked"] else way
        lines.append(
            f"| {label} | {' | '.join(format(told[key][way], form) for key, form in columns.values())} |"
        )
    lines += [
        "",
        f"pipeline: {told['pipeline_of_bare']:.2f} of bare, {told['pipeline_of_plain']:.2f} times plain",
    ]
    lines.append(f"pipeline drew {', '.join(f'{n} {what}' for what, n in told['pipeline_rows'].items())}")
    lines.append(f"arithmetic an image: {told['operations_per_image'] / 1e12:.3f} TFLOP")
    if told["plain_unmarked"]:
        lines.append(f"plain goes without a watermark: {told['plain_unmarked']}")
    lines += [
        f"published: {one.images_per_second:.2f} images/s on one {one.chip} ({one.how})"
        for one in published_for(told["model"], told["side"])
    ]
    return "\n".join(lines)


def profiled(told: dict[str, Any]) -> str:
    """Where the pipeline's time goes, as Markdown."""
    lines = ["", "| stage | seconds an image |", "|---|---|"]
    lines += [f"| {stage} | {seconds:.4f} |" for stage, seconds in told["stage_seconds_per_image"].items()]
    return "\n".join([*lines, "", told.get("kernels", "")]).rstrip()


def main(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("embedded", *ARCHITECTURES), default="embedded")
    parser.add_argument(
        "--tiny", action="store_true", help="the architecture scaled down, to try this script"
    )
    parser.add_argument("--weights", type=Path, help="folder to keep the architecture's random weights in")
    parser.add_argument("--side", type=int, help="px; the model's own by default")
    parser.add_argument("--steps", type=int, help="20 by default, 12 with the embedded model")
    parser.add_argument("--images", type=int, default=64, help="a multiple of the eight subjects")
    parser.add_argument("--plain-images", type=int, help="of these, how many the plain script draws")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--eager", action="store_true", help="compile nothing on CUDA")
    parser.add_argument("--packages", type=Path, help="folder that holds invisible-watermark")
    parser.add_argument("--profile", action="store_true", help="say where the pipeline's time goes")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; its own choice by default")
    parser.add_argument("--json", type=Path, help="written after every run")
    options = parser.parse_args(arguments)
    if options.images < 1 or options.images % len(SUBJECTS):
        parser.error(f"--images is a multiple of {len(SUBJECTS)}")
    if options.device != best_device():
        parser.error(f"the pipeline draws on {best_device()} here; hide a GPU with CUDA_VISIBLE_DEVICES=")
    if options.threads:
        torch.set_num_threads(options.threads)
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        work = _work(options, options.weights or home)
        about = {
            "machine": machine(), "date": today(), "torch": torch.__version__, "model": options.model,
            "tiny": options.tiny, "side": work.side, "steps": work.steps, "compiled": work.compiled,
        }  # fmt: skip

        def keep(told: dict[str, Any]) -> None:
            if options.json:
                options.json.write_text(json.dumps({**about, **told}, indent=1))

        told = about | compare(
            work, options.repeats, home, plain_images=options.plain_images, packages=options.packages,
            profile=options.profile, keep=keep,
        )  # fmt: skip
    print(
        f"{about['machine']}, {about['date']}, torch {about['torch']}: {options.model}{' (tiny)' * options.tiny}, "
        f"{work.side} px, {work.steps} steps, {told['images']} images, bare in batches of {told['batch']}\n"
    )
    print(table(told))
    if options.profile:
        print(profiled(told))


def _work(options: argparse.Namespace, weights: Path) -> Work:
    device, seeds = options.device, options.images // len(SUBJECTS)
    if options.model == "embedded":
        side, steps = options.side or EMBEDDED["side"], options.steps or EMBEDDED["steps"]
        return make_work(EMBEDDED_FOLDER, seeds, int(side), int(steps), EMBEDDED["guidance"], device=device)
    architecture = ARCHITECTURES[options.model]
    folder = weights / f"{options.model}{'-tiny' * options.tiny}"
    if not (folder / "model_index.json").is_file():
        begun = perf_counter()
        build(options.model, folder, tiny=options.tiny, device=device)
        print(f"random weights written in {perf_counter() - begun:.1f} s", file=sys.stderr)
    side = options.side or (TINY_SIDE if options.tiny else architecture.side)
    compiled = device.startswith("cuda") and not options.eager
    return make_work(
        folder, seeds, side, options.steps or 20, architecture.guidance, device=device, compiled=compiled
    )


if __name__ == "__main__":
    main()
