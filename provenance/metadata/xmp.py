"""XMP: IPTC DigitalSourceType and the IPTC 2025.1 fields for generated media."""

from __future__ import annotations

import re
from contextlib import suppress
from xml.etree import ElementTree

from nonesuch.formats.raw_fields import Source
from nonesuch.provenance import vocabulary
from nonesuch.provenance.evidence import Says
from nonesuch.provenance.metadata.finding import Finding, excerpt

MAX_XMP = 4 << 20  # bytes that are parsed
_MAX_VALUES = 2_000
# The last resort for packets that are not well-formed XML, the value between tags or quotes.
_LOOSE = re.compile(
    rb"""DigitalSourceType(?:\s{0,8}=\s{0,8}["']|\s{1,8}rdf:resource\s{0,8}=\s{0,8}["']|>\s{0,40})(https?://[\w./-]{1,120})"""
)
_TYPE = "digitalsourcetype"
_PARTS = frozenset({"Ingredients", "Pantry", "DerivedFrom", "History"})  # speak of other pictures
_RANK: tuple[Says, ...] = ("nothing", "captured", "ai-edited", "ai-generated")
_NO_SYSTEM = frozenset({"", "none", "no", "n/a", "-"})
_SAYS: dict[str, Says] = {
    "generated": "ai-generated",
    "partly-generated": "ai-edited",
    "captured": "captured",
}


class Xmp:
    """Reads what the packet says of the image's origin."""

    def read(self, source: Source) -> Finding | None:
        values = xmp_values(source.xmp)
        uri, says = _origin(source.xmp)
        system, prompt = values.get("AISystemUsed", ""), values.get("AIPromptInformation")
        if system.strip().lower() in _NO_SYSTEM:
            system = ""
        if system and says == "captured":
            says = "ai-edited"  # a camera's picture that a model had a part in
        elif says == "nothing" and not uri and (system or prompt):
            says = "ai-generated"
        if says == "nothing":
            return None
        version = values.get("AISystemVersionUsed") if system else None
        detail = f"XMP says {uri.rsplit('/', 1)[-1] or 'AI system'}"
        if system:
            detail += f" by {excerpt(system, 60)}"
        return Finding(
            "xmp",
            says,
            "claimed",
            detail,
            " ".join(part for part in (system, version) if part) or None,
            {"prompt": prompt} if prompt else None,
            (uri,) if uri else (),
        )


def _origin(packet: bytes) -> tuple[str, Says]:
    """The source type that says most, and what it says; of an ingredient's, that parts of the image are so."""
    best: tuple[str, Says] = ("", "nothing")
    for uri, whole in source_types(packet):
        origin = vocabulary.origin_of(uri)
        if origin is None:
            continue
        says = _SAYS.get(origin, "nothing")
        if not whole:
            says = "ai-edited" if says in ("ai-generated", "ai-edited") else "nothing"
        if not best[0] or _RANK.index(says) > _RANK.index(best[1]):
            best = (uri, says)
    return best


def source_types(packet: bytes) -> list[tuple[str, bool]]:
    """Every DigitalSourceType of a packet in its order, and whether it is the image's own, not an ingredient's.

    RDF has many ways to write one value: text, attribute, rdf:resource, rdf:value, an item of a bag.
    """
    root, body = _parsed(packet)
    if root is None:
        loose = _LOOSE.search(body)
        return [(loose[1].decode("ascii", "replace"), True)] if loose else []
    found: list[tuple[str, bool]] = []
    queue = [(root, True, False)]
    while queue and len(found) < _MAX_VALUES:
        element, whole, named = queue.pop()
        local = element.tag.rsplit("}", 1)[-1]
        whole = whole and local not in _PARTS
        named = named or local.lower() == _TYPE
        for attribute, value in element.attrib.items():
            name = attribute.rsplit("}", 1)[-1]
            if name.lower() == _TYPE or (named and name in ("resource", "value")):
                found.append((value.strip(), whole))
        if named and (text := (element.text or "").strip()):
            found.append((text, whole))
        queue += [(child, whole, named) for child in reversed(element)]
    return found


def xmp_values(packet: bytes) -> dict[str, str]:
    """The simple values of a packet by their local names, the first of each name; {} for no or broken XML.

    Packets with a document type are not parsed: XMP has none, and entities are how XML attacks its reader.
    """
    root, body = _parsed(packet)
    if root is not None:
        return _values(root)
    loose = _LOOSE.search(body)
    return {"DigitalSourceType": loose[1].decode("ascii", "replace")} if loose else {}


def _parsed(packet: bytes) -> tuple[ElementTree.Element | None, bytes]:
    # and the packet without what stands around its XML
    if not packet or len(packet) > MAX_XMP:
        return None, b""
    start, end = packet.find(b"<"), packet.rfind(b">")
    body = packet[start : end + 1]
    if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
        with suppress(ElementTree.ParseError, ValueError, RecursionError):
            return ElementTree.fromstring(body), body
    return None, body


def _values(root: ElementTree.Element) -> dict[str, str]:
    values: dict[str, str] = {}
    parents: list[str] = []
    for element in root.iter():
        name = element.tag.rsplit("}", 1)[-1]
        if name not in ("li", "Alt", "Seq", "Bag"):
            parents.append(name)
        for attribute, value in element.attrib.items():
            local = attribute.rsplit("}", 1)[-1]
            if local == "resource":
                local = name
            values.setdefault(local, value.strip())
        text = (element.text or "").strip()
        if text:
            values.setdefault(parents[-1] if parents else name, text)
        if len(values) > _MAX_VALUES:
            break
    return values
