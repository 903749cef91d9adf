"""The catalog's columns: the one place that defines their names, types and meaning.

Fixed columns are the same in every catalog. Facets (the axes of a sweep) and scores (what the
scorers declare) add columns of their own; each column's description and role travel in the Parquet
field's metadata.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from nonesuch.foundation.errors import InputError

Role = Literal["identity", "recipe", "facet", "outcome", "score", "embedding", "hash", "mark", "file", "run"]

SCHEMA_VERSION = "1"  # raised when a fixed column changes its name, type or meaning
STATUSES = ("ok", "flagged", "failed", "removed")

TEXT = pa.string()
WORD = pa.dictionary(pa.int32(), pa.string())  # text with few distinct values
SCORE_TYPES: Mapping[str, pa.DataType] = {"float32": pa.float32(), "int32": pa.int32(), "bool": pa.bool_()}
FACET_TYPES: Mapping[str, pa.DataType] = {"string": WORD, "int64": pa.int64(), "float64": pa.float64()}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .\-]{0,62}")


@dataclass(frozen=True, slots=True)
class Column:
    """One fixed column."""

    name: str
    type: pa.DataType
    role: Role
    description: str
    required: bool = False  # never null

    def field(self) -> pa.Field:
        """The Arrow field, its description and role as metadata."""
        return _field(self.name, self.type, self.role, self.description, required=self.required)


# A missing hash or watermark is 0, not null: pandas turns a uint64 column with nulls into float64,
# which keeps only 53 of the 64 bits.
FIXED: tuple[Column, ...] = (
    Column("recipe_id", TEXT, "identity", "64 hex digits over all that changes the pixels; the key", True),
    Column("sweep", WORD, "identity", "name of the sweep that drew the image", True),
    Column("shard", pa.int32(), "identity", "number of the shard within that run of the sweep"),
    Column("plan_index", pa.int64(), "identity", "place of the recipe in the sweep's expansion, from 0"),
    Column("backend", WORD, "recipe", "what drew it: diffusers, noise, comfyui, …"),
    Column("model", WORD, "recipe", "model as the sweep names it: embedded, a hub id or a folder"),
    Column("model_revision", WORD, "recipe", "pinned revision of the model, where it has one"),
    Column("model_digest", WORD, "recipe", "SHA-256 over the weights, hex"),
    Column("prompt", TEXT, "recipe", "the prompt with every facet filled in"),
    Column("negative_prompt", TEXT, "recipe", "the negative prompt with every facet filled in"),
    Column("seed", pa.int64(), "recipe", "seed of the image's own generator"),
    Column("width", pa.int32(), "recipe", "pixels of the file; without one, as asked"),
    Column("height", pa.int32(), "recipe", "pixels of the file; without one, as asked"),
    Column("steps", pa.int32(), "recipe", "denoising steps asked for"),
    Column("guidance_scale", pa.float64(), "recipe", "classifier-free guidance scale"),
    Column("scheduler", WORD, "recipe", "scheduler by its short name, for example dpmpp_2m"),
    Column("dtype", WORD, "recipe", "number type of the weights while drawing"),
    Column("loras", WORD, "recipe", "JSON list of the LoRAs: path or id, digest, scale"),
    Column(
        "options",
        WORD,
        "recipe",
        "JSON object of every other option that changes pixels; also width and height as asked where the file has others",
    ),
    Column("init_digest", TEXT, "recipe", "SHA-256 of the image it started from, hex"),
    Column("strength", pa.float64(), "recipe", "how far to leave that image, 0 to 1"),
    Column("mask_digest", TEXT, "recipe", "SHA-256 of the inpainting mask, hex"),
    Column("parent", TEXT, "recipe", "recipe id of the catalogued image it started from"),
    Column(
        "reproducible",
        pa.bool_(),
        "recipe",
        "false: what drew it takes no seed; null: the seed brings it back",
    ),
    Column(
        "ways",
        TEXT,
        "recipe",
        "JSON object: extend, between, controls, image_prompt, refiner, hires, upscale, as far as used; null: none",
    ),
    Column(
        "status",
        WORD,
        "outcome",
        "ok, flagged (drawn, but blank or marked unsafe), failed (no image) or removed (drawn, its file deleted since)",
        True,
    ),
    Column("reason", TEXT, "outcome", "why it was flagged, failed or removed"),
    Column("encoder", WORD, "score", "image encoder of the embedding: model, tag and preprocessing"),
    Column("score_facts", WORD, "score", "JSON object: for each score its model, tag and head version"),
    Column(
        "phash", pa.uint64(), "hash", "DCT hash, imagehash.phash, 64 bits, first bit highest; 0: none", True
    ),
    Column("dhash", pa.uint64(), "hash", "gradient hash, imagehash.dhash, 64 bits; 0: none", True),
    Column("whash", pa.uint64(), "hash", "Haar wavelet hash, imagehash.whash, 64 bits; 0: none", True),
    Column(
        "colorhash", pa.uint64(), "hash", "colour histogram hash, imagehash.colorhash, 42 bits; 0: none", True
    ),
    Column(
        "watermark_id", pa.uint64(), "mark", "the 64 bits that the invisible watermark carries; 0: none", True
    ),
    Column("watermark_psnr", pa.float32(), "mark", "PSNR in dB of the marked image against the drawn one"),
    Column(
        "source_type", WORD, "mark", "IPTC digital source type that the file says of itself; null: none said"
    ),
    Column(
        "timestamp",
        WORD,
        "mark",
        "authority (its credential has a timestamp) or queued (it waits for one); null: none",
    ),
    Column("manifest_id", TEXT, "mark", "label of the active C2PA manifest"),
    Column("credential_digest", TEXT, "mark", "SHA-256 of the manifest store's bytes, hex"),
    Column("file", TEXT, "file", "path of the image, relative to the output folder"),
    Column("format", WORD, "file", "png, jpeg or webp"),
    Column("bytes", pa.int64(), "file", "size of the file"),
    Column("sha256", TEXT, "file", "SHA-256 of the file, hex"),
    Column("draw_seconds", pa.float32(), "run", "time to draw, its share of the batch; null: fetched"),
    Column("score_seconds", pa.float32(), "run", "time to embed and score, its share of the batch"),
    Column("mark_seconds", pa.float32(), "run", "time to watermark, encode and sign"),
    Column("drawn_at", pa.timestamp("us", tz="UTC"), "run", "when the drawing ended"),
    Column("device", WORD, "run", "what it was drawn on: cpu, cuda with the card's name, mps"),
    Column("batch_size", pa.int32(), "run", "images drawn together"),
    Column(
        "fetched",
        pa.bool_(),
        "run",
        "true: a server, or a stopped run, had the image already, and it was not drawn; null: drawn",
    ),
    Column(
        "cost", pa.float64(), "run", "US dollars that a service takes for it, by list price or its own count"
    ),
    Column(
        "told", TEXT, "run", "JSON object of what an engine or service said of it: its seed, version, prompt"
    ),
    Column("policy", WORD, "run", "SHA-256 of each policy that the sweep satisfied, hex; empty: none held"),
    Column("versions", WORD, "run", "JSON object of library versions: torch, diffusers, nonesuch, …"),
)
EMBEDDING = "embedding"
# names that no facet or score may take: fixed columns, the embedding, and what queries add
RESERVED: frozenset[str] = frozenset(
    {c.name for c in FIXED}
    | {EMBEDDING, "images", "failed", "catalog", "filename", "file_row_number", "likeness"}
    | {"pick", "stars", "tags", "note", "taste"}
)


def facet_field(name: str, kind: str, values: Iterable[str] = ()) -> pa.Field:
    """The column of one facet; `kind` is "string", "int64" or "float64".

    `values`, when given, become part of the description. Raises InputError for a name that is reserved
    or that SQL and Parquet readers would trip over.
    """
    check_name("facet", name)
    if kind not in FACET_TYPES:
        raise InputError(f"facet {name!r} has type {kind!r}", hint=f"Use one of {', '.join(FACET_TYPES)}.")
    listed = ", ".join(values)
    text = f"facet {name}" + (f": {listed}" if 0 < len(listed) <= 200 else "")
    return _field(name, FACET_TYPES[kind], "facet", text)


def score_field(name: str, kind: str) -> pa.Field:
    """The column of one score; `kind` is "float32", "int32" or "bool". Raises InputError as facet_field does."""
    check_name("score", name)
    if kind not in SCORE_TYPES:
        raise InputError(f"score {name!r} has type {kind!r}", hint=f"Use one of {', '.join(SCORE_TYPES)}.")
    return _field(name, SCORE_TYPES[kind], "score", f"score {name}; score_facts says how it was made")


def check_name(kind: str, name: str) -> None:
    """Raise InputError when `name` can't be a facet or score column."""
    if name.lower() in RESERVED:
        raise InputError(
            f"a {kind} can't be called {name!r}: the catalog has a column of its own by that name",
            hint=f"Choose another name, for example {name + '_value'!r}.",
        )
    if not _NAME.fullmatch(name) or name != name.strip():
        raise InputError(
            f"a {kind} can't be called {name!r}",
            hint="Use letters, digits, spaces, dots, '-' and '_', starting with a letter, at most 63 characters.",
        )


