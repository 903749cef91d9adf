"""How often unmarked pictures are taken for marked ones: 20,000 inputs of many kinds, none of which may be.

    python -m benchmarks.watermark_alarms --log FILE [--count 20000] [--full 400] [--photos DIR] [--generated DIR]

All are checked aligned (the first look of every search) and for foreign marks; a share of them, drawn at random,
by the full search too. Every input depends on its number alone, and FILE keeps the counts as they grow: a run
that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine, today
from benchmarks.watermark_attacks import REQUIRED
from benchmarks.watermark_methods import Method, open_method
from benchmarks.watermark_pictures import cut_outs, generated, large, photographs
from nonesuch.provenance.watermark import detect, embed
from nonesuch.provenance.watermark.detecting import message
from nonesuch.provenance.watermark.other_packages import read_foreign
from nonesuch.provenance.watermark.pattern import bounds, layout, luma

RGB = npt.NDArray[np.uint8]

_KINDS = ("photograph", "photograph", "photograph", "generated", "noise", "flat", "stripes", "other mark")
_LARGE_SHARE = 0.02  # of the photographs: 1,024 pixels a side
_CHANGES = ("JPEG 75", "scale 0.5-2.0", "noise 5", "blur 1", "rotate 0.5-5")
_STEP = 50  # inputs between entries in the log


@dataclass(frozen=True, slots=True)
class Sources:
    """What inputs are cut from."""

    photographs: list[RGB]
    large: list[RGB]  # 1,024 pixels and more each way
    generated: list[RGB]
    other: Method | None  # another program's watermark


def unmarked(number: int, sources: Sources) -> tuple[str, RGB]:
    """Kind and picture, 128 to 512 pixels a side, some 1,024: cut-outs (plain or changed), noise, flat
    colours, stripes, and pictures with the marks of other keys and programs."""
    rng = np.random.default_rng([20261121, number])
    kind = _KINDS[number % len(_KINDS)]
    side = int(rng.integers(128, 513))
    if kind == "noise":
        spread = float(rng.uniform(1.0, 80.0))
        return kind, np.clip(rng.normal(128.0, spread, (side, side, 3)), 0, 255).astype(np.uint8)
    if kind == "flat":
        return kind, np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    if kind == "stripes":
        y, x = np.mgrid[:side, :side]
        wave = np.sin(2 * np.pi * (x * rng.uniform(0.0, 0.5) + y * rng.uniform(0.0, 0.5)))
        return kind, np.repeat((127.5 + 127.0 * wave).astype(np.uint8)[..., None], 3, axis=2)
    pool = sources.generated if kind == "generated" else sources.photographs
    if kind == "photograph" and sources.large and rng.random() < _LARGE_SHARE:
        pool, side = sources.large, 1024
    source = pool[int(rng.integers(len(pool)))]
    top, left = (int(rng.integers(0, n - side + 1)) for n in source.shape[:2])
    cut = source[top : top + side, left : left + side]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    cut = np.ascontiguousarray(cut)
    if kind == "other mark":
        if sources.other is not None and side >= 256 and rng.random() < 0.5:
            bits = rng.integers(0, 2, sources.other.length).astype(np.uint8)
            return kind, sources.other.mark(cut, bits)
        return kind, embed(cut, int(rng.integers(2**63)), key=rng.bytes(8))
    if rng.random() < 0.5:
        cut = REQUIRED[str(rng.choice(_CHANGES))](cut, rng)
    return kind, np.ascontiguousarray(cut)


def main() -> int:
    parser = argparse.ArgumentParser(description="False alarms of the watermark on unmarked pictures.")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines with the counts so far")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to share the work")
    parser.add_argument("--full", type=int, default=400, help="about how many are searched in full")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--generated", type=Path, required=True)
    parser.add_argument("--packages", type=Path, help="folder that holds invisible-watermark")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sources = Sources(
        [*photographs(options.photos).values(), *cut_outs(options.photos).values()],
        large(options.photos),
        list(generated(options.generated).values()),
        open_method("dwtDct", options.packages) if options.packages else None,
    )
    lines = options.log.read_text().splitlines() if options.log.exists() else []
    state = json.loads(lines[-1]) if lines else {"done": options.first, "tallest": 0.0, "counts": {}}
    counts, tallest = Counter(state["counts"]), state["tallest"]
    for number in range(state["done"], options.count):
        kind, picture = unmarked(number, sources)
        full = np.random.default_rng([number]).random() < options.full / options.count
        counts[kind] += 1
        counts["1024"] += max(picture.shape[:2]) >= 1024
        counts["full"] += bool(full)
        counts["alarm"] += detect(picture, search="full" if full else "aligned") is not None
        counts["foreign alarm"] += bool(read_foreign(picture))
        if number % 10 == 0:
            groups = luma.carriers(luma.folded(luma.grey(picture)))
            tallest = max(tallest, message.pilot_height(groups, layout.PUBLIC_KEY))
        if (number + 1) % _STEP == 0 or number + 1 == options.count:
            state = {"done": number + 1, "tallest": tallest, "counts": dict(counts)}
            with options.log.open("a") as log:
                log.write(json.dumps(state) + "\n")
    print(f"{machine()}, {today()}")
    print(f"checked {options.first} to {state['done']}: {dict(counts)}")
    print(
        f"tallest pilot peak {tallest:.2f} (every tenth, unturned); threshold {bounds.ALIGNED_THRESHOLD:.2f}"
    )
    return int(counts["alarm"] + counts["foreign alarm"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
