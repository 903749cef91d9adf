"""The raw metadata of a file from a stranger: text fields, EXIF, XMP, with a limit on each size.

PNG chunks, JPEG segments and RIFF chunks are read here, since Pillow drops some of them and stops at the first
broken one; EXIF itself, and the other containers, are Pillow's.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from nonesuch.formats.iim import PHOTOSHOP, iim_of_resources, parse_iim
from nonesuch.foundation.images import known_formats

MAX_FIELD = 8 << 20  # bytes of one text field after decompression
MAX_TOTAL = 32 << 20  # bytes of all text fields of a file together
MAX_CHUNKS = 4096  # containers with more parts than this are read no further

_MAX_IDAT = 1 << 17  # chunks of a PNG that are stepped over, those of the picture included
_TOO_MANY = b"more"  # told in place of a chunk that is over a limit

_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF_HEADER = b"Exif\0\0"
IMAGE_DESCRIPTION = 0x010E
_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769
_TIFF_IPTC = (33723, 34377)  # tags of IPTC-IIM and of Photoshop's image resource blocks


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says besides its pixels."""

    mime: str
    texts: dict[str, str] = field(default_factory=dict)  # PNG text by keyword; JPEG comments as "comment"
    exif: dict[int, str] = field(default_factory=dict)  # IFD0 and Exif tags whose values are text
    xmp: bytes = b""
    iptc: dict[str, str] = field(default_factory=dict)  # texts of IPTC-IIM, see iim.FIELDS
    resources: bytes = field(default=b"", repr=False)  # Photoshop's image resource blocks of a JPEG
    chunks: dict[str, bytes] = field(default_factory=dict)  # private PNG chunks, by type
    rgba: Callable[[], npt.NDArray[np.uint8] | None] = lambda: None  # uint8 [H, W, 4], decoded when asked for
    error: str | None = None  # what was left out

    @property
    def user_comment(self) -> str | None:
        """The EXIF UserComment as text."""
        return self.exif.get(_USER_COMMENT)


def read_source(
    data: bytes, mime: str, rgba: Callable[[], npt.NDArray[np.uint8] | None] = lambda: None
) -> Source:
    """The metadata of an encoded image. Never raises: what is broken is left out."""
    parts = _Parts()
    readers = {"image/png": _read_png, "image/jpeg": _read_jpeg, "image/webp": _read_webp}
    exif: dict[int, str] = {}
    with suppress(Exception):  # lying lengths and the like: what was read so far stands
        readers.get(mime, _read_with_pillow)(data, parts)
    with suppress(Exception):  # Pillow raises many kinds on broken TIFF structures
        exif = _exif_texts(parts.exif)
    return Source(
        mime, parts.texts, exif, parts.xmp, parts.iptc(), parts.resources, parts.chunks, rgba, parts.error
    )


class _Parts:
    """What the container readers collect, within the limits."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.chunks: dict[str, bytes] = {}
        self.exif = b""
        self.xmp = b""
        self.iim = b""  # datasets
        self.resources = b""  # Photoshop's image resource blocks, which may hold datasets
        self.error: str | None = None
        self._left = MAX_TOTAL

    def iptc(self) -> dict[str, str]:
        return parse_iim(self.iim or iim_of_resources(self.resources))

    def profile(self, data: bytes) -> None:
        """Datasets, or resource blocks, whichever they are: programs call both by one name."""
        if data.startswith(b"8BIM"):
            self.resources = self.resources or data
        else:
            self.iim = self.iim or data

    def more_resources(self, body: bytes) -> None:
        """The next segment of the resource blocks: a JPEG cuts them at 64 kB."""
        if len(self.resources) + len(body) <= MAX_FIELD:
            self.resources += body

    def left_out(self, key: str, why: str) -> None:
        """Say of the first text that can't be read that it was left out."""
        self.error = self.error or f"the text {key[:60]!r} was left out: it {why}"

    def packed_text(self, key: str, value: bytes, encoding: str | None) -> None:
        """A compressed text; `encoding` None guesses."""
        try:
            inflated = inflate(value)
        except zlib.error:
            self.left_out(key, "can't be unpacked")
        except ValueError as error:
            self.left_out(key, f"has {error}")
        else:
            self.text(key, inflated, encoding or _likely_encoding(inflated))

    def text(self, key: str, value: bytes, encoding: str) -> None:
        if len(value) > min(MAX_FIELD, self._left):
            self.left_out(key, "is too long")
            return
        self._left -= len(value)
        text = value.decode(encoding, "replace")
        if key == "XML:com.adobe.xmp":
            self.xmp = self.xmp or value
        elif key in ("Raw profile type iptc", "Raw profile type 8bim"):
            self.profile(_raw_profile(text))
        elif key in ("Raw profile type exif", "Raw profile type APP1"):
            raw = _raw_profile(text)
            if raw.startswith(_XMP_HEADER):
                self.xmp = self.xmp or raw.removeprefix(_XMP_HEADER)
            else:
                self.exif = self.exif or raw.removeprefix(_EXIF_HEADER)
        elif key == "Raw profile type xmp":
            self.xmp = self.xmp or _raw_profile(text)
        else:
            self.texts.setdefault(key, text)