def catalog_schema(
    facets: Mapping[str, str], scores: Mapping[str, str], embedding_dim: int | None
) -> pa.Schema:
    """The schema of a sweep's rows: fixed columns with the facets after the recipe, then scores and embedding.

    facets         column name → "string", "int64" or "float64"
    scores         column name → "float32", "int32" or "bool"
    embedding_dim  length of the stored float16 embedding; None when nothing embeds

    Raises InputError for reserved, malformed or repeated names (compared without regard to case, as
    SQL does).
    """
    taken: dict[str, str] = {}
    for kind, names in (("facet", facets), ("score", scores)):
        for name in names:
            if (other := taken.get(name.lower())) is not None:
                raise InputError(f"{kind} {name!r} has the same name as {other}", hint="Rename one of them.")
            taken[name.lower()] = f"{kind} {name!r}"
    fields: list[pa.Field] = []
    for column in FIXED:
        if column.name == "status":
            fields += [facet_field(name, kind) for name, kind in facets.items()]
        if column.name == "phash":
            fields += [score_field(name, kind) for name, kind in scores.items()]
            if embedding_dim is not None:
                fields.append(embedding_field(embedding_dim))
        fields.append(column.field())
    return pa.schema(fields, metadata={"nonesuch.schema": SCHEMA_VERSION})


