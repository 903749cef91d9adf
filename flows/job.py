"""A sweep made ready to run: the file read, the models known, the signer checked, the columns named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalogs.schema import catalog_schema, check_facets
from generators.backends import open_backend
from generators.matrix import Matrix
from generators.models import ModelFacts
from generators.recipe import Recipe
from generators.sweep import Sweep, load_sweep
from scoring.declared import declared_columns


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the shards of one sweep have in common."""

    sweep: Sweep  # the checked sweep file
    source: bytes  # the sweep file as it was read
    matrix: Matrix  # its recipes, lazily
    schema: pa.Schema  # the catalog columns of its rows
    out: Path  # the output folder
    online: bool  # whether models named in the sweep may be fetched


def prepare(sweep_file: Path, out: Path, *, online: bool) -> Job:
    """Read and check a sweep before anything heavy is loaded.

    Raises InputError for whatever is wrong in the file, with its line or key.
    """
    sweep = load_sweep(sweep_file)
    facts: Mapping[str, ModelFacts] = {
        model: open_backend(model).facts(model, sweep.revision, online=online) for model in sweep.models()
    }
    matrix = Matrix(sweep, facts)
    check_facets(sweep.name, matrix.facet_types)
    schema = catalog_schema(matrix.facet_types, declared_columns(sweep.scoring, matrix.facet_texts))
    return Job(sweep, sweep_file.read_bytes(), matrix, schema, out, online)


def pending(matrix: Matrix, published: npt.NDArray[np.uint64]) -> Iterator[Recipe]:
    """The recipes that no row of the catalog holds yet, each once, in the matrix's order.

    `published`: sorted first-64-bit ids. Two cells that come to the same recipe are drawn once.
    """
    seen: set[int] = set()
    for recipe in matrix:
        key = recipe.watermark_id
        if key in seen:
            continue
        place = int(np.searchsorted(published, np.uint64(key)))
        if place < len(published) and int(published[place]) == key:
            continue
        seen.add(key)
        yield recipe
