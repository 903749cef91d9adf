"""Indexes of merged parts: sorted keys for look-ups, and columns as raw numbers for scans.

They lie beside their part as OUT/catalog/_index-PART.NAME, where Parquet readers do not see them. Each is
derived from its part and may be deleted: what has no index is scanned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

T = TypeVar("T")
KEYS = ("recipe_id", "watermark_id", "sha256", "manifest_id")  # columns that images are looked up by
MANIFEST_ID = "^urn:c2pa:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"  # as ours are
_KEYS, _ROWS = np.dtype("<u8"), np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class SortedKeys:
    """The keys of one part in ascending order, each with its row's number in the part."""

    keys: npt.NDArray[np.uint64]  # [N]; the column itself, or the first 64 bits of its hex digits or UUID
    rows: npt.NDArray[np.uint32]  # [N]

    def find(self, low: int, high: int) -> npt.NDArray[np.uint32]:
        """The rows whose key lies between `low` and `high`, both included."""
        first = np.searchsorted(self.keys, np.uint64(low), side="left")
        last = np.searchsorted(self.keys, np.uint64(high), side="right")
        return self.rows[first:last]


class OpenIndexes:
    """What a reader has mapped or read of each part, kept while the file is the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[tuple[int, int, int], Any]] = {}
        self._files: dict[tuple[str, str], str] = {}

    def get(self, part: str, name: str, opener: Callable[[Path], T | None]) -> T | None:
        """What `opener` makes of the part's index, or None when it has none."""
        file = self._files.get((part, name))
        if file is None:  # a look-up asks for every part; making paths would be most of its time
            file = self._files[part, name] = str(index_path(Path(part), name))
        return self._keep(part, name, file, opener)

    def of_part(self, part: str, name: str, reader: Callable[[Path], T | None]) -> T | None:
        """What `reader` makes of the part itself, kept in memory under `name`."""
        return self._keep(part, f"{name} in memory", part, reader)

    def _keep(self, part: str, name: str, file: str, make: Callable[[Path], T | None]) -> T | None:
        try:
            stat = os.stat(file)
        except OSError:
            return None
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        kept = self._kept.get((part, name))
        if kept is None or kept[0] != stamp:
            kept = (stamp, make(Path(part)))
            self._kept[part, name] = kept
        found: T | None = kept[1]
        return found

    def without(self, parts: Sequence[str], name: str, opener: Callable[[Path], T | None]) -> list[str]:
        """The parts that have no such index."""
        return [part for part in parts if self.get(part, name, opener) is None]


def write_indexes(part: Path, table: pa.Table) -> None:
    """Write the indexes of a part that holds exactly the rows of `table`, and bring them to disk."""
    for name, arrays in _contents(table):
        _write(index_path(part, name), *arrays)


def wrong_indexes(part: Path, table: pa.Table) -> list[Path]:
    """The index files of a part with these rows that do not say what the part says."""
    wrong = []
    for name, arrays in _contents(table):
        path = index_path(part, name)
        content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        if path.exists() and path.read_bytes() != content:
            wrong.append(path)
    return wrong


def _contents(table: pa.Table) -> Iterator[tuple[str, list[npt.NDArray[Any]]]]:
    """What each index of a part with these rows holds, by its name."""
    for name in KEYS:
        keys = uuid_keys(table[name]) if name == "manifest_id" else key_column(table[name])
        order = np.argsort(keys, kind="stable")
        yield name, [keys[order].astype(_KEYS), order.astype(_ROWS)]
    yield "phash", [table["phash"].to_numpy().astype(_KEYS)]
    if "embedding" in table.column_names:
        yield "embedding", [embedding_matrix(table["embedding"])]


def remove_indexes(part: Path) -> None:
    """Delete the indexes of a part that is about to change."""
    for name in (*KEYS, "phash", "embedding"):
        index_path(part, name).unlink(missing_ok=True)


def index_files(part: Path) -> list[Path]:
    """The index files that a part has."""
    paths = [index_path(part, name) for name in (*KEYS, "phash", "embedding")]
    return [path for path in paths if path.exists()]


def sorted_keys(part: Path, name: str) -> SortedKeys | None:
    """The keys of one of KEYS, mapped into memory; None when the part has no such index."""
    data = _mapped(index_path(part, name), np.dtype(np.uint8))
    size = _KEYS.itemsize + _ROWS.itemsize
    if data is None or len(data) % size:
        return None
    border = len(data) // size * _KEYS.itemsize
    return SortedKeys(data[:border].view(_KEYS), data[border:].view(_ROWS))


def raw_hashes(part: Path) -> npt.NDArray[np.uint64] | None:
    """The phash column in the order of the rows, mapped into memory; None when there is no index."""
    return _mapped(index_path(part, "phash"), _KEYS)


def raw_embeddings(part: Path, dim: int) -> npt.NDArray[np.float16] | None:
    """The embeddings in the order of the rows, float16 [N, dim], zeros where there is none; None without index."""
    data = _mapped(index_path(part, "embedding"), np.dtype("<f2"))
    if data is None or len(data) % dim:
        return None
    return data.reshape(-1, dim)


def key_column(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A look-up column as uint64 [N]: numbers as they are, hex digits by their first 64 bits, null as 0."""
    if pa.types.is_uint64(column.type):
        return np.asarray(column.to_numpy(), np.uint64)
    filled = pc.fill_null(column, "0" * 16)
    return np.concatenate([np.zeros(0, np.uint64), *(hex_keys(chunk) for chunk in filled.chunks)])


def hex_keys(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each text of at least 16 lower-case hex digits: uint64 [N]."""
    digits = pc.cast(pc.cast(pc.utf8_slice_codeunits(texts, 0, 16), pa.binary()), pa.binary(16))
    raw = np.frombuffer(digits.buffers()[1], np.uint8, 16 * len(digits), 16 * digits.offset)
    nibbles = ((raw & 15) + 9 * (raw >> 6)).reshape(-1, 16)  # '0'..'9' and 'a'..'f' in ASCII
    return ((nibbles[:, 0::2] << 4) | nibbles[:, 1::2]).copy().view(">u8").ravel().astype(np.uint64)


def uuid_keys(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """The first 64 bits of the UUID of each manifest id, urn:c2pa:UUID: uint64 [N]; 0 for none and for other ids."""
    digits = pc.replace_substring(pc.utf8_slice_codeunits(column, 9, 27), "-", "")
    known = pc.fill_null(pc.match_substring_regex(column, MANIFEST_ID), False)
    return key_column(pc.if_else(known, digits, "0" * 16))


def embedding_matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float16]:
    """Embeddings as float16 [N, dim], with zeros for the missing ones."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    matrix = np.zeros((len(array), array.type.list_size), np.float16)
    present = np.asarray(array.is_valid())
    matrix[present] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, array.type.list_size)
    return matrix


def index_path(part: Path, name: str) -> Path:
    """Where the index `name` of a part lies."""
    return part.with_name(f"_index-{part.stem}.{name}")


def _write(path: Path, *arrays: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)
        file.flush()
        os.fsync(file.fileno())


def _mapped(path: Path, kind: np.dtype[Any]) -> npt.NDArray[Any] | None:
    try:
        size = path.stat().st_size
        if size == 0 or size % kind.itemsize:
            return None
        return np.memmap(path, kind, "c")  # private pages: torch warns about read-only ones
    except OSError:
        return None
