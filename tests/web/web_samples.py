"""What the server's tests are made of: pictures, their marks, a catalog, and hostile files."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.foundation.images import RGB
from nonesuch.provenance.request import MarkedFile

PAYLOADS = {0: 0x0123456789ABCDEF, 1: 0xFEDCBA9876543210, 2: 0x0F1E2D3C4B5A6978}
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202eabc'


def picture(number: int, size: int = 256) -> RGB:
    """A picture with structure at many scales, so that watermark and fingerprint have something to hold on to."""
    rng = np.random.default_rng(1000 + number)
    out = np.zeros((size, size, 3))
    for cells in (4, 8, 16, 32, 64):
        coarse = rng.normal(0, 60 / np.sqrt(cells), (cells, cells, 3))
        out += np.kron(coarse, np.ones((size // cells, size // cells, 1)))
    return np.clip(out + 128, 0, 255).astype(np.uint8)


def marked_file(image: RGB, payload: int, home: Path) -> MarkedFile:
    from nonesuch.provenance.marking.drawn_image import mark_image
    from nonesuch.provenance.request import MarkRequest
    from nonesuch.provenance.signing.signer import open_signer

    recipe = {"prompt": "a fox & <friends>", "seed": 7}
    request = MarkRequest(watermark_payload=payload, recipe=recipe, title="fox.png", generator="embedded")
    return mark_image(image, request, open_signer(home))


def publish(out: Path, files: dict[int, MarkedFile], gone: set[int]) -> None:
    """A catalog of those files; the ones that are `gone` leave a manifest pack instead."""
    from nonesuch.catalogs.schema import catalog_schema
    from nonesuch.catalogs.search.hashes import perceptual_hashes
    from nonesuch.catalogs.storage.parts import publish_shard
    from nonesuch.provenance.sidecar import write_pack

    rows = []
    for number, file in files.items():
        name = f"images/{number}.png"
        assert file.manifest is not None
        if number in gone:
            write_pack(out, "web-0", [file.manifest])
        else:
            (out / "images").mkdir(exist_ok=True)
            (out / name).write_bytes(file.data)
        rows.append(
            {
                "recipe_id": hashlib.sha256(str(number).encode()).hexdigest(),
                "sweep": "web",
                "backend": "noise",
                "model": "noise",
                "model_digest": "",
                "prompt": "a fox & <friends>",
                "negative_prompt": "",
                "status": "ok",
                "loras": "[]",
                "options": "{}",
                **perceptual_hashes(file.image),
                "watermark_id": PAYLOADS[number],
                "manifest_id": file.manifest_id,
                "credential_digest": file.manifest_digest,
                "file": name,
                "format": "png",
                "bytes": len(file.data),
                "sha256": file.sha256,
            }
        )
    publish_shard(out, "web-0", rows, catalog_schema({}, {}, None))


def encoded(image: RGB, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def hostile_png() -> bytes:
    """A PNG whose AUTOMATIC1111 parameters hold markup and a character that turns the text's direction."""
    info = PngInfo()
    info.add_itxt(
        "parameters",
        f"{HOSTILE}\nNegative prompt: {HOSTILE}\nSteps: 20, Sampler: {HOSTILE}, CFG scale: 7, Seed: 1",
    )
    return encoded(np.full((64, 64, 3), 90, np.uint8), pnginfo=info)


def huge_png_header(width: int, height: int) -> bytes:
    """A PNG of that size, as its header says, with next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
