"""What another program's image says about how it was made, as the recipe columns of a catalog row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonesuch.formats import a1111
from nonesuch.formats.raw_fields import Source, read_source
from nonesuch.formats.record import recipe as foreign_recipe
from nonesuch.importing.imported_marks import SearchFor, read_marks
from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials.reading import CredentialReport, read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.metadata import Finding, read_metadata
from nonesuch.provenance.pixels import Pixels

MAX_TEXT = 16 << 10  # characters of one text field, or one value, that is kept in `options`
MAX_OPTIONS = 64 << 10  # characters of `options`; what does not fit stays in the file only
_COLUMNS = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "scheduler", "model")
_WHOLE = {"seed": 63, "steps": 31}  # bits of the integer columns
# findings that are about the file and name no program
_NAMELESS = ("stealth-pnginfo", "xmp", "exif")
# PNG text that a reader turns into columns; the rest is kept as it is
_CARRIERS = frozenset(
    [
        "parameters", "prompt", "workflow", "Comment", "Description", "Software", "Source", "fooocus_scheme",
        "invokeai_metadata", "invokeai_workflow", "invokeai_graph", "sd-metadata", "Dream", "comment",
    ]
)  # fmt: skip
_MAKERS = (
    ("openai", ("openai", "dall-e", "dall·e", "chatgpt", "gpt-4o", "gpt image")),
    ("google", ("google", "imagen", "gemini")),
    ("adobe", ("adobe", "firefly")),
    ("midjourney", ("midjourney",)),
    ("novelai", ("novelai",)),
    ("stability", ("stability", "dreamstudio")),
    ("ideogram", ("ideogram",)),
    ("comfyui", ("comfyui",)),
    ("automatic1111", ("automatic1111", "stable diffusion webui")),
    ("nonesuch", ("nonesuch",)),
)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# How the sites name their downloads: user_the_prompt_so_far_UUID, "DALL·E 2024-01-05 10.20.30 - the prompt"
_MIDJOURNEY_NAME = re.compile(rf"[^_]+_(?P<prompt>.+?)_(?P<job>{_UUID})(?:_\d)?", re.IGNORECASE)
_DALLE_NAME = re.compile(r"DALL.?E \d{4}-\d\d-\d\d \d\d[.:]\d\d[.:]\d\d - (?P<prompt>.+)")


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file says about how it was made."""

    kind: str  # automatic1111, comfyui, …, credential, text file, file name, or "" when there is nothing
    columns: Mapping[str, Any]  # recipe and mark columns of its row
    manifest: bytes | None  # its C2PA manifest store, when it has one that can be read
    watermark: str | None  # in its pixels: 16 hex digits, or the name of another program's watermark


def read_foreign(
    data: bytes,
    path: Path,
    pixels: Pixels,
    trust: TrustSet,
    *,
    search: SearchFor = "full",
    watermark_key: bytes | None = None,
) -> Foreign:
    """Read the credential, the metadata, the watermarks and the file's name; the strongest fills the columns.

    `pixels` are the file's. A text file of the same stem holds parameters or a caption, a .c2pa file of the same stem
    the manifest of a file that has none in it. `search` and `watermark_key` are for the watermarks. Never raises because of
    a file's content. Numbers that a column can't hold, and every field that has no column, are kept in `options`.
    """
    mime = sniff_mime(data)
    report = read_credentials(data, mime, trust)
    if report.integrity == "unsigned" and (beside := _beside(path, ".c2pa")) is not None:
        report = read_credentials(data, mime, trust, manifest=beside)
    source = read_source(data, mime, pixels.rgba)
    findings = list(read_metadata(source))
    own = _own_recipe(report)
    best = _best(findings)
    if own is not None:
        kind, recipe, generator = "credential", own, report.active.generator if report.active else None
    elif best is not None and best.recipe:
        kind, recipe, generator = best.kind, dict(best.recipe), best.generator
    else:
        kind, recipe = _from_beside(path)
        generator = best.generator if best is not None else None
    if report.active is not None and generator is None:
        generator = report.active.generator
    if not kind:
        kind = best.kind if best is not None else "credential" if report.active is not None else ""
    marks = read_marks(pixels, report, findings, search, watermark_key)
    unread = _unread(findings, source) | marks.options
    columns = _recipe_columns(recipe, kind, generator, unread)
    columns |= _mark_columns(report, findings) | {"watermark_id": marks.watermark_id}
    generated = any(finding.says == "ai-generated" for finding in findings) or (
        vocabulary.origin_of(vocabulary.IPTC_BASE + columns.get("source_type", "")) == "generated"
    )
    if generated and generator:  # an editor's name is not a model's
        columns.setdefault("model", _sound(generator))
    return Foreign(kind, columns, report.store, marks.shown)


def _best(findings: Sequence[Finding]) -> Finding | None:
    """The finding that fills most columns; a proven one before claims."""
    said = [finding for finding in findings if finding.says != "nothing" or finding.recipe]

    def rank(finding: Finding) -> tuple[bool, int, bool]:
        known = sum(name in (finding.recipe or {}) for name in _COLUMNS)
        return finding.confidence == "proven", known, finding.kind not in _NAMELESS

    return max(said, key=rank, default=None)


