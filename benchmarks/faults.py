"""Injects faults into real sweeps and counts what was lost: nothing may be.

    python -m benchmarks.faults [--kinds runner,worker,…] [--small] [--json FILE]

It injects 220 faults, with --small the few of each kind that the tests ask for. After each one the folder is checked
as far as it has come; every sweep is then brought to its end and checked again: every recipe in the catalog exactly
once, every catalogued file there with its digest, every signature valid. `images` counts files whose digest was
compared, so a file counts at every check.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks import fault_kinds as kinds
from benchmarks.fault_lab import Lab, Outcome, Unavailable
from benchmarks.machine import machine, today

# name → (scenario, faults at large, faults with --small)
SUITE: Final[dict[str, tuple[kinds.Scenario, int, int]]] = {
    "runner": (kinds.runner_killed, 120, 6),
    "truncated": (kinds.truncated_part, 24, 2),
    "disk": (kinds.disk_full, 16, 1),
    "readonly": (kinds.read_only, 12, 1),
    "memory": (kinds.out_of_memory, 12, 2),
    "two": (kinds.two_at_once, 12, 1),
    "worker": (kinds.worker_killed, 12, 2),
    "hang": (kinds.backend_hangs, 4, 1),
    "server": (kinds.server_killed, 4, 1),
    "clock": (kinds.clock_jumps, 4, 1),
}


def main() -> None:
    """Run the suite; exit 1 when anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(description="Inject faults into sweeps.")
    parser.add_argument("--kinds", default=",".join(SUITE), help="which, by name, with commas")
    parser.add_argument("--small", action="store_true", help="a few faults of each kind")
    parser.add_argument("--json", type=Path, help="where the figures go")
    asked = parser.parse_args()
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    begun = perf_counter()
    with tempfile.TemporaryDirectory() as folder, prefect_test_harness(server_startup_timeout=300):
        lab = Lab(Path(folder), str(PREFECT_API_URL.value()))
        for name in asked.kinds.split(","):
            scenario, many, few = SUITE[name]
            try:
                outcomes[name] = last = scenario(lab, few if asked.small else many)
            except Unavailable as reason:
                skipped[name] = str(reason)
                continue
            print(
                f"{last.fault}: {last.injected} faults, {last.images} images, {last.signatures} signatures, "
                f"{len(last.problems)} problems ({perf_counter() - begun:.0f} s)",
                file=sys.stderr,
            )
    report = {
        "machine": machine(),
        "date": today(),
        "seconds": round(perf_counter() - begun, 1),
        "faults": sum(one.injected for one in outcomes.values()),
        "images": sum(one.images for one in outcomes.values()),
        "signatures": sum(one.signatures for one in outcomes.values()),
        "problems": sum(len(one.problems) for one in outcomes.values()),
        "skipped": skipped,
        "kinds": {name: asdict(one) for name, one in outcomes.items()},
    }
    print(json.dumps(report, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))
    sys.exit(1 if report["problems"] else 0)


if __name__ == "__main__":
    main()
