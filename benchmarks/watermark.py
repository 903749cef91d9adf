"""The watermark against everything that happens to pictures, beside other watermarks, in one run.

    python -m benchmarks.watermark --out DIR [--photos DIR] [--generated DIR] [--methods nonesuch,dwtDct,…]

Writes DIR/trials.jsonl (every picture's trials as they are done; a run that was stopped goes on from there),
DIR/watermark.md (the table) and DIR/watermark.svg (the plot).
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine, today
from benchmarks.watermark_attacks import REPORTED, REQUIRED
from benchmarks.watermark_methods import Method, open_method
from benchmarks.watermark_pictures import cut_outs, generated, own_size, photographs
from benchmarks.watermark_report import plot, table
from nonesuch.foundation.errors import NonesuchError

RGB = npt.NDArray[np.uint8]


def quality(before: RGB, after: RGB) -> tuple[float, float]:
    """PSNR in dB over RGB, and SSIM of luma (scikit-image's default window)."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    planes = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after)]
    return float(peak_signal_noise_ratio(before, after)), float(structural_similarity(*planes))


def trial(method: Method, kind: str, name: str, picture: RGB, attacks: list[str]) -> dict[str, Any]:
    """Marks one picture and reads it after each attack; times are process CPU time."""
    seed = zlib.crc32(f"{kind}/{name}".encode())
    bits = np.random.default_rng(seed).integers(0, 2, method.length).astype(np.uint8)
    start = time.process_time()
    marked = method.mark(picture, bits)
    spent = time.process_time() - start
    psnr, ssim = quality(picture, marked)
    record: dict[str, Any] = {
        "method": method.name,
        "kind": kind,
        "picture": name,
        "psnr": psnr,
        "ssim": ssim,
    }
    record |= {"mark_ms": 1e3 * spent, "attacks": {}}
    for number, attack in enumerate(attacks):
        change = REQUIRED.get(attack) or REPORTED[attack]
        changed = np.ascontiguousarray(change(marked, np.random.default_rng([seed, number])))
        start = time.process_time()
        read = method.read(changed)
        spent = time.process_time() - start
        right = 0.5 if read is None else float((read == bits).mean())
        record["attacks"][attack] = {
            "exact": right == 1.0,
            "wrong": read is not None and right < 1.0,
            "bits": right,
            "read_ms": 1e3 * spent,
        }
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description="Robustness of watermarks, in one run.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--photos", type=Path, help="folder with more photographs")
    parser.add_argument("--generated", type=Path, help="folder with generated pictures")
    parser.add_argument(
        "--cuts", action="store_true", help="large photographs' regions instead of photographs"
    )
    parser.add_argument("--own-size", type=int, help="only generated pictures up to this side, unscaled")
    parser.add_argument("--methods", default="nonesuch,dwtDct,dwtDctSvd,rivaGan")
    parser.add_argument("--packages", type=Path, help="folder that holds invisible-watermark")
    parser.add_argument("--attacks", help="only these, separated by commas")
    parser.add_argument("--limit", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--others-limit", type=int, default=10, help="the same for dwtDct and dwtDctSvd")
    parser.add_argument("--slow-limit", type=int, default=4, help="the same for rivaGan")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.own_size:
        small = own_size(options.generated, options.own_size)
        pictures = {f"generated, {options.own_size} px": small}
    else:
        pictures = {"photographs": photographs(options.photos)}
        if options.cuts:
            pictures = {"cut-outs": cut_outs(options.photos)}
        if options.generated:
            pictures["generated"] = generated(options.generated)
    attacks = options.attacks.split(",") if options.attacks else [*REQUIRED, *REPORTED]
    if unknown := set(attacks) - {*REQUIRED, *REPORTED}:
        parser.error(f"unknown attacks {sorted(unknown)}; known: {', '.join([*REQUIRED, *REPORTED])}")
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "trials.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(record["method"], record["kind"], record["picture"]) for record in records}
    for wanted in options.methods.split(","):
        try:
            method = open_method(wanted, options.packages)
        except NonesuchError as error:
            print(f"left out: {error}")
            continue
        limits = {"nonesuch": options.limit, "rivaGan": options.slow_limit, "trustmark": options.slow_limit}
        limit = limits.get(wanted, options.others_limit)
        for kind, found in pictures.items():
            step = max(1.0, len(found) / limit)
            chosen = [list(found)[int(i * step)] for i in range(min(limit, len(found)))]
            for name in chosen:
                if (method.name, kind, name) in done:
                    continue
                records.append(trial(method, kind, name, found[name], attacks))
                with log.open("a") as lines:
                    lines.write(json.dumps(records[-1]) + "\n")
                missed = [a for a, result in records[-1]["attacks"].items() if not result["exact"]]
                print(f"{method.name} {kind} {name}: missed {len(missed)} {missed}", flush=True)
    order = options.methods.split(",")
    records = sorted(
        (record for record in records if record["method"] in order),
        key=lambda record: order.index(record["method"]),
    )
    text = table(records, {"machine": machine(), "date": today()})
    (options.out / "watermark.md").write_text(text)
    (options.out / "watermark.svg").write_text(plot(records))
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
