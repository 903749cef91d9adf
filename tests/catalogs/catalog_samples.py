"""Rows with every kind of column filled in, and the schema they belong to."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from nonesuch.catalogs.schema import catalog_schema

SUBJECTS = ("panda", "fox", "castle")
ARTISTS = ("Katsushika Hokusai", "Edvard Munch")
DIM = 8
SCHEMA = catalog_schema(
    {"subject": "string", "artist": "string", "strokes": "int64"},
    {"alignment": "float32", "aesthetic": "float32", "subject_rank": "int32", "blank": "bool"},
    DIM,
)


def make_row(index: int, *, sweep: str = "demo", status: str = "ok", **changes: Any) -> dict[str, Any]:
    """One row with every kind of column filled in; scores depend on `index` alone."""
    rng = np.random.default_rng(index)
    subject, artist = SUBJECTS[index % 3], ARTISTS[index // 3 % 2]
    embedding = rng.standard_normal(DIM)
    row: dict[str, Any] = {
        "recipe_id": hashlib.sha256(f"{sweep} {index}".encode()).hexdigest(),
        "sweep": sweep,
        "shard": index // 10,
        "plan_index": index,
        "backend": "diffusers",
        "model": "embedded",
        "prompt": f"a painting of a {subject} by {artist}",
        "seed": index // 6,
        "width": 128,
        "height": 128,
        "guidance_scale": 7.1,
        "subject": subject,
        "artist": artist,
        "strokes": index % 5,
        "status": status,
        "file": f"images/{sweep}/{index:04d}.png",
        "drawn_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=index),
        "versions": '{"torch":"2.6"}',
    }
    if status != "failed":
        row |= {
            "alignment": float(rng.uniform(0, 1)),
            "aesthetic": float(rng.uniform(0, 10)),
            "subject_rank": int(rng.integers(1, 4)),
            "blank": bool(index % 7 == 0),
            "embedding": (embedding / np.linalg.norm(embedding)).astype(np.float16),
            "phash": int(rng.integers(1, 2**63)) * 2 + 1,
            "watermark_id": int(hashlib.sha256(f"{sweep} {index}".encode()).hexdigest()[:16], 16),
            "sha256": hashlib.sha256(str(index).encode()).hexdigest(),
            "manifest_id": f"urn:c2pa:{uuid.UUID(int=rng.integers(0, 2**63).item() << 65 | index)}",
        }
    return row | changes
