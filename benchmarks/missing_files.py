"""What a run's look for missing images costs: a catalog of N rows whose N image files (of 10 bytes) are all there.

python -m benchmarks.missing_files [--rows 1000000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.machine import machine, today
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.flows.repair.missing import lost_images
from nonesuch.flows.run.job import prepare
from nonesuch.flows.run.output_folder import image_path

_PART = 10_000  # rows


def main() -> None:
    """Write the files, look for them, print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure the look for missing images.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", type=Path, help="where the files are written; they are removed at the end"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        out = Path(name)
        sweep = out / "sweep.yaml"
        sweep.write_text('name: many\nmodel: noise\nprompt: "a panda"\n')
        schema = catalog_schema({}, {}, None)
        for start in range(0, asked.rows, _PART):
            rows = []
            for number in range(start, min(start + _PART, asked.rows)):
                recipe = hashlib.sha256(str(number).encode()).hexdigest()
                file = image_path("many", recipe, ".png")
                (out / file).parent.mkdir(parents=True, exist_ok=True)
                (out / file).write_bytes(b"0123456789")
                rows.append({"recipe_id": recipe, "sweep": "many", "status": "ok", "file": file, "bytes": 10})
            publish_shard(out, f"many-{start:08d}", rows, schema)
        job = prepare(sweep, out, online=False)
        begun, busy = perf_counter(), process_time()
        lost = lost_images(job)
        figures = {
            "machine": machine(),
            "date": today(),
            "rows": asked.rows,
            "lost": lost,
            "seconds": round(perf_counter() - begun, 2),
            "processor_seconds": round(process_time() - busy, 2),
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