def _read_png(data: bytes, parts: _Parts) -> None:
    for kind, body in _png_chunks(data):
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            # The standard says Latin-1; several generators write UTF-8 all the same.
            parts.text(key.decode("latin-1"), value, _likely_encoding(value))
        elif kind == b"zTXt":
            key, _, value = body.partition(b"\0")
            parts.packed_text(key.decode("latin-1"), value[1:], None)
        elif kind == b"iTXt":
            key, _, rest = body.partition(b"\0")
            compressed = rest[:1] == b"\x01"
            value = rest[2:].split(b"\0", 2)[-1]
            (parts.packed_text if compressed else parts.text)(key.decode("latin-1"), value, "utf-8")
        elif kind == _TOO_MANY:
            parts.error = parts.error or f"there are more than {MAX_CHUNKS:,} chunks; the rest was left out"
        elif kind == b"eXIf":
            parts.exif = parts.exif or body
        elif kind == b"comf" and len(body) <= MAX_FIELD:
            parts.chunks.setdefault("comf", body)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, others = 8, 0
    for _ in range(_MAX_IDAT):
        if position + 8 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if position + 8 + size > len(data) or kind == b"IEND":
            return
        if kind != b"IDAT":
            others += 1
            if others > MAX_CHUNKS:
                break
            yield kind, data[position + 8 : position + 8 + size]
        position += 12 + size
    yield _TOO_MANY, b""


def _read_jpeg(data: bytes, parts: _Parts) -> None:
    position = 2
    for _ in range(MAX_CHUNKS):
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in (0xD9, 0xDA):  # end of image, start of the coded picture
            return
        (size,) = struct.unpack_from(">H", data, position + 2)
        body = data[position + 4 : position + 2 + size]
        if marker == 0xE1 and body.startswith(_EXIF_HEADER):
            parts.exif = parts.exif or body[len(_EXIF_HEADER) :]
        elif marker == 0xE1 and body.startswith(_XMP_HEADER):
            parts.xmp = parts.xmp or body[len(_XMP_HEADER) :]
        elif marker == 0xED and body.startswith(PHOTOSHOP):
            parts.more_resources(body[len(PHOTOSHOP) :])
        elif marker == 0xFE:
            parts.text("comment", body, _likely_encoding(body))
        position += 2 + max(size, 2)


def _read_webp(data: bytes, parts: _Parts) -> None:
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind = data[position : position + 4]
        (size,) = struct.unpack_from("<I", data, position + 4)
        body = data[position + 8 : position + 8 + size]
        if kind == b"EXIF":
            parts.exif = parts.exif or body.removeprefix(_EXIF_HEADER)
        elif kind == b"XMP " and len(body) <= MAX_FIELD:
            parts.xmp = parts.xmp or body
        position += 8 + size + (size & 1)


def _read_with_pillow(data: bytes, parts: _Parts) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=known_formats(data))
        values = [getattr(image, "tag_v2", {}).get(tag) for tag in _TIFF_IPTC]
    info: dict[Any, Any] = image.info
    for value in values:
        if isinstance(value, tuple):  # written as 32-bit numbers in the file's byte order
            value = b"".join(int(number).to_bytes(4, _byte_order(data)) for number in value)
        if isinstance(value, bytes) and len(value) <= MAX_FIELD:
            parts.profile(value)
    if image.format == "TIFF":
        parts.exif = data  # EXIF is a TIFF file's own structure
    exif, xmp = info.get("exif"), info.get("xmp")
    if isinstance(exif, bytes):
        parts.exif = exif.removeprefix(_EXIF_HEADER)
    if isinstance(xmp, bytes) and len(xmp) <= MAX_FIELD:
        parts.xmp = xmp
    comment = info.get("comment")
    if isinstance(comment, bytes):
        parts.text("comment", comment, _likely_encoding(comment))


def _byte_order(tiff: bytes) -> Literal["big", "little"]:
    return "big" if tiff.startswith(b"MM") else "little"


def _raw_profile(text: str) -> bytes:
    """ImageMagick's text of a profile: its name, its length, its bytes as hex digits; empty when it is none."""
    lines = text.strip("\n").split("\n", 2)
    try:
        return bytes.fromhex(lines[2])[: int(lines[1])]
    except (IndexError, ValueError):
        return b""


def inflate(data: bytes, *, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Decompressed bytes, at most MAX_FIELD of them; a longer stream raises ValueError before it is held."""
    engine = zlib.decompressobj(wbits)
    inflated = engine.decompress(data, MAX_FIELD)
    if engine.unconsumed_tail:
        raise ValueError(f"more than {MAX_FIELD:,} bytes when decompressed")
    return inflated


def _exif_texts(raw: bytes) -> dict[int, str]:
    if not raw:
        return {}
    exif = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exif.load(raw)
        tags = {**dict(exif.items()), **exif.get_ifd(_EXIF_IFD)}
    texts = {}
    for tag, value in tags.items():
        if tag == _USER_COMMENT and isinstance(value, bytes):
            texts[tag] = _user_comment(value)
        elif isinstance(value, bytes) and 0x9C9B <= tag <= 0x9C9F:  # the XP tags of Windows
            texts[tag] = value.decode("utf-16-le", "replace").rstrip("\0")
        elif isinstance(value, str):
            # Pillow decodes as Latin-1 what is mostly UTF-8 in practice.
            try:
                texts[tag] = value.encode("latin-1").decode("utf-8").strip("\0 ")
            except (UnicodeEncodeError, UnicodeDecodeError):
                texts[tag] = value.strip("\0 ")
    return texts


def _user_comment(value: bytes) -> str:
    """EXIF 2.3, 4.6.5: eight bytes name the character code; UNICODE does not say which byte order."""
    code, body = value[:8], value[8:]
    if code == b"UNICODE\0" and body.isascii() and b"\0" not in body:
        return body.decode()  # not what it says, but found
    if code == b"UNICODE\0":
        even, odd = body[0::2].count(0), body[1::2].count(0)
        return body.decode("utf-16-be" if even >= odd else "utf-16-le", "replace").strip("\0")
    if code not in (b"ASCII\0\0\0", b"\0" * 8, b"JIS\0\0\0\0\0"):
        body = value
    return body.decode("utf-8", "replace").strip("\0")


def _likely_encoding(value: bytes) -> str:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
