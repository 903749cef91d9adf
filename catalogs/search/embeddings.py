"""Search by embedding: the images whose stored embeddings are nearest to a vector, and the best that differ.

The search is exhaustive and exact: half-precision products find every candidate within their own error,
and single precision decides among them. Merged parts are read through their raw embedding index, the
others from Parquet, once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import Where, each_condition
from nonesuch.catalogs.search.fetching import Places, fetch, matching_numbers, search
from nonesuch.catalogs.search.lookup import by_phash, by_recipe
from nonesuch.catalogs.storage.indexes import embedding_matrix, raw_embeddings
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    import pandas

Vector = npt.NDArray[np.float32]
# How far a half-precision product of unit vectors may lie from the cosine: rounding of the result and of
# the stored vectors' length.
_MARGIN = 4e-3
_LARGE = 2_000_000  # numbers in a part from which importing torch pays


def most_alike(
    catalog: Catalog,
    vector: npt.ArrayLike,
    *,
    top: int = 20,
    where: Where = None,
    columns: Sequence[str] | None = None,
    as_arrow: bool = False,
) -> pandas.DataFrame | pa.Table:
    """The `top` rows whose embedding has the highest cosine with `vector`, with it in `likeness`.

    vector  float [dim], from the encoder that the catalog's embeddings are from; any length but zero
    where   only among the rows that meet this condition, or all of several

    Exact for the stored float16 numbers. Raises InputError when the catalog has no embeddings or ones of
    another length.
    """
    wanted = _unit(vector, _dim(catalog))
    if top < 1:
        raise InputError(f"{top} is not a number of rows", where="top", hint="Use 1 or more.")
    condition = None if where is None else catalog.condition(where)
    names = [name for name in catalog.column_names(columns) if name != "likeness"]

    def work(session: Session) -> pa.Table:
        numbers = None if condition is None else matching_numbers(session, condition)
        places, likeness = _nearest(catalog, session, wanted, top, numbers)
        table = fetch(session, places, names)
        return table.append_column("likeness", pa.array(likeness, pa.float32()))

    table = catalog.engine.read(work)
    return table if as_arrow else table.to_pandas()


def embedding_of(catalog: Catalog, recipe_id: str) -> Vector:
    """The stored embedding of one image, by its recipe id or the beginning of it, float32 [dim]."""
    row = _only_row(catalog, recipe_id)
    table = catalog.query(f"recipe_id = '{row['recipe_id']}'", columns=[EMBEDDING], top=1, as_arrow=True)
    vector: Vector = embedding_matrix(table[EMBEDDING])[0].astype(np.float32)
    if not vector.any():
        raise InputError("this image has no embedding", where=recipe_id)
    return vector


def near_duplicates_of(
    catalog: Catalog, recipe_id: str, *, max_distance: int = 8, top: int = 20, where: Where = None
) -> list[dict[str, Any]]:
    """The other images that look nearly the same by phash, nearest first, with `distance` in bits.

    where   only among the rows that meet this condition, or all of several
    """
    row = _only_row(catalog, recipe_id)
    if not row["phash"]:
        raise InputError("this image has no perceptual hash", where=recipe_id)
    found = by_phash(catalog, row["phash"], max_distance=max_distance, top=top + 1, where=where)
    return [other for other in found if other["recipe_id"] != row["recipe_id"]][:top]


def diverse(
    catalog: Catalog,
    count: int,
    *,
    order: str,
    where: Where = None,
    weight: float = 0.5,
    pool: int | None = None,
    columns: Sequence[str] | None = None,
    as_arrow: bool = False,
) -> pandas.DataFrame | pa.Table:
    """The best images that are also unlike one another, in the order in which they were chosen.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each next image has the greatest
    weight * quality - (1 - weight) * likeness to the nearest image chosen before it, where quality is
    its place in `order` among the candidates, from 1 for the best to 0, and likeness is the cosine.

    order   the column or expression that says what is best
    weight  1 takes the best, 0 takes the most different
    pool    how many of the best are candidates; by default 50 for each image wanted, at least 1,000
    """
    if count < 1 or not 0 <= weight <= 1:
        raise InputError("diverse needs a count of at least 1 and a weight from 0 to 1", where="diverse")
    dim = _dim(catalog)
    choice = catalog.choice(
        each_condition(where, "embedding IS NOT NULL"), order, top=pool or max(1000, 50 * count)
    )
    names = catalog.column_names(columns)

    def work(session: Session) -> pa.Table:
        found = search(session, choice)
        vectors = _embeddings_at(catalog, found, dim).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        chosen = marginal_relevance(
            vectors, np.linspace(1, 0, max(len(found), 1))[: len(found)], count, weight
        )
        places = Places([found.files[i] for i in chosen], [found.numbers[i] for i in chosen])
        return fetch(session, places, names)

    table = catalog.engine.read(work)
    return table if as_arrow else table.to_pandas()


def marginal_relevance(
    vectors: Vector, quality: npt.NDArray[np.float64], count: int, weight: float
) -> list[int]:
    """Greedy choice of `count` rows of unit vectors [N, dim] by `diverse`'s rule; quality [N] in 0 to 1."""
    nearest = np.full(len(vectors), -1.0)
    open_ = np.ones(len(vectors), bool)
    chosen: list[int] = []
    while len(chosen) < min(count, len(vectors)):
        # before anything is chosen there is nothing to be unlike, so quality alone decides
        gain = weight * quality - (1 - weight) * nearest if chosen else quality.astype(float)
        best = int(np.argmax(np.where(open_, gain, -np.inf)))
        chosen.append(best)
        open_[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return chosen


def _nearest(
    catalog: Catalog,
    session: Session,
    wanted: Vector,
    top: int,
    numbers: dict[str, npt.NDArray[np.int64]] | None,
) -> tuple[Places, npt.NDArray[np.float32]]:
    files: list[str] = []
    rows: list[int] = []
    exact: list[npt.NDArray[np.float32]] = []
    floor = -np.inf  # a row below it can't be among the best any more
    for part in session.files[1:]:
        matrix = _matrix(catalog, part, len(wanted))
        allowed = None if numbers is None else numbers.get(part, np.zeros(0, np.int64))
        if matrix is None or not len(matrix) or (allowed is not None and not len(allowed)):
            continue
        if allowed is not None and len(allowed) < len(matrix) // 8:
            matrix, back = matrix[allowed], allowed
        else:
            back = None
        products = _products(matrix, wanted)
        if allowed is not None and back is None:
            outside = np.ones(len(products), bool)
            outside[allowed] = False
            products[outside] = -np.inf
        if len(products) > top:
            floor = max(floor, float(np.partition(products, -top)[-top]) - 2 * _MARGIN)
        near = np.flatnonzero((products >= floor) & np.isfinite(products))
        vectors = np.asarray(matrix[near], np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        near, vectors, lengths = near[lengths > 0], vectors[lengths > 0], lengths[lengths > 0]
        exact.append((vectors @ wanted / lengths).astype(np.float32))
        rows += (near if back is None else back[near]).tolist()
        files += [part] * len(near)
    cosines = np.concatenate([np.zeros(0, np.float32), *exact])
    best = np.argsort(-cosines, kind="stable")[:top]
    return Places([files[i] for i in best], [rows[i] for i in best]), cosines[best]


def _products(matrix: npt.NDArray[np.float16], wanted: Vector) -> npt.NDArray[np.float32]:
    if matrix.size < _LARGE and "torch" not in sys.modules:
        return np.asarray(matrix, np.float32) @ wanted
    import torch

    half = torch.frombuffer(np.ascontiguousarray(matrix).data, dtype=torch.float16)
    product = torch.mv(half.view(matrix.shape), torch.from_numpy(wanted).half())
    return product.float().numpy()


def _matrix(catalog: Catalog, part: str, dim: int) -> npt.NDArray[np.float16] | None:
    mapped = catalog.indexes.get(part, EMBEDDING, lambda path: raw_embeddings(path, dim))
    if mapped is not None:
        return mapped
    return catalog.indexes.of_part(part, EMBEDDING, _read_embeddings)


def _read_embeddings(path: Path) -> npt.NDArray[np.float16] | None:
    with pq.ParquetFile(path) as file:
        if EMBEDDING not in file.schema_arrow.names:
            return None
        return embedding_matrix(file.read(columns=[EMBEDDING])[EMBEDDING])


def _embeddings_at(catalog: Catalog, places: Places, dim: int) -> npt.NDArray[np.float16]:
    vectors = np.zeros((len(places), dim), np.float16)
    by_file: dict[str, list[int]] = {}
    for place, file in enumerate(places.files):
        by_file.setdefault(file, []).append(place)
    for file, wanted in by_file.items():
        matrix = _matrix(catalog, file, dim)
        if matrix is not None:
            vectors[wanted] = matrix[[places.numbers[place] for place in wanted]]
    return vectors


def _dim(catalog: Catalog) -> int:
    schema = catalog.schema
    if EMBEDDING not in schema.names:
        raise InputError(
            "this catalog has no embeddings",
            where=str(catalog.folder),
            hint="Draw with an encoder, or rescore the catalog with one.",
        )
    return int(schema.field(EMBEDDING).type.list_size)


def _unit(vector: npt.ArrayLike, dim: int) -> Vector:
    wanted = np.asarray(vector, np.float32).ravel()
    if wanted.shape != (dim,):
        raise InputError(
            f"a vector of {len(wanted)} numbers, where the catalog's embeddings have {dim}",
            hint="Use the encoder that the `encoder` column names.",
        )
    length = float(np.linalg.norm(wanted))
    if not np.isfinite(length) or length == 0:
        raise InputError("a vector without a direction can't be compared")
    return np.asarray(wanted / length, np.float32)


def _only_row(catalog: Catalog, recipe_id: str) -> dict[str, Any]:
    rows = by_recipe(catalog, recipe_id)
    if len(rows) != 1:
        raise InputError(
            f"{len(rows)} images have a recipe id that begins like this",
            where=recipe_id,
            hint="Give more of its digits." if rows else "Take it from the recipe_id column.",
        )
    return rows[0]
