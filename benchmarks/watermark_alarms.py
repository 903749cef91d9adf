"""How often unmarked pictures are taken for marked ones: 20,000 inputs of many kinds, none of which may be.

    python -m benchmarks.watermark_alarms [--count 20000] [--full 400] [--photos DIR] [--generated DIR]

All are checked aligned (the first look of every search) and for foreign marks; the first `--full` of them with
the full search too. The tallest pilot peaks are reported beside the threshold.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine, today
from benchmarks.watermark_attacks import REQUIRED
from benchmarks.watermark_pictures import generated, photographs
from provenance.watermark import bounds, detect, embed, layout, luma, reading
from provenance.watermark.foreign import read_foreign

RGB = npt.NDArray[np.uint8]


def unmarked(count: int, photos: Path | None, drawn: Path | None) -> Iterator[tuple[str, RGB]]:
    """Kind and picture, 256 to 512 pixels a side: cut-outs (plain, scaled, as JPEG), noise, flat colours,
    gradients, stripes, and pictures marked with other keys."""
    rng = np.random.default_rng(20261121)
    sources = list(photographs(photos).values())
    models = list(generated(drawn).values()) if drawn else []
    kinds = ["photograph", "photograph", "photograph", "generated", "noise", "flat", "stripes", "other mark"]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        side = int(rng.integers(256, 513))
        if kind == "noise":
            spread = float(rng.uniform(1.0, 80.0))
            yield kind, np.clip(rng.normal(128.0, spread, (side, side, 3)), 0, 255).astype(np.uint8)
        elif kind == "flat":
            yield kind, np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
        elif kind == "stripes":
            y, x = np.mgrid[:side, :side]
            wave = np.sin(2 * np.pi * (x * rng.uniform(0.0, 0.5) + y * rng.uniform(0.0, 0.5)))
            yield kind, np.repeat((127.5 + 127.0 * wave).astype(np.uint8)[..., None], 3, axis=2)
        else:
            pool = models if kind == "generated" and models else sources
            source = pool[int(rng.integers(len(pool)))]
            top, left = (int(rng.integers(0, n - side + 1)) for n in source.shape[:2])
            cut = np.ascontiguousarray(source[top : top + side, left : left + side])
            if rng.random() < 0.5:
                cut = np.ascontiguousarray(cut[:, ::-1])
            if kind == "other mark":
                cut = embed(cut, int(rng.integers(2**63)), key=rng.bytes(8))
            elif rng.random() < 0.5:
                cut = REQUIRED[str(rng.choice(["JPEG 75", "scale 0.5-2.0", "noise 5", "blur 1"]))](cut, rng)
            yield kind, np.ascontiguousarray(cut)


def main() -> int:
    parser = argparse.ArgumentParser(description="False alarms of the watermark on unmarked pictures.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--full", type=int, default=400, help="how many are searched in full")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--generated", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    kinds: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    tallest = 0.0
    for number, (kind, picture) in enumerate(unmarked(options.count, options.photos, options.generated)):
        kinds[kind] += 1
        search = detect(picture, search="full" if number < options.full else "aligned")
        alarms[kind] += search is not None
        alarms["foreign"] += bool(read_foreign(picture))
        if number % 10 == 0:
            groups = luma.carriers(luma.fold(luma.flatten(luma.luma(picture))))
            tallest = max(tallest, reading.pilot_height(groups, layout.PUBLIC_KEY))
    print(f"{machine()}, {today()}")
    print(f"checked {dict(kinds)}, {min(options.full, options.count)} of them in full")
    print(f"alarms: {sum(alarms.values())} {dict(alarms)}")
    print(
        f"tallest pilot peak {tallest:.2f} (every tenth picture, unturned); threshold {bounds.ALIGNED_THRESHOLD:.2f}"
    )
    return int(sum(alarms.values()) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
