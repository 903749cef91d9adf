"""Stealth pnginfo: parameters in the least significant bits of alpha or RGB, columns first.

15 bytes of magic, a 32-bit length in bits, UTF-8 text, gzipped where the magic says `comp`. Written by NovelAI,
SwarmUI and extensions of AUTOMATIC1111; survives losing the text chunks, not a re-encode.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from nonesuch.provenance.metadata import automatic1111, novelai, swarmui
from nonesuch.provenance.metadata.finding import Finding, excerpt
from nonesuch.provenance.metadata.raw_fields import MAX_FIELD, Source, inflate

_LOSSLESS = ("image/png", "image/webp", "image/avif", "image/tiff")
_HEAD = 15 * 8 + 32  # bits of magic and length
_MAGIC = {
    b"stealth_pnginfo": (True, False),  # (in alpha, compressed)
    b"stealth_pngcomp": (True, True),
    b"stealth_rgbinfo": (False, False),
    b"stealth_rgbcomp": (False, True),
}


class StealthPnginfo:
    """Reads the hidden text and says what it is."""

    def __init__(self, novelai_key: str = novelai.PUBLIC_KEY) -> None:
        self._novelai_key = novelai_key

    def read(self, source: Source) -> Finding | None:
        if source.mime not in _LOSSLESS:
            return None
        pixels = source.rgba()
        text = hidden_text(pixels) if pixels is not None else None
        return None if text is None else self._identify(text, source)

    def _identify(self, text: str, source: Source) -> Finding:
        kind = "stealth-pnginfo"
        parsed = _json(text)
        if isinstance(parsed, dict):
            if parsed.get("Software") == "NovelAI" or "Comment" in parsed:
                return novelai.finding(parsed, source.rgba, self._novelai_key, kind=kind)
            if "sui_image_params" in parsed:
                found = swarmui.parse(text)
                if found is not None:
                    return Finding(kind, found.says, "claimed", found.detail, found.generator, found.recipe)
        recipe = automatic1111.parse(text)
        detail = f"hidden parameters: “{excerpt(recipe.get('prompt') if recipe else text)}”"
        generator = automatic1111.program(recipe) if recipe else None
        return Finding(kind, "ai-generated", "claimed", detail, generator, recipe)


def hidden_text(pixels: npt.NDArray[np.uint8]) -> str | None:
    """The text hidden in uint8 [H, W, 4] pixels, or None. Raises ValueError when it is cut short or too long."""
    for in_alpha in (True, False):
        channels = pixels[..., 3:4] if in_alpha else pixels[..., :3]
        per_pixel = channels.shape[2]
        head = _bits(channels, -(-_HEAD // per_pixel))[:_HEAD]
        if head.size < _HEAD:
            continue
        magic = np.packbits(head[:120]).tobytes()
        if _MAGIC.get(magic, (None, False))[0] is not in_alpha:
            continue
        (length,) = struct.unpack(">I", np.packbits(head[120:]).tobytes())
        if length > min(MAX_FIELD * 8, channels.size - _HEAD):
            raise ValueError("the hidden text is longer than the picture")
        body = _bits(channels, -(-(_HEAD + length) // per_pixel))[_HEAD : _HEAD + length]
        raw = np.packbits(body[: length // 8 * 8]).tobytes()
        if _MAGIC[magic][1]:
            raw = inflate(raw, wbits=zlib.MAX_WBITS | 16)
        return raw.decode("utf-8")
    return None


def _bits(channels: npt.NDArray[np.uint8], pixels: int) -> npt.NDArray[np.uint8]:
    """The lowest bits of the first `pixels` pixels in column order, channels innermost."""
    height = channels.shape[0]
    columns = min(channels.shape[1], -(-pixels // height))
    return (channels[:, :columns].swapaxes(0, 1).reshape(-1)[: pixels * channels.shape[2]] & 1).astype(
        np.uint8
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
