"""A long sweep with nothing to draw: how many images a second everything around drawing finishes, in how much memory.

    python -m benchmarks.noise_sweep [--images 100000] [--engine processes] [--devices 2] [--json FILE]

The backend `noise` gives a noise image for each recipe, 64x64; each is watermarked, hashed, encoded, signed, written and
catalogued by `nonesuch run` in a process of its own with Prefect's embedded server. Memory is the proportional set size
(PSS, shared pages split among their users) of that process and all its children, read every two seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks.machine import machine, today
from nonesuch.catalogs.storage.parts import part_files

SUBJECTS, ARTISTS = 10, 10
SWEEP = """\
name: noise
model: noise
prompt: "a {{subject}} by {{artist}}"
facets:
  subject: [{subjects}]
  artist: [{artists}]
seeds: {{count: {seeds}}}
settings: {{width: 64, height: 64, steps: 1}}
scoring: {{scorers: []}}
shard_size: 500
engine: {{name: {engine}, devices: {devices}}}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How the run stood when a share of its images was catalogued."""

    images: int
    seconds: float  # since the first images were catalogued
    peak: float  # MB, the most until then


def watch(run: subprocess.Popen[bytes], out: Path, wanted: int) -> tuple[list[Mark], float]:
    """The run at each tenth of its images, and the seconds until the first of them were catalogued."""
    begun, first, peak = time.monotonic(), 0.0, 0.0
    marks: list[Mark] = []
    known: dict[Path, int] = {}
    while run.poll() is None:
        time.sleep(2)
        peak = max(peak, memory(run.pid))
        for path in part_files(out) if out.exists() else ():
            if path not in known:
                known[path] = pq.read_metadata(path).num_rows
        count, now = sum(known.values()), time.monotonic() - begun
        if count and not first:
            first = now
        if count >= (len(marks) + 1) * wanted // 10:
            marks.append(Mark(count, now - first, peak))
    return marks, first


def memory(pid: int) -> float:
    """MB of a process and all its children."""
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for one in family:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--engine", default="processes")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "noise.yaml", Path(folder) / "out"
        file.write_text(
            SWEEP.format(
                subjects=", ".join(f"thing {n}" for n in range(SUBJECTS)),
                artists=", ".join(f"painter {n}" for n in range(ARTISTS)),
                seeds=asked.images // (SUBJECTS * ARTISTS),
                engine=asked.engine,
                devices=asked.devices,
            )
        )
        begun = time.monotonic()
        command = [sys.executable, "-m", "nonesuch", "run", str(file), "--out", str(out)]
        log = Path(folder) / "log"
        with log.open("wb") as said:
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
            marks, first = watch(run, out, asked.images)
        seconds = time.monotonic() - begun
        if run.returncode:
            raise SystemExit(f"the run ended with {run.returncode}: {log.read_text()[-800:]}")
        rows = sum(pq.read_metadata(path).num_rows for path in part_files(out))
        files = sum(1 for _ in (out / "images").rglob("*.png"))
    report = {
        "machine": machine(), "date": today(), "engine": asked.engine, "devices": asked.devices, "rows": rows,
        "files": files, "seconds": seconds, "images_per_second": rows / seconds, "seconds_to_first_shard": first,
        "peak_mb": max(mark.peak for mark in marks), "marks": [asdict(mark) for mark in marks],
    }  # fmt: skip
    print("| images catalogued | s since the first | peak memory so far, MB |\n|---|---|---|")
    for mark in marks:
        print(f"| {mark.images} | {mark.seconds:.0f} | {mark.peak:.0f} |")
    print(f"\n{rows} images in {seconds:.0f} s with start and end: {rows / seconds:.0f} images/s")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
