"""Synthetic catalogs for benchmarks: what a sweep of 100 subjects and 40 artists would hold, in as many rows as wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage.parts import prepare_catalog, write_options

SUBJECTS = [f"subject {i:03d}" for i in range(100)]
ARTISTS = [f"artist {i:02d}" for i in range(40)]
SCORES = {"alignment": "float32", "aesthetic": "float32", "sharpness": "float32", "subject_rank": "int32"}
BYTES_IN_HEX = 32


def build(
    out: Path, count: int, per: int, dim: int, rng: np.random.Generator, *, encoder: str | None = None
) -> None:
    """Write `count` rows in parts of `per`, with what a sweep of 100 subjects and 40 artists would hold.

    `encoder` is what the rows say of where their random embeddings are from.
    """
    schema = catalog_schema({"subject": "string", "artist": "string"}, SCORES, dim or None)
    prepare_catalog(out, schema)
    for number, start in enumerate(range(0, count, per)):
        table = synthetic(schema, start, min(per, count - start), dim, rng)
        if encoder is not None:
            place = schema.get_field_index("encoder")
            words = _words(np.zeros(len(table)), [encoder])
            table = table.set_column(place, schema.field(place), words.cast(schema.field(place).type))
        pq.write_table(table, out / "catalog" / f"bench-{number:06d}.parquet", **write_options(schema))


def synthetic(schema: pa.Schema, start: int, count: int, dim: int, rng: np.random.Generator) -> pa.Table:
    """Rows of every column: random scores, ids and hashes; words that repeat as they would."""
    subject, artist = rng.integers(0, len(SUBJECTS), count), rng.integers(0, len(ARTISTS), count)
    ids = np.arange(start, start + count)
    raw = rng.integers(0, 2**64, (count, 4), np.uint64)
    recipe = _hexes(raw)
    given: dict[str, Any] = {
        "recipe_id": recipe,
        "sha256": _hexes(rng.integers(0, 2**64, (count, 4), np.uint64)),
        "credential_digest": _hexes(rng.integers(0, 2**64, (count, 4), np.uint64)),
        "watermark_id": pa.array(raw[:, 0]),
        "file": pc.binary_join_element_wise(
            "images/bench", pc.utf8_slice_codeunits(recipe, 0, 2), recipe, "/"
        ),
        "manifest_id": pc.binary_join_element_wise("urn:c2pa", pc.utf8_slice_codeunits(recipe, 0, 32), ":"),
        "prompt": pa.array(
            [f"a painting of a {SUBJECTS[s]} by {ARTISTS[a]}" for s, a in zip(subject, artist, strict=True)]
        ),
        "subject": _words(subject, SUBJECTS),
        "artist": _words(artist, ARTISTS),
        "plan_index": pa.array(ids),
        "seed": pa.array(ids % 1000),
        "shard": pa.array(ids // 500, pa.int32()),
        "status": _words(rng.random(count) < 0.002, ["ok", "failed"]),
        "drawn_at": pa.array(1_760_000_000_000_000 + ids * 300_000, schema.field("drawn_at").type),
        "bytes": pa.array(rng.integers(20_000, 60_000, count)),
    }
    if dim:
        vectors = rng.standard_normal((count, dim), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        flat = pa.array(vectors.astype(np.float16).ravel())
        given["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type)
    return pa.Table.from_arrays([_filled(f, given, count, rng) for f in schema], schema=schema)


def _filled(field: pa.Field, given: dict[str, Any], count: int, rng: np.random.Generator) -> Any:
    if field.name in given:
        return given[field.name]
    if pa.types.is_dictionary(field.type):
        return _words(np.zeros(count), [f"{field.name} of the sweep"])
    if field.name in SCORES or field.name.endswith("_seconds") or field.name == "watermark_psnr":
        return (
            pc.cast(pa.array(100 * rng.standard_normal(count)), field.type, safe=False)
            if field.name == "subject_rank"
            else pa.array(rng.standard_normal(count, np.float32), field.type)
        )
    if pa.types.is_uint64(field.type):
        return pa.array(rng.integers(0, 2**64, count, np.uint64))
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return pa.array(np.full(count, 20), field.type)
    return pa.nulls(count, field.type)


def _words(codes: Any, words: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.asarray(codes, np.int32)), pa.array(words))


def _hexes(raw: Any) -> Any:
    digits = raw.astype(">u8").tobytes().hex()
    return pa.Array.from_buffers(
        pa.string(),
        len(raw),
        [
            None,
            pa.array(np.arange(len(raw) + 1, dtype=np.int32) * 2 * BYTES_IN_HEX).buffers()[1],
            pa.py_buffer(digits.encode()),
        ],
    )
