"""How long a newcomer waits: from typing `nonesuch run` to the first image file, and to the end.

    python -m benchmarks.first_image [--json FILE]

Each of the runs is a process of its own with Prefect's embedded server; the first has an empty Prefect
home, as on a new machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.machine import machine, today

SWEEP = Path(__file__).parents[1] / "examples" / "demo.yaml"


def one_run(home: Path, out: Path) -> dict[str, float]:
    """Seconds to the first image and to the end of one run."""
    begun = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "run", str(SWEEP), "--out", str(out)],
        env={**os.environ, "PREFECT_HOME": str(home / "prefect"), "NONESUCH_HOME": str(home / "keys")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = float("nan")
    while process.poll() is None:
        if first != first and any((out / "images").rglob("*.png")):
            first = perf_counter() - begun
        sleep(0.02)
    if process.returncode:
        raise SystemExit(f"nonesuch run ended with {process.returncode}")
    return {"first image": first, "end": perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        results = {name: one_run(home, home / name) for name in ("new machine", "second run", "third run")}
    print(f"{machine()}, {today()}", file=sys.stderr)
    print("| seconds | to the first image | to the end of the demo |\n|---|---|---|")
    for name, row in results.items():
        print(f"| {name} | {row['first image']:.1f} | {row['end']:.1f} |")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "date": today(), "seconds": results}, indent=1)
        )


if __name__ == "__main__":
    main()
