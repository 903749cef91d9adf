"""What one shard costs besides its drawing: the unit costs from which docs/scale.md works out large sweeps.

    python -m benchmarks.scale [--shards 40] [--rows 200] [--json FILE]

Prefect's cost is that of empty tasks on its own server (SQLite) in a process beside this one; its database's growth
is the server's. Publishing, the resume scan and the sizes are those of synthetic rows with embeddings of 512.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.catalog_rows import build
from benchmarks.machine import machine, today
from nonesuch.catalogs.storage.parts import part_files, publish_shard, published_ids, read_schema
from nonesuch.provenance.marking.drawn_image import mark_image
from nonesuch.provenance.request import MarkRequest
from nonesuch.provenance.sidecar import write_pack
from nonesuch.provenance.signing.signer import open_signer


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Unit costs of a shard.")
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--rows", type=int, default=200, help="images in a shard")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {
            "machine": machine(),
            "date": today(),
            "rows": asked.rows,
            **_catalog(Path(folder), asked.shards, asked.rows),
            **_manifest(Path(folder), asked.rows),
            **_prefect(asked.shards),
        }
    print(json.dumps(figures, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


def _catalog(folder: Path, shards: int, rows: int) -> dict[str, float]:
    out = folder / "out"
    build(out, shards * rows, rows, 512, np.random.default_rng(1))
    schema = read_schema(out)
    parts = part_files(out)
    records = pq.read_table(parts[0]).to_pylist()
    published = [
        _seconds(lambda number=number: publish_shard(folder / "new", f"bench-{number:04d}", records, schema))
        for number in range(7)
    ]
    scanned = [_seconds(lambda: published_ids(out)) for _ in range(5)]
    return {
        "publish_ms": 1000 * statistics.median(published),
        "part_bytes": statistics.mean(path.stat().st_size for path in parts),
        "resume_scan_ms_per_part": 1000 * statistics.median(scanned) / len(parts),
    }


def _manifest(folder: Path, rows: int) -> dict[str, float]:
    image = np.random.default_rng(2).integers(0, 256, (512, 512, 3), np.uint8)
    request = MarkRequest(
        watermark_payload=1, recipe={"prompt": "a benchmark", "seed": 1}, title="a", generator="b"
    )
    manifest = mark_image(image, request, open_signer(folder / "keys")).manifest or b""
    packed = write_pack(folder, "pack", [manifest + bytes([n % 256, n // 256]) for n in range(rows)])
    return {"manifest_bytes": len(manifest), "pack_bytes": packed.stat().st_size}


def _prefect(shards: int) -> dict[str, float]:
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from prefect import flow, task
    from prefect.testing.utilities import prefect_test_harness

    @task(cache_policy=None, persist_result=False)
    def shard(number: int) -> int:
        return number

    @flow(persist_result=False)
    def tasks(count: int) -> None:
        for number in range(count):
            shard(number)

    with prefect_test_harness(server_startup_timeout=300):
        tasks(2)
        bare = _seconds(lambda: tasks(0))
        full = _seconds(lambda: tasks(shards))
    return {"prefect_flow_s": bare, "prefect_task_ms": 1000 * (full - bare) / shards}


def _seconds(work: Callable[[], Any]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


if __name__ == "__main__":
    main()
