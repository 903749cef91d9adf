"""How long marking with the watermark, looking for it and a verdict on a file take on one core.

    taskset -c 0 python -m benchmarks.checking [--repeats 9] [--json FILE]

The pictures are photographs that scikit-image ships, scaled to 512 and 1024 pixels. Times are medians of processor
times and, in brackets, of the best round: what a machine whose other tenants are quiet would need. A verdict reads the
credential, the metadata and the watermark as the picture stands, from a file on disk, with everything imported and the
trust list loaded, as for the second file of a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from time import process_time
from typing import TypeVar

import cv2
import numpy as np
import skimage.data
from PIL import Image

from benchmarks.machine import machine, today
from nonesuch.foundation.images import RGB
from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
from nonesuch.provenance.marking.encoding import SUFFIX, Format
from nonesuch.provenance.signing.signer import open_signer
from nonesuch.provenance.verifying.verify import verify_path
from nonesuch.provenance.verifying.verify_options import VerifyOptions
from nonesuch.provenance.watermark import detect, embed

PAYLOAD = 0x1234567890ABCDEF
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "camera")
Figures = dict[str, float]  # milliseconds: the median of all and the least median of a round
T = TypeVar("T")


def photographs(side: int) -> list[RGB]:
    """uint8 [side, side, 3] each."""
    pictures = []
    for name in PHOTOGRAPHS:
        picture = np.asarray(Image.fromarray(getattr(skimage.data, name)()).convert("RGB"))
        pictures.append(cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC))
    return pictures


def measured(work: Callable[[T], object], subjects: Sequence[T], repeats: int) -> Figures:
    """`work` on each of `subjects`, once unmeasured and then `repeats` times."""
    for subject in subjects:
        work(subject)
    times: list[list[float]] = []
    for _ in range(repeats):
        times.append([])
        for subject in subjects:
            begun = process_time()
            work(subject)
            times[-1].append(1000 * (process_time() - begun))
    return {
        "median": statistics.median(chain.from_iterable(times)),
        "least": min(map(statistics.median, times)),
    }


def watermark(side: int, repeats: int) -> dict[str, Figures]:
    """Embedding, looking and searching in pictures of one size."""
    plain = photographs(side)
    marked = [embed(picture, PAYLOAD + place) for place, picture in enumerate(plain)]
    return {
        "embedding": measured(lambda picture: embed(picture, PAYLOAD), plain, repeats),
        "aligned search, marked": measured(_aligned, marked, repeats),
        "aligned search, unmarked": measured(_aligned, plain, repeats),
        "full search that finds nothing": measured(detect, plain, repeats),
    }


def _aligned(picture: RGB) -> object:
    return detect(picture, search="aligned")


def verdicts(repeats: int, home: Path) -> dict[str, Figures]:
    """Verdicts on signed and unsigned files of 1024 x 1024."""
    signer = open_signer(home)
    options = VerifyOptions(None, home, None, False, search="aligned")
    trust = options.load_trust()
    told: dict[str, Figures] = {}
    kinds: tuple[Format, ...] = ("jpeg", "png", "webp")
    for kind in kinds:
        suffix = SUFFIX[kind]
        signed, unsigned = [], []
        for place, picture in enumerate(photographs(1024)):
            request = MarkRequest(
                watermark_payload=PAYLOAD ^ place, recipe={"prompt": "a benchmark", "seed": place},
                title=f"{place}{suffix}", generator="benchmark", format=kind, quality=None if kind == "png" else 95,
            )  # fmt: skip
            signed.append(home / f"{place}{suffix}")
            signed[-1].write_bytes(mark_image(picture, request, signer).data)
            unsigned.append(home / f"plain-{place}{suffix}")
            Image.fromarray(picture).save(unsigned[-1], quality=95)
        for name, paths in (("signed", signed), ("unsigned", unsigned)):
            found = {verify_path(path, options, trust).verdict for path in paths}
            assert found == {"ai-generated" if name == "signed" else "no-evidence"}, found
            told[f"{kind}, {name}"] = measured(lambda path: verify_path(path, options, trust), paths, repeats)
    return told


def table(head: str, columns: dict[str, dict[str, Figures]]) -> str:
    """Markdown: a row a measure, a column a size."""
    rows = [f"| {head} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in next(iter(columns.values())):
        cells = [f"{one[name]['median']:.1f} ({one[name]['least']:.1f})" for one in columns.values()]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the watermark and of verdicts.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    marks = {f"{side} x {side}": watermark(side, options.repeats) for side in (512, 1024)}
    with tempfile.TemporaryDirectory() as home:
        os.environ["NONESUCH_HOME"] = home
        files = {"1024 x 1024": verdicts(options.repeats, Path(home))}
    where = {"machine": machine(), "date": today()}
    print(table("ms, median (least)", marks), table("verdict, ms, median (least)", files), sep="\n\n")
    print(f"\n{where['machine']}, {where['date']}")
    if options.json is not None:
        options.json.write_text(json.dumps({**where, "watermark": marks, "verdicts": files}, indent=1))


if __name__ == "__main__":
    main()
