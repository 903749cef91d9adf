"""The catalog's columns in other tools' formats: JSON values, Hugging Face features, YAML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nonesuch.catalogs.exports.export_job import Loss
from nonesuch.catalogs.schema import role_of

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # how `datasets` stores an image
PLACE = "file"  # the catalog's own path, which means nothing in an export

# what YAML wants escaped and JSON does not
_YAML_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_HF_TYPES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.bool_(): "bool",
    pa.binary(): "binary",
}


def json_row(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A row as JSON holds it: times as ISO 8601, null in place of NaN; `names`: column → its name there."""
    return {name: _json_value(row[column]) for column, name in names.items()}


def lost_numbers(table: pa.Table) -> list[Loss]:
    """What JSON and CSV can't hold of the rows: infinities and NaN."""
    losses = []
    for field in table.schema:
        if pa.types.is_floating(field.type):
            known = pc.drop_null(table[field.name])
            lost = len(known) - int(pc.sum(pc.is_finite(known)).as_py() or 0)
            if lost:
                losses.append(Loss(field.name, lost, "values became null (NaN or infinite)"))
    return losses


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON, without its end."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


def json_schema(schema: pa.Schema, names: Mapping[str, str]) -> pa.Schema:
    """The types of `json_row`'s values."""
    kinds = {column: schema.field(column).type for column in names}
    return pa.schema(
        [
            (name, pa.string() if pa.types.is_timestamp(kinds[column]) else kinds[column])
            for column, name in names.items()
        ]
    )


def described(schema: pa.Schema) -> list[tuple[str, str, str]]:
    """(name, type, meaning) of each column."""
    rows = []
    for field in schema:
        text = str((field.metadata or {}).get(b"description", b""), "utf-8")
        if role_of(field) == "score" and text == f"score {field.name}; score_facts says how it was made":
            text = "score; score_facts says how it was made"
        if pa.types.is_string(field.type):
            text = text.replace("; 0: none", "; as 16 hex digits")
        rows.append((field.name, "image" if field.type == IMAGE else str(field.type), text))
    return rows


def hf_features(schema: pa.Schema) -> dict[str, Any]:
    """`datasets` features as its JSON has them, for the metadata of a Parquet schema."""
    return {field.name: _hf_feature(field.type) for field in schema}


def with_hf_metadata(schema: pa.Schema) -> pa.Schema:
    """The schema with the metadata that makes `datasets` see images and vectors."""
    facts = json.dumps({"info": {"features": hf_features(schema)}})
    fields = [pa.field(field.name, field.type, metadata=field.metadata) for field in schema]
    return pa.schema(fields, metadata={"huggingface": facts})


def features_yaml(schema: pa.Schema, indent: str) -> list[str]:
    """The features as lines of a data card's front matter."""
    lines: list[str] = []
    for field in schema:
        lines.append(f"{indent}- name: {yaml_text(field.name)}")
        if field.type == IMAGE:
            lines.append(f"{indent}  dtype: image")
        elif pa.types.is_struct(field.type):
            lines.append(f"{indent}  struct:")
            lines += features_yaml(pa.schema(list(field.type)), indent + "  ")
        elif pa.types.is_fixed_size_list(field.type):
            lines.append(f"{indent}  list: {_hf_dtype(field.type.value_type)}")
            lines.append(f"{indent}  length: {field.type.list_size}")
        else:
            lines.append(f"{indent}  dtype: {yaml_text(_hf_dtype(field.type))}")
    return lines


def yaml_text(text: str) -> str:
    """Any text as a double-quoted YAML scalar, on one line."""
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return _YAML_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _hf_feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _hf_feature(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _hf_feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    return {"dtype": _hf_dtype(kind), "_type": "Value"}


def _hf_dtype(kind: pa.DataType) -> str:
    return str(kind) if pa.types.is_timestamp(kind) else _HF_TYPES[kind]


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value
