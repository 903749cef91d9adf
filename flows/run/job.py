"""A sweep ready to run: the file is read, the models are known, the columns are named."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nonesuch.catalogs.schema import FIXED, catalog_schema, merge_schemas
from nonesuch.catalogs.storage.parts import read_schema
from nonesuch.catalogs.storage.remote_output import staging
from nonesuch.flows.run.catalog_init_images import find_images
from nonesuch.flows.run.policies import check_policies, check_prompts
from nonesuch.flows.run.signer_choice import check_marking
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.urls import local_path, url_of
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.settings import SETTING_NAMES
from nonesuch.generators.sweepfile.sweep import Sweep, load_sweep
from nonesuch.generators.sweepfile.values.facets import number_type
from nonesuch.scoring.scorers import DEFAULT_SCORERS, scoring_columns

_SETTING_COLUMNS = frozenset(SETTING_NAMES) & {column.name for column in FIXED}
_NUMBERS: Mapping[str, str] = {"guidance": "float64"}  # setting facets without a fixed column of their name

_VALUES: Mapping[str, Callable[[str], Any]] = {"string": str, "int64": int, "float64": float}


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the shards of one sweep have in common."""

    sweep: Sweep  # the checked sweep file
    matrix: Matrix  # its recipes, lazily
    facets: Mapping[
        str, str
    ]  # facet columns with their types; settings that have a fixed column are not among them
    scorers: tuple[str, ...]  # names of the scorers; () embeds and scores nothing
    out: Path  # the output folder; where the output is a URL, this machine's folder for drawing into it
    online: bool  # whether models named in the sweep may be fetched
    policies: tuple[str, ...] = ()  # digests of the policies that the sweep satisfies
    url: str | None = None  # where the output lies, when not in a folder
    holder: str = ""  # of the lease of the run that draws into `url`

    @property
    def place(self) -> str:
        """The output as a person knows it."""
        return self.url or str(self.out)

    def facts(self, recipe: Recipe) -> ModelFacts:
        """The facts of the model that draws a recipe."""
        return next(f for f in self.matrix.facts.values() if f.digest == recipe.model_digest)

    def schema(self, embedding_dim: int | None) -> pa.Schema:
        """The catalog columns of this sweep's rows."""
        declared = scoring_columns(self.scorers, list(self.matrix.facet_texts)) if self.scorers else ()
        scores = {column.name: column.type for column in declared if column.type != "string"}
        return catalog_schema(self.facets, scores, embedding_dim)

    def facet_values(self, recipe: Recipe) -> dict[str, Any]:
        """The facet columns of one row, in their types."""
        return {
            name: _VALUES[self.facets[name]](value) for name, value in recipe.facets if name in self.facets
        }


def prepare(sweep_file: Path, out: Path, *, online: bool, policy: Path | None = None) -> Job:
    """Read and check a sweep before anything heavy is loaded; `policy` is a further file that it must satisfy.

    `out` is a folder or an fsspec URL.

    Raises InputError for whatever is wrong in the file, with its line or key, and DependencyError when
    `online` and a model's hub can't be reached.
    """
    sweep = load_sweep(sweep_file, find_images=find_images)
    check_marking(sweep)
    matrix = open_matrix(sweep, network=online)
    check_prompts(matrix)
    policies = check_policies(matrix, policy)
    facets = {
        name: _NUMBERS.get(name) or number_type(sweep.facets[name]) or "string"
        for name in sweep.values
        if name not in _SETTING_COLUMNS
    }
    scorers = DEFAULT_SCORERS if sweep.scoring.scorers is None else tuple(sweep.scoring.scorers)
    url = url_of(out)
    folder = local_path(out).absolute() if url is None else staging(url)
    job = Job(sweep, matrix, facets, scorers, folder, online, policies, url)
    try:
        known = read_schema(folder)
    except CatalogError:  # damaged: named, or with `repair` mended, by the run
        known = None
    try:
        schema = job.schema(None)
        if known is not None:
            merge_schemas(known, schema, where=str(folder))
    except InputError as error:
        raise InputError(error.message, where=sweep.source.where(("facets",)), hint=error.hint) from error
    return job


def pending(matrix: Matrix, published: npt.NDArray[np.uint64]) -> Iterator[Recipe]:
    """The recipes that no row of the catalog holds yet, each once, in the matrix's order.

    `published`: sorted first-64-bit ids. Two cells that come to the same recipe are drawn once.
    """
    seen = _Keys(matrix.count())
    for recipe in matrix:
        key = recipe.watermark_id
        place = int(np.searchsorted(published, np.uint64(key))) if len(published) else 0
        if place < len(published) and int(published[place]) == key:
            continue
        if seen.add(key):
            yield recipe


class _Keys:
    """A set of 64-bit keys that are spread evenly: 12 to 24 bytes for each of `most`, where a Python set takes 75."""

    def __init__(self, most: int) -> None:
        slots = 1 << (most * 3 // 2).bit_length()  # a third stays free at least
        self._last = slots - 1
        self._slots = memoryview(mmap.mmap(-1, 8 * slots)).cast(
            "Q"
        )  # pages that no key fell on take no memory

    def add(self, key: int) -> bool:
        """Take a key in; False when it was there."""
        key = key or self._last  # 0 is an empty slot
        place = key & self._last
        while held := self._slots[place]:
            if held == key:
                return False
            place = (place + 1) & self._last
        self._slots[place] = key
        return True
