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

from nonesuch.formats.graph import is_graph
from nonesuch.formats.raw_fields import MAX_FIELD, Source, inflate

_LOSSLESS = ("image/png", "image/webp", "image/avif", "image/tiff")
_FOOOCUS = frozenset({"base_model", "fooocus_scheme"})
_HEAD = 15 * 8 + 32  # bits of magic and length
_MAGIC = {
    b"stealth_pnginfo": (True, False),  # (in alpha, compressed)
    b"stealth_pngcomp": (True, True),
    b"stealth_rgbinfo": (False, False),
    b"stealth_rgbcomp": (False, True),
}


def hidden_source(source: Source) -> tuple[str, Source] | None:
    """The text in a file's lowest bits, and the fields that it stands for, with the same pixels; None when it has none.

    A JSON object of texts stands for PNG text by keyword, a bare ComfyUI graph for `prompt`, anything else for
    `parameters`. Raises ValueError when the text is cut short or too long.
    """
    pixels = source.rgba() if source.mime in _LOSSLESS else None
    text = hidden_text(pixels) if pixels is not None else None
    if text is None:
        return None
    told = _json(text)
    texts = {"parameters": text}
    if is_graph(told):
        texts = {"prompt": text}
    elif isinstance(told, dict) and "sui_image_params" not in told and not told.keys() & _FOOOCUS:
        texts = {str(key): one if isinstance(one, str) else json.dumps(one) for key, one in told.items()}
        if "Comment" in texts:
            texts.setdefault("Software", "NovelAI")  # which leaves it out in places
    return text, Source(source.mime, texts, rgba=source.rgba)


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