def embedding_field(dim: int) -> pa.Field:
    """The column of the image embeddings: unit vectors of `dim` float16 numbers."""
    text = f"unit-length image embedding, {dim} float16 numbers, by the encoder in `encoder`"
    return _field(EMBEDDING, pa.list_(pa.float16(), dim), "embedding", text)


def merge_schemas(old: pa.Schema, new: pa.Schema, *, where: str) -> pa.Schema:
    """The union of two sweeps' schemas, in the order of `old`, numbers widened where they differ.

    A facet that `old` has as text stays text, also when its new values are numbers. Raises InputError when any
    other column is text in one and a number in the other, or when the embeddings differ in length: such sweeps
    can't share a catalog.
    """
    fields = {field.name.lower(): field for field in old}
    for field in new:
        known = fields.get(field.name.lower())
        fields[field.name.lower()] = field if known is None else _merge_fields(known, field, where)
    order = {name: place for place, name in enumerate(_ordered(fields.values()))}
    merged = sorted(fields.values(), key=lambda field: order[field.name])
    return pa.schema(merged, metadata={"nonesuch.schema": SCHEMA_VERSION})


def fitted(schema: pa.Schema, known: pa.Schema | None) -> pa.Schema:
    """A sweep's schema as a catalog takes its rows: number facets as text where the catalog `known` has text."""
    for place, field in enumerate(schema):
        if known is not None and field.name in known.names and _stays_text(known.field(field.name), field):
            schema = schema.set(place, known.field(field.name))
    return schema


def role_of(field: pa.Field) -> str:
    """The role of a column, from its metadata; "unknown" for files that other programs wrote."""
    return str((field.metadata or {}).get(b"role", b"unknown"), "utf-8")


def names_with_role(schema: pa.Schema, role: Role) -> list[str]:
    """Columns of that role, in order."""
    return [field.name for field in schema if role_of(field) == role]


def score_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold a score: numbers and flags, without the facts about them."""
    return [
        field.name for field in schema if role_of(field) == "score" and not pa.types.is_dictionary(field.type)
    ]


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None when nothing is close."""
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def column_table() -> str:
    """The fixed columns as a Markdown table; docs/catalog.md holds it and a test compares the two."""
    lines = ["| column | type | role | meaning |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {type_name(c.type)} | {c.role} | {c.description} |" for c in FIXED]
    return "\n".join(lines)


def type_name(kind: pa.DataType) -> str:
    """A column type in a few plain words."""
    if pa.types.is_dictionary(kind):
        return "string, dictionary"
    if pa.types.is_timestamp(kind):
        return "timestamp, µs UTC"
    return str(kind)


def _field(name: str, kind: pa.DataType, role: Role, text: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"description": text, "role": role})


def _ordered(fields: Iterable[pa.Field]) -> list[str]:
    # Keeps the order of catalog_schema when a later sweep brings facets or scores of its own.
    rank = {column.name: 10 * place for place, column in enumerate(FIXED)}
    places = {"facet": rank["status"] - 3, "score": rank["phash"] - 3, "embedding": rank["phash"] - 2}
    return [
        field.name
        for field in sorted(
            fields, key=lambda f: rank.get(f.name, places.get(role_of(f), max(rank.values()) + 1))
        )
    ]


def _merge_fields(old: pa.Field, new: pa.Field, where: str) -> pa.Field:
    if old.name != new.name:
        raise InputError(
            f"column {new.name!r} differs from the catalog's {old.name!r} only in upper and lower case",
            where=where,
            hint="Rename the facet or score.",
        )
    if old.type == new.type or _stays_text(old, new):
        return old
    if _is_number(old.type) and _is_number(new.type):
        fraction = pa.types.is_floating(old.type) or pa.types.is_floating(new.type)
        return old.with_type(pa.float64() if fraction else pa.int64())
    if old.name == EMBEDDING:
        raise InputError(
            f"this catalog stores embeddings of {old.type.list_size} numbers, the sweep's encoder makes "
            f"{new.type.list_size}",
            where=where,
            hint="Use the same encoder or another output folder.",
        )
    raise InputError(
        f"column {new.name!r} is {type_name(old.type)} in this catalog and {type_name(new.type)} in the sweep",
        where=where,
        hint="Rename it or use another output folder. A facet of numbers alone is a number; one text makes all text.",
    )


def _stays_text(old: pa.Field, new: pa.Field) -> bool:
    return (
        role_of(old) == role_of(new) == "facet" and pa.types.is_dictionary(old.type) and _is_number(new.type)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


if __name__ == "__main__":
    print(column_table())
