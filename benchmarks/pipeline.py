"""Three ways to the same images in one run: bare diffusers, a plain script, and this pipeline.

    python -m benchmarks.pipeline [--seeds 8] [--repeats 3] [--json FILE]

(a) diffusers alone at its best batch, nothing saved; (b) benchmarks/plain_script.py; (c) a sweep through
`run_sweep`, Prefect included, with scores, watermark, credential and catalog. The ways take turns in every repeat, so
that what else the machine does weighs on all of them; processor time, of child processes too, is the
cross-check. Starting (models, Prefect's server) is told apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import torch

from benchmarks.drawing_work import BareDiffusers, Work, make_work
from benchmarks.machine import machine, today
from generators.models import EMBEDDED_FOLDER
from scoring.encoders import EMBEDDED as ENCODER

EMBEDDED = {"side": 128, "steps": 12, "guidance": 3.0}
WAYS = ("bare", "plain", "pipeline")


def compare(work: Work, repeats: int, home: Path) -> dict[str, Any]:
    """Images a second and processor seconds an image of each way, medians over the repeats."""
    from benchmarks.plain_script import PlainScript
    from nonesuch.sweeps import run_sweep

    started: dict[str, float] = {}
    bare = _timed(started, "bare", lambda: BareDiffusers(work))
    plain = _timed(started, "plain", lambda: PlainScript(work, str(ENCODER)))
    first = home / "first.yaml"
    first.write_text(
        make_work(work.folder, 1, work.side, work.steps, work.guidance).sweep("first", "embedded")
    )
    _timed(started, "pipeline", lambda: run_sweep(first, home / "first", online=False))
    batch = bare.best_batch()
    sweep = home / "work.yaml"
    sweep.write_text(work.sweep("work", "embedded"))
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    cores: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(repeats):
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda: bare.run(batch),
            "plain": lambda repeat=repeat: plain.run(home / f"plain{repeat}"),
            "pipeline": lambda repeat=repeat: run_sweep(sweep, home / f"out{repeat}", online=False),
        }
        for way, run in ways.items():
            begun, core = perf_counter(), _core_seconds()
            run()
            seconds[way].append(perf_counter() - begun)
            cores[way].append(_core_seconds() - core)
            print(f"{way}: {len(work.items) / seconds[way][-1]:.2f} images/s", file=sys.stderr)
    count = len(work.items)
    ratios = [a / c for a, c in zip(seconds["bare"], seconds["pipeline"], strict=True)]
    gains = [b / c for b, c in zip(seconds["plain"], seconds["pipeline"], strict=True)]
    return {
        "images": count,
        "batch": batch,
        "images_per_second": {way: count / statistics.median(seconds[way]) for way in WAYS},
        "core_seconds_per_image": {way: statistics.median(cores[way]) / count for way in WAYS},
        "start_seconds": started,
        "pipeline_of_bare": statistics.median(ratios),
        "pipeline_of_plain": statistics.median(gains),
    }


def _timed(into: dict[str, float], name: str, make: Callable[[], Any]) -> Any:
    begun = perf_counter()
    made = make()
    into[name] = perf_counter() - begun
    return made


def _core_seconds() -> float:
    """Processor seconds of this process and its living children (Prefect's server) so far."""
    own = psutil.Process()
    return sum(
        times.user + times.system
        for times in (process.cpu_times() for process in (own, *own.children(recursive=True)))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="of each of eight subjects")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work = make_work(EMBEDDED_FOLDER, arguments.seeds, **EMBEDDED)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        told = compare(work, arguments.repeats, Path(folder))
    print(
        f"{machine()}, {today()}: {told['images']} images, bare in batches of {told['batch']}",
        file=sys.stderr,
    )
    print("| way | images/s | core seconds an image | start, s |\n|---|---|---|---|")
    for way in WAYS:
        row = [told[key][way] for key in ("images_per_second", "core_seconds_per_image", "start_seconds")]
        print(f"| {way} | {row[0]:.2f} | {row[1]:.3f} | {row[2]:.1f} |")
    print(f"\npipeline: {told['pipeline_of_bare']:.2f} of bare, {told['pipeline_of_plain']:.2f} times plain")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "date": today(), **told}, indent=1))


if __name__ == "__main__":
    main()
