"""Every record in a file, whatever carries it: text fields, EXIF, private chunks, or the lowest bits of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from nonesuch.formats import a1111, comfyui, fooocus, invokeai, novelai, swarmui
from nonesuch.formats.hidden_text import hidden_source
from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import Record

# Each raises ValueError and the like for broken metadata.
PARSERS: Final[Mapping[str, Callable[[Source], Record | None]]] = {
    "automatic1111": a1111.read,
    "comfyui": comfyui.read,
    "fooocus": fooocus.read,
    "invokeai": invokeai.read,
    "novelai": novelai.read,
    "swarmui": swarmui.read,
}


def told_records(source: Source) -> Iterator[Record]:
    """What each parser finds in a file's fields; one that stumbles over them finds nothing. Reads no pixels."""
    for parse in PARSERS.values():
        with suppress(Exception):  # whatever a stranger's file does to one parser must not stop the others
            if (found := parse(source)) is not None:
                yield found


def read_records(source: Source) -> Iterator[Record]:
    """As `told_records`, then what is hidden in the pixels, which `source.rgba` decodes."""
    yield from told_records(source)
    with suppress(Exception):  # lengths that lie, bombs, text in no encoding
        if (hidden := hidden_source(source)) is not None:
            yield from told_records(hidden[1])
