"""IPTC-IIM: the older metadata of news pictures, in Photoshop's resources of a JPEG, PNG or TIFF file.

IPTC-NAA Information Interchange Model 4.2, chapter 1 (datasets) and 6 (record 2); Adobe Photoshop File Formats,
"Image Resource Blocks". The bytes come from strangers: every length is checked, numbers of parts are limited.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_DATASETS = 1024
MAX_RESOURCES = 1024
MAX_VALUE = 64 << 10  # bytes of one dataset that are kept
PHOTOSHOP = b"Photoshop 3.0\0"  # how the APP13 segment of a JPEG begins

_IPTC_RESOURCE = 0x0404
_UTF8 = b"\x1b%G"  # dataset 1:90, ISO 2022's escape to UTF-8
# Record 2, by the names that this project uses.
FIELDS = {
    5: "title",
    25: "keywords",
    40: "instructions",
    65: "program",
    70: "program_version",
    80: "byline",
    110: "credit",
    115: "source",
    116: "copyright",
    120: "caption",
}


def parse_iim(data: bytes) -> dict[str, str]:
    """The texts of FIELDS in a run of IIM datasets; repeated ones are joined by commas. Nothing is raised."""
    found: dict[str, list[bytes]] = {}
    utf8 = False
    for record, number, value in _datasets(data):
        if (record, number) == (1, 90):
            utf8 = value.startswith(_UTF8)
        elif record == 2 and number in FIELDS and len(value) <= MAX_VALUE:
            found.setdefault(FIELDS[number], []).append(value)
    texts = {name: ", ".join(_text(value, utf8) for value in values) for name, values in found.items()}
    return {name: text for name, text in texts.items() if text}


def iim_of_resources(data: bytes) -> bytes:
    """The IIM datasets within Photoshop's image resource blocks; empty when there are none."""
    position = 0
    for _ in range(MAX_RESOURCES):
        if data[position : position + 4] != b"8BIM" or position + 7 > len(data):
            return b""
        number = int.from_bytes(data[position + 4 : position + 6])
        name = data[position + 6] + 1  # a Pascal string, padded to an even length
        start = position + 6 + name + (name & 1)
        size = int.from_bytes(data[start : start + 4])
        if start + 4 + size > len(data):
            return b""
        if number == _IPTC_RESOURCE:
            return data[start + 4 : start + 4 + size]
        position = start + 4 + size + (size & 1)
    return b""


def _datasets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    for _ in range(MAX_DATASETS):
        if position + 5 > len(data) or data[position] != 0x1C:
            return
        size, start = int.from_bytes(data[position + 3 : position + 5]), position + 5
        if size & 0x8000:  # extended: so many bytes hold the length
            width = size & 0x7FFF
            if width > 4:
                return
            size, start = int.from_bytes(data[start : start + width]), start + width
        if start + size > len(data):
            return
        yield data[position + 1], data[position + 2], data[start : start + size]
        position = start + size


def _text(value: bytes, utf8: bool) -> str:
    if not utf8:
        # Without the escape the standard means ASCII; most programs write UTF-8 or Latin-1 all the same.
        try:
            return value.decode("utf-8").strip("\0 ")
        except UnicodeDecodeError:
            return value.decode("latin-1").strip("\0 ")
    return value.decode("utf-8", "replace").strip("\0 ")
