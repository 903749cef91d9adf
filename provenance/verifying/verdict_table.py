"""Verdicts as Parquet: one row per file, the keys of the JSON object as columns, nested values as JSON text."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import storage_error
from nonesuch.provenance.verifying.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

NESTED = ("watermark", "catalog", "recipe", "evidence", "trust_list")  # JSON text; null where there is none
_WORDS = ("verdict", "confidence", "integrity", "trust", "time")  # few distinct values, never null
_TEXTS = ("signed_by", "signed_at", "generator")
_GROUP = 4000  # rows that are held before they are written


def verdict_schema() -> pa.Schema:
    """The columns, in the order of the verdict's keys (docs/verify.md)."""
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = dict.fromkeys(("path", *_WORDS, *_TEXTS, *NESTED, "error"), pa.string())
    kinds["digital_source_type"] = pa.list_(pa.string())
    never_null = {"path", "digital_source_type", "evidence", "trust_list", *_WORDS}
    order = list(Verdict.__dataclass_fields__)
    return pa.schema([pa.field(name, kinds[name], nullable=name not in never_null) for name in order])


def verdict_table(verdicts: Iterable[Verdict]) -> pa.Table:
    """The verdicts as a table of that schema."""
    import pyarrow as pa

    return pa.Table.from_pylist([_row(verdict) for verdict in verdicts], schema=verdict_schema())


def write_table(verdicts: Iterable[Verdict], path: Path) -> None:
    """Write verdicts to a Parquet file, in one rename. Raises StorageError for a full disk."""
    for _ in writing(verdicts, path):
        pass


def writing(verdicts: Iterable[Verdict], path: Path) -> Iterator[Verdict]:
    """Hand the verdicts on and write them to `path`, which appears, whole, after the last one.

    A few thousand are held in memory. Raises InputError when `path` is a folder, StorageError for a full disk
    or a folder that can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.is_dir():
        raise InputError("is a folder", where=str(path), hint="Name a file, for example verdicts.parquet.")
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with (
            os.fdopen(handle, "wb") as file,
            pq.ParquetWriter(file, verdict_schema(), compression="zstd") as out,
        ):
            held: list[Verdict] = []
            for verdict in verdicts:
                held.append(verdict)
                if len(held) >= _GROUP:
                    out.write_table(verdict_table(held))
                    held = []
                yield verdict
            out.write_table(verdict_table(held))
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except pa.ArrowException as error:
        raise StorageError(f"can't be written ({error})", where=str(path)) from error
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def _row(verdict: Verdict) -> dict[str, Any]:
    row = verdict.to_json()
    for name in NESTED:
        row[name] = None if row[name] is None else json.dumps(row[name])
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def _text(text: str) -> str:
    # Names of files may hold bytes that are no UTF-8, which Python carries as lone surrogates.
    return text.encode("utf-8", "replace").decode()
