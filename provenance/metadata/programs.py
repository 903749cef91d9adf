"""Evidence from what programs that draw write into their files: a claim, since text is easily written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nonesuch.formats import a1111, comfyui, fooocus, invokeai, swarmui
from nonesuch.formats.carriers import told_records
from nonesuch.formats.hidden_text import hidden_source
from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import Record
from nonesuch.provenance.metadata.finding import Finding, excerpt, finding_of
from nonesuch.provenance.metadata.novelai_signature import PUBLIC_KEY, checked


class Program:
    """Reads one program's fields with its parser; `what` names them in a sentence, as "ComfyUI graph"."""

    def __init__(self, kind: str, parse: Callable[[Source], Record | None], what: str) -> None:
        self._kind, self._parse, self._what = kind, parse, what

    def read(self, source: Source) -> Finding | None:
        found = self._parse(source)
        if found is None:
            return None
        if not found.generates:
            detail = f"a {self._what} in which no generative model runs"
            return Finding(self._kind, "nothing", "none", detail, found.generator)
        return finding_of(found, self._what, kind=self._kind)


Automatic1111 = partial(Program, "automatic1111", a1111.read, "AUTOMATIC1111 parameters")
ComfyUI = partial(Program, "comfyui", comfyui.read, "ComfyUI graph")
Fooocus = partial(Program, "fooocus", fooocus.read, "Fooocus parameters")
InvokeAI = partial(Program, "invokeai", invokeai.read, "InvokeAI metadata")
SwarmUI = partial(Program, "swarmui", swarmui.read, "SwarmUI parameters")


class StealthPnginfo:
    """Reads the text hidden in the lowest bits of the pixels, whichever program's it is; NovelAI's may be signed."""

    def __init__(self, novelai_key: str = PUBLIC_KEY) -> None:
        self._novelai_key = novelai_key

    def read(self, source: Source) -> Finding | None:
        kind = "stealth-pnginfo"
        hidden = hidden_source(source)
        if hidden is None:
            return None
        text, fields = hidden
        found = next(told_records(fields), None)
        if found is None:
            return Finding(kind, "ai-generated", "claimed", f"hidden parameters: “{excerpt(text)}”")
        if found.program == "novelai":
            return checked(found, fields, self._novelai_key, kind=kind)
        return finding_of(found, "hidden parameters", kind=kind)
