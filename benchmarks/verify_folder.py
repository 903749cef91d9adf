"""The flow `verify_folder` on a folder of very many files: files a second, memory, and what a second run costs.

    python -m benchmarks.verify_folder [--files 1000000] [--side 32] [--jobs 2] [--json FILE]

The files are small PNG pictures, a thousand in each folder: one in ten has A1111 parameters, one in a hundred is cut
short. `nonesuch verify FOLDER --out OUT/` runs in a process of its own with Prefect's embedded server, then once more
when there is nothing left to do. Every answer is compared with how its file was made. Pictures under 48 pixels a side have no room
for a watermark and are not searched for one, so that the figures are those of everything around it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

from benchmarks.machine import machine, today
from benchmarks.noise_sweep import memory

FOLDER = 1000  # files in each
PARAMETERS = "fox {number}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: {number}, Size: 512x512"


def make(root: Path, count: int, side: int) -> None:
    """`count` PNG files under `root`, each with bytes of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    whole = file.getvalue()
    head, tail = whole[:33], whole[33:]  # signature and IHDR; the rest
    for number in range(count):
        if number % FOLDER == 0:
            folder = root / f"{number // FOLDER:04d}"
            folder.mkdir(parents=True)
        text = PARAMETERS.format(number=number) if number % 10 == 0 else f"picture {number}"
        keyword = b"parameters" if number % 10 == 0 else b"Title"
        body = b"tEXt" + keyword + b"\0" + text.encode()
        data = head + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + tail
        if number % 100 == 7:
            data = data[: len(data) // 2]
        (folder / f"{number % FOLDER:03d}.png").write_bytes(data)


def run(root: Path, out: Path, jobs: int) -> dict[str, float]:
    """One run of the command: seconds, and the most memory of it and its children in MB."""
    command = [sys.executable, "-m", "nonesuch", "verify", str(root), "--out", f"{out}/", "--jobs", str(jobs)]
    begun, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen([*command, "--search", "aligned"], stderr=said) as running:
            while running.poll() is None:
                time.sleep(1)
                peak = max(peak, memory(running.pid))
        said.seek(0)
        told = said.read().decode()
    if running.returncode not in (0, 3):  # 3: some files were broken, as they were made
        raise SystemExit(f"verify ended with {running.returncode}:\n{told[-2000:]}")
    return {"seconds": time.monotonic() - begun, "peak_mb": peak}


def check(root: Path, out: Path, count: int) -> None:
    """Raises SystemExit unless `out` holds each file once, with the answer that it was made for."""
    seen = np.zeros(count, np.bool_)
    for batch in ds.dataset(out, format="parquet").to_batches(columns=["path", "verdict", "integrity"]):
        for row in batch.to_pylist():
            path = Path(row["path"])
            number = int(path.parent.name) * FOLDER + int(path.stem)
            expected = "ai-generated" if number % 10 == 0 else "no-evidence"
            broken = number % 100 == 7
            if seen[number] or row["verdict"] != expected or (row["integrity"] == "unreadable") != broken:
                raise SystemExit(f"wrong: {row}")
            seen[number] = True
    if not seen.all():
        raise SystemExit(f"{count - int(seen.sum())} files have no verdict")


def main() -> None:
    parser = argparse.ArgumentParser(description="verify_folder on very many files.")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="verify-folder-"))
    try:
        make(home / "files", options.files, options.side)
        first = run(home / "files", home / "out", options.jobs)
        check(home / "files", home / "out", options.files)
        again = run(home / "files", home / "out", options.jobs)
        check(home / "files", home / "out", options.files)
    finally:
        shutil.rmtree(home)
    found: dict[str, Any] = {"files": options.files, "side": options.side, "first": first, "again": again}
    print("| run | seconds | files a second | most memory, MB |", "|---|---|---|---|", sep="\n")
    for name, figures in (("all files", first), ("nothing to do", again)):
        rate = options.files / figures["seconds"]
        print(f"| {name} | {figures['seconds']:.0f} | {rate:.0f} | {figures['peak_mb']:.0f} |")
    print(f"\n{options.files:,} files; {machine()}, {today()}")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "date": today(), **found}, indent=1))


if __name__ == "__main__":
    main()
