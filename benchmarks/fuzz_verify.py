"""Fuzzing verify: mutated files of every format it reads; every one must give a verdict, in time and in memory.

    python -m benchmarks.fuzz_verify --mutations 50000 --seed 1 --out fuzz.json

Seeds and mutations are those of tools/mutations.py. Each runs in this process; a crash of native code ends
the run and leaves the file in `--keep`. A credential of ours that is called intact must cover the pixels that it
was made for (its own padding may change: C2PA leaves it unsigned).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes
from tools.mutations import mutate, pixels, seeds

SLOW = 10.0  # seconds of processor time for one file that count as a hang
ANSWERS = {"ai-generated", "ai-edited", "captured", "no-evidence", "conflict"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", choices=["aligned", "full"], default="aligned")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "nonesuch-fuzz")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="nonesuch-fuzz-home-"))
    originals = seeds(home)
    shown = {None, *(pixels(data) for data in originals)}  # None: a file that no longer shows anything
    trust, options = load_trust(None, home), VerifyOptions(home=home, search=arguments.search)
    rng = random.Random(arguments.seed)
    current = arguments.keep / "current.bin"
    faults: list[dict[str, object]] = []
    answers: dict[str, int] = {}
    slowest = 0.0
    started = time.monotonic()
    for number in range(arguments.mutations):
        data = mutate(rng.choice(originals), originals, rng)
        current.write_bytes(data)
        before = time.process_time()
        fault = None
        try:
            verdict = verify_bytes(data, "x", options, trust)
        except Exception as error:
            fault = f"raised {type(error).__name__}: {error}"
        else:
            key = f"{verdict.verdict} {verdict.integrity}"
            answers[key] = answers.get(key, 0) + 1
            json.dumps(verdict.to_json())
            if verdict.verdict not in ANSWERS:
                fault = f"answered {verdict.verdict}"
            elif verdict.integrity == "intact" and verdict.trust == "own" and pixels(data) not in shown:
                fault = "called a changed picture intact"
        spent = time.process_time() - before
        slowest = max(slowest, spent)
        if spent > SLOW:
            fault = f"took {spent:.1f} s"
        if fault:
            kept = arguments.keep / f"{arguments.seed}-{number}.bin"
            kept.write_bytes(data)
            faults.append({"mutation": number, "fault": fault, "file": kept.name})
            print(f"{number}: {fault}", file=sys.stderr)
    report = {
        "mutations": arguments.mutations,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started, 1),
        "slowest_seconds": round(slowest, 3),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "answers": dict(sorted(answers.items())),
        "faults": faults,
    }
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
