"""A small catalog with real image files, as exports and sheets meet it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from catalog_samples import SCHEMA, make_row
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.parts import publish_shard

COUNT = 14
FAILED = 4  # the row that has no image


def image_bytes(index: int) -> bytes:
    """An image file of its own for each index; every fifth is a JPEG. Metadata that a re-encode would lose."""
    pixels = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    if index % 5 == 2:
        Image.fromarray(pixels).save(file, "JPEG", comment=b"kept")
    else:
        texts = PngInfo()
        texts.add_text("parameters", f"kept {index}")
        Image.fromarray(pixels).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def make_gallery(out: Path, *, count: int = COUNT) -> Catalog:
    """OUT with `count` rows, one of them failed, and a file for every other."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        if index == FAILED:
            rows.append(make_row(index, status="failed") | {"file": None, "reason": "out of memory"})
            continue
        data = image_bytes(index)
        suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
        file = f"images/demo/{index:04d}{suffix}"
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(data)
        rows.append(
            make_row(index)
            | {
                "file": file,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "score_facts": '{"encoder": "embedded", "encoder_tag": "abc"}',
                "credential_digest": "c" * 64,
            }
        )
    publish_shard(out, "demo-00000", rows, SCHEMA)
    return Catalog(out)
