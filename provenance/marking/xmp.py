"""The XMP packet of a drawn image: the IPTC fields for generated media, written before signing.

IPTC Photo Metadata Standard 2025.1, section "AI-related properties"; XMP specification part 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

MAX_TEXT = 40_000  # bytes of one field as written: a JPEG's packet must fit one 64 KB segment

_NAMESPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"',
    'xmlns:dc="http://purl.org/dc/elements/1.1/"',
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/"',
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"',
)


@dataclass(frozen=True, slots=True)
class XmpFields:
    """What the packet says; a None or empty field is left out."""

    source_type: str | None  # full URI of the IPTC digital source type
    system: str  # AISystemUsed: the model
    system_version: str  # AISystemVersionUsed: its revision or weights digest
    prompt: str | None  # AIPromptInformation
    prompt_writer: str | None  # AIPromptWriterName: a person's name, only when asked for
    title: str | None
    identifier: str | None  # dc:identifier: unique for each image
    creator_tool: str  # xmp:CreatorTool
    created: str | None  # xmp:CreateDate, ISO 8601


def xmp_packet(fields: XmpFields) -> bytes:
    """The packet as UTF-8, with its wrapper; control characters that XML forbids are dropped."""
    simple = (
        ("Iptc4xmpExt:DigitalSourceType", fields.source_type),
        ("Iptc4xmpExt:AISystemUsed", fields.system),
        ("Iptc4xmpExt:AISystemVersionUsed", fields.system_version),
        ("Iptc4xmpExt:AIPromptInformation", fields.prompt),
        ("Iptc4xmpExt:AIPromptWriterName", fields.prompt_writer),
        ("dc:identifier", fields.identifier),
        ("xmp:CreatorTool", fields.creator_tool),
        ("xmp:CreateDate", fields.created),
    )
    lines = [f"   <{name}>{_text(value)}</{name}>" for name, value in simple if value]
    if fields.title:
        lines.append(
            f'   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{_text(fields.title)}'
            "</rdf:li></rdf:Alt></dc:title>"
        )
    body = "\n".join(lines)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF ' + " ".join(_NAMESPACES) + ">\n"
        f'  <rdf:Description rdf:about="">\n{body}\n  </rdf:Description>\n'
        ' </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="r"?>'
    ).encode()


def _text(value: str) -> str:
    """Escaped for XML 1.0, without the characters it can't hold (surrogates, most controls), at most MAX_TEXT bytes."""
    kept = "".join(
        c
        for c in value[:MAX_TEXT]
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )
    while len(escaped := escape(kept)) * 4 > MAX_TEXT and len(escaped.encode()) > MAX_TEXT:
        kept = kept[: len(kept) * 3 // 4]
    return escaped
