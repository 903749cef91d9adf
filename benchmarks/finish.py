"""Everything after drawing for one 1024×1024 image on one core, scores excluded: each step and its share.

    taskset -c 0 python -m benchmarks.finish [--images 40] [--packages DIR] [--json FILE]

The pictures are photographs that scikit-image ships, resized; times are the medians of wall times. The last row is what
benchmarks/plain_script.py does, without hashes and thumbnails; `--packages` holds invisible-watermark, without which
it does not mark. Files are not flushed to disk one by one: a sweep flushes a shard's at once.
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

import cv2
import numpy as np
import skimage.data
from PIL import Image

from benchmarks.machine import machine, today
from benchmarks.plain_script import PlainFinish, why_unmarked
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.thumbnails import write_thumbnail
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import RGB
from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
from nonesuch.provenance.signing.signer import open_signer

SIDE = 1024
STEPS = ("watermark", "encode", "sign", "hash", "thumbnail", "write")
PHOTOGRAPHS: tuple[Callable[[], Any], ...] = (
    skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee, skimage.data.rocket,
)  # fmt: skip


def pictures() -> list[RGB]:
    """uint8 [1024, 1024, 3] each."""
    return [
        cv2.resize(np.ascontiguousarray(load()[..., :3]), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for load in PHOTOGRAPHS
    ]


def measure(kind: str, count: int, home: Path) -> dict[str, float]:
    """Median milliseconds of each step for files of one format."""
    signer = open_signer(home)
    times: dict[str, list[float]] = {name: [] for name in STEPS}
    sizes = []
    images = pictures()
    for number in range(count + 2):
        image = images[number % len(images)]
        request = MarkRequest(
            watermark_payload=0x1234567890ABCDEF ^ number,
            recipe={"prompt": "a benchmark", "seed": number},
            title=f"{number}.{kind}",
            generator="benchmark",
            format=kind,  # type: ignore[arg-type]
            quality=None if kind == "png" else 95,
        )
        marked = mark_image(image, request, signer)
        hashed = perf_counter()
        perceptual_hashes(image)
        shrunk = perf_counter()
        write_thumbnail(home, f"{number:064x}", image)
        written = perf_counter()
        atomic_write(home / f"out{marked.suffix}", marked.data, flush=False)
        ended = perf_counter()
        if number < 2:
            continue  # imports and first-use caches
        sizes.append(len(marked.data))
        for name, seconds in (
            ("watermark", marked.seconds.watermark),
            ("encode", marked.seconds.encode),
            ("sign", marked.seconds.sign),
            ("hash", shrunk - hashed),
            ("thumbnail", written - shrunk),
            ("write", ended - written),
        ):
            times[name].append(1000 * seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "total": sum(medians.values()), "kB": statistics.median(sizes) / 1000}


def measure_plain(count: int, home: Path, packages: Path | None) -> dict[str, float]:
    """The same for the plain script, which knows PNG only."""
    unmarked, plain = why_unmarked(SIDE, packages), PlainFinish()
    if unmarked is not None:
        print(f"the plain script does not mark: {unmarked}", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in STEPS}
    images = [Image.fromarray(image) for image in pictures()]
    size = 0
    for number in range(count + 2):
        begun = perf_counter()
        image = images[number % len(images)]
        image = image if unmarked else plain.watermarked(image, number)
        marked = perf_counter()
        encoded = plain.encoded(image, "a benchmark", number)
        signing = perf_counter()
        data = plain.signed(encoded, f"{number}.png", "a benchmark")
        writing = perf_counter()
        (home / "plain.png").write_bytes(data)
        ended = perf_counter()
        if number < 2:
            continue
        size = len(data)
        spent = (marked - begun, signing - marked, writing - signing, 0.0, 0.0, ended - writing)
        for name, seconds in zip(STEPS, spent, strict=True):
            times[name].append(1000 * seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "total": sum(medians.values()), "kB": size / 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--packages", type=Path, help="folder that holds invisible-watermark")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {kind: measure(kind, arguments.images, Path(folder)) for kind in ("png", "jpeg", "webp")}
        results["plain script, png"] = measure_plain(arguments.images, Path(folder), arguments.packages)
    print(f"{machine()}, {today()}", file=sys.stderr)
    print(f"| ms a 1024×1024 image | {' | '.join(STEPS)} | total | kB |")
    print("|---" * (len(STEPS) + 3) + "|")
    for kind, row in results.items():
        shares = " | ".join(f"{row[step]:.1f} ({100 * row[step] / row['total']:.0f} %)" for step in STEPS)
        print(f"| {kind} | {shares} | {row['total']:.1f} | {row['kB']:.0f} |")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "date": today(), "ms": results}, indent=1)
        )


if __name__ == "__main__":
    main()
