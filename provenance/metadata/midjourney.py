"""Midjourney: `Description` in PNG text, EXIF, XMP or IPTC, the prompt with its flags and `Job ID: uuid`."""

from __future__ import annotations

import re

from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import record
from nonesuch.provenance import vocabulary
from nonesuch.provenance.metadata.finding import Finding, finding_of
from nonesuch.provenance.metadata.xmp import xmp_values

_JOB = re.compile(r"\bJob ID:\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
_FLAG = re.compile(r"\s--(\w+)(?:\s+((?!--)[^\s]+))?")
_IMAGE_DESCRIPTION = 0x010E
_AUTHORED = {"Author", "Description"}  # the fields of its PNG files


class Midjourney:
    """Reads the prompt, its flags and the job id."""

    def read(self, source: Source) -> Finding | None:
        values = xmp_values(source.xmp)
        candidates = (
            source.texts.get("Description"),
            source.exif.get(_IMAGE_DESCRIPTION),
            values.get("description"),
            source.iptc.get("caption"),
        )
        for text in candidates:
            job = _JOB.search(text) if text else None
            if text and job and (_FLAG.search(text) or _named(source, values)):
                prompt = text[: job.start()].strip()
                flags = dict(_FLAG.findall(f" {prompt}"))
                words = _FLAG.sub("", f" {prompt}").strip()
                version = flags.get("v") or flags.get("version")
                found = record(
                    "midjourney",
                    f"Midjourney {version}" if version else "Midjourney",
                    prompt=words,
                    seed=flags.get("seed"),
                    other={"job_id": job[1], **flags},
                )
                return finding_of(found, f"Midjourney job {job[1]}", kind="midjourney")
        return None


def _named(source: Source, values: dict[str, str]) -> bool:
    """Whether something besides a job's id, which printers and scanners have too, speaks of Midjourney or a model."""
    generated = vocabulary.origin_of(values.get("DigitalSourceType", "")) == "generated"
    said = (*source.texts.values(), *source.exif.values(), *values.values(), *source.iptc.values())
    return generated or source.texts.keys() >= _AUTHORED or any("midjourney" in one.lower() for one in said)