def _own_recipe(report: CredentialReport) -> dict[str, Any] | None:
    """The recipe that a sound credential of a nonesuch image holds, checked like any untrusted one."""
    if report.integrity != "intact" or report.active is None or report.active.recipe is None:
        return None
    told = report.active.recipe.get("recipe")
    if not isinstance(told, Mapping):
        return None
    values: dict[str, Any] = {name: told.get(name) for name in (*_COLUMNS, "width", "height")}
    pairs = {name: told[name] for name in ("options", "facets", "parent") if told.get(name)}
    found = foreign_recipe(**values, other=pairs)
    words = {name: told.get(name) for name in ("backend", "model_digest", "dtype")}
    return found | {name: value for name, value in words.items() if isinstance(value, str)}


def _from_beside(path: Path) -> tuple[str, dict[str, Any]]:
    """The recipe in the text file beside an image, else in its own name."""
    text = (_beside(path, ".txt") or b"").decode("utf-8", "replace").strip()
    if text:
        parameters = a1111.parse(text)
        return "text file", parameters.recipe() if parameters is not None else {"prompt": text}
    found = _DALLE_NAME.fullmatch(path.stem)
    if found:
        return "file name", {"prompt": found["prompt"].strip(), "maker": "openai"}
    found = _MIDJOURNEY_NAME.fullmatch(path.stem)
    if found:
        prompt = found["prompt"].replace("_", " ").strip()
        return "file name", {"prompt": prompt, "maker": "midjourney", "other": {"job_id": found["job"]}}
    return "", {}


def _recipe_columns(
    recipe: Mapping[str, Any], kind: str, generator: str | None, unread: Mapping[str, Any]
) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    options: dict[str, Any] = {"read_from": kind} if kind else {}
    for name in _COLUMNS:
        value = recipe.get(name)
        if value is None:
            continue
        if name in _WHOLE and not (isinstance(value, int) and abs(value) < 1 << _WHOLE[name]):
            options[name] = value
        elif name == "guidance_scale":
            columns[name] = float(value)
        else:
            columns[name] = value
    prompt = str(columns.setdefault("prompt", ""))
    backend = str(recipe.get("backend") or "") or recipe.get("maker") or _backend(kind, generator)
    if generator:
        options["generator"] = generator
    for name in (
        "model_hash",
        "width",
        "height",
        "schedule",
        "passes",
    ):  # of the recipe; the columns hold what the file is
        if recipe.get(name) is not None:
            options[name] = recipe[name]
    columns |= {name: recipe[name] for name in ("model_digest", "dtype") if name in recipe}
    options |= dict(recipe.get("other") or {}) | dict(unread)
    loras = [[one["name"], "", one["weight"]] for one in recipe.get("loras") or ()]
    loras = loras or [[one.name, "", one.weight] for one in a1111.loras_of_prompt(prompt)[1]]
    columns |= {"backend": backend, "loras": json.dumps(loras), "options": _json(options)}
    return {name: _sound(value) for name, value in columns.items()}


def _backend(kind: str, generator: str | None) -> str:
    """One word for the program: the reader's name, else the maker in the generator's name."""
    word = (generator or "").lower()
    for maker, names in _MAKERS:
        if any(name in word for name in names):
            return maker
    return "other" if kind in ("", "credential", "text file", "file name", *_NAMELESS) else kind


def _mark_columns(report: CredentialReport, findings: Sequence[Finding]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    uris: list[str] = []
    if report.integrity == "intact" and report.active is not None:
        uris += report.active.source_types
    if report.active is not None:
        columns["manifest_id"] = _sound(report.active.label)
    uris += [uri for finding in findings for uri in finding.source_types]
    known = [uri.rsplit("/", 1)[-1] for uri in uris if vocabulary.origin_of(uri) is not None]
    if known:
        columns["source_type"] = known[0]
    return columns


def _unread(findings: Sequence[Finding], source: Source) -> dict[str, Any]:
    """Text fields of the file that no reader has a name for."""
    read = _CARRIERS if any(finding.recipe for finding in findings) else frozenset[str]()
    texts = {
        key: text for key, text in source.texts.items() if key not in read and len(text) <= MAX_TEXT and text
    }
    return {"texts": texts} if texts else {}


def _json(options: Mapping[str, Any]) -> str:
    """The options as a JSON object of at most MAX_OPTIONS characters: the longest values go first.

    A value that JSON can't hold (an infinity, too deep a nesting) becomes Python's text for it.
    """
    kept = {name: json.loads(_dumped(value)) for name, value in options.items()}
    text = _dumped(kept)
    while len(text) > MAX_OPTIONS:
        del kept[max(kept, key=lambda name: len(_dumped(kept[name])))]
        text = _dumped(kept)
    return text


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, default=str)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(str(value)[:MAX_TEXT])


def _beside(path: Path, suffix: str) -> bytes | None:
    """The bytes of the file beside `path` with another suffix, when there is a small one."""
    file = path.with_suffix(suffix)
    try:
        return file.read_bytes() if file.is_file() and file.stat().st_size <= 1 << 24 else None
    except OSError:
        return None


def _sound(value: Any) -> Any:
    """Text without the lone surrogates that JSON may smuggle in and UTF-8 has no form for."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
