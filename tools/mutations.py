"""Pictures of every format that is read, with marks and metadata, and mutations of them that must not fool a reader.

A mutation flips bytes, cuts, repeats, splices two files, or lies about a length.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
from nonesuch.provenance.signing.signer import open_signer

PARAMETERS = "a fox\nNegative prompt: x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64"
GRAPH = {"1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0]}},
         "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}}}  # fmt: skip


def seeds(home: Path) -> list[bytes]:
    """Files to start from, small so that many mutations can be tried."""
    signer = open_signer(home)
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    found = []
    for name in ("png", "jpeg", "webp"):
        request = MarkRequest(1, {"prompt": "a fox"}, "fox", "embedded", format=name)  # type: ignore[arg-type]
        found.append(mark_image(image, request, signer).data)
    parents = MarkRequest(2, {}, "child", "embedded", parents=(found[1],), source_type="humanEdits")
    found.append(mark_image(image, parents, signer).data)
    pillow_heif.register_heif_opener()
    picture = Image.fromarray(image)
    for texts in ({"parameters": PARAMETERS}, {"prompt": json.dumps(GRAPH)}, {"Software": "NovelAI"}):
        info = PngInfo()
        for key, value in texts.items():
            info.add_text(key, value, zip=True)
        found.append(_saved(picture, "PNG", pnginfo=info))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Make", "Model"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    found += [_saved(picture, name, exif=exif) for name in ("JPEG", "WEBP", "AVIF", "TIFF", "HEIF")]
    found.append(_saved(picture, "GIF"))
    found.append(_with_iim(_saved(picture, "JPEG")))
    return found


def _with_iim(jpeg: bytes) -> bytes:
    """A JPEG with a credit line in IPTC-IIM, in Photoshop's resource blocks."""
    texts = {90: b"\x1b%G", 110: b"Made with Google AI", 120: PARAMETERS.encode()}
    iim = b"".join(
        struct.pack(">BBBH", 0x1C, 1 if number == 90 else 2, number, len(text)) + text
        for number, text in texts.items()
    )
    block = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iim)) + iim
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def pixels(data: bytes) -> str | None:
    """The digest of a file's decoded pixels; None when it can't be decoded."""
    try:
        return hashlib.sha256(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()).hexdigest()
    except Exception:
        return None


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to four changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if len(out) < 16:
            break
        at = rng.randrange(len(out))
        # Heads of files hold the structures; half of the changes go there.
        if rng.random() < 0.5:
            at = rng.randrange(min(len(out), 6000))
        kind = rng.randrange(8)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(0, 64))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            part = out[at : at + rng.randint(1, 2000)]
            out[at:at] = part * rng.randint(1, 3)
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at : at + rng.randint(0, 500)] = other[start : start + rng.randint(1, 3000)]
        elif kind == 5:
            lie = rng.choice([0, 1, 7, 8, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, len(out)])
            out[at : at + 4] = struct.pack(rng.choice([">I", "<I"]), lie)
        elif kind == 6:
            del out[at : at + rng.randint(1, 300)]
        else:
            out[at] = rng.choice([0, 0xFF, 0x7F, 0x80])
    return bytes(out)
