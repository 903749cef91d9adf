"""XMP: IPTC DigitalSourceType and the IPTC 2025.1 fields for generated media."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from provenance import vocabulary
from provenance.evidence import Says
from provenance.metadata.finding import Finding, excerpt, recipe
from provenance.metadata.source import Source

MAX_XMP = 4 << 20  # bytes that are parsed
_MAX_VALUES = 2_000
# The last resort for packets that are not well-formed XML, the value between tags or quotes.
_LOOSE = re.compile(rb"DigitalSourceType[^a-z]{1,40}?(https?://[\w./-]{1,120})")
_SAYS: dict[str, Says] = {
    "generated": "ai-generated",
    "partly-generated": "ai-edited",
    "captured": "captured",
}


class Xmp:
    """Reads what the packet says of the image's origin."""

    def read(self, source: Source) -> Finding | None:
        values = xmp_values(source.xmp)
        uri = values.get("DigitalSourceType") or values.get("digitalsourcetype") or ""
        origin = vocabulary.origin_of(uri) if uri else None
        system = values.get("AISystemUsed")
        says = _SAYS.get(origin or "", "nothing")
        if origin is None and system:
            says = "ai-generated"
        if says == "nothing":
            return None
        prompt = values.get("AIPromptInformation")
        version = values.get("AISystemVersionUsed")
        detail = f"XMP says {uri.rsplit('/', 1)[-1] or 'AI system'}"
        if system:
            detail += f" by {excerpt(system, 60)}"
        return Finding(
            "xmp",
            says,
            "claimed",
            detail,
            " ".join(part for part in (system, version) if part) or None,
            recipe(prompt=prompt) or None,
            (uri,) if origin else (),
        )


def xmp_values(packet: bytes) -> dict[str, str]:
    """The simple values of a packet by their local names, the first of each name; {} for no or broken XML.

    Packets with a document type are not parsed: XMP has none, and entities are how XML attacks its reader.
    """
    if not packet or len(packet) > MAX_XMP:
        return {}
    start, end = packet.find(b"<"), packet.rfind(b">")
    body = packet[start : end + 1]
    if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
        try:
            return _values(ElementTree.fromstring(body))
        except (ElementTree.ParseError, ValueError, RecursionError):
            pass
    loose = _LOOSE.search(body)
    return {"DigitalSourceType": loose[1].decode("ascii", "replace")} if loose else {}


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
