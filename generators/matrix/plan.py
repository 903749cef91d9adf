"""The plan of a sweep: what it would draw, how long that would take and how much disk, without loading a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write, cache_dir
from nonesuch.generators.backends import REMOTE, model_facts
from nonesuch.generators.matrix.combined import combinations
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.connections import connection_of
from nonesuch.generators.sweepfile.sweep import Sweep

FIRST_PROMPTS: Final = 5
PRICED: Final = 20_000  # cells whose price is looked up
SERVICE_SECONDS: Final = 10.0  # an image of a hosted service, several asked for at once
# Bytes per pixel on disk for images with much texture, and what the credential, XMP and thumbnail add.
BYTES_PER_PIXEL: Final = {"png": 1.7, "jpeg": 0.35, "webp": 0.2}
BYTES_PER_IMAGE: Final = 20_000
# Seconds for each step and megapixel of an SD 1.5 sized model, where nothing was measured yet.
STEP_SECONDS_GPU: Final = 0.12
STEP_SECONDS_CPU: Final = 22.0
EMBEDDED_SECONDS: Final = 1 / 3  # an image of the embedded model on two CPU cores, the bar it is built for


@dataclass(frozen=True, slots=True)
class Plan:
    """What `nonesuch plan` prints."""

    name: str
    cells: int  # images the sweep asks for
    seeds: int
    facets: tuple[tuple[str, int], ...]  # name and number of values, in the file's order
    order: tuple[tuple[str, ...], ...]  # the matrix's axes, outermost first; several facets go in step
    models: tuple[str, ...]  # name, and digest as far as it is known without the network
    first_prompts: tuple[str, ...]  # different ones, in the matrix's order
    seconds: float  # estimate
    seconds_basis: str  # where the estimate comes from
    bytes: int  # estimate of the image files
    cost: float | None = 0.0  # US dollars by list price; None when a price is not known
    ignored: tuple[str, ...] = ()  # "MODEL: steps, guidance": settings that a model has no use for


def open_matrix(sweep: Sweep, *, network: bool = False) -> Matrix:
    """The matrix of a sweep with the facts of every model that it names.

    Raises InputError as model_facts and Matrix do, at the sweep's line.
    """
    facts: dict[tuple[str, str | None], ModelFacts] = {}
    for combined, where in combinations(sweep):
        model, revision = combined["model"], combined["revision"]
        if (model, revision) not in facts:
            try:
                facts[model, revision] = model_facts(
                    model,
                    revision,
                    folder=sweep.source.folder,
                    network=network,
                    connection=connection_of(model, sweep.connections),
                )
            except InputError as error:
                if error.where not in (None, "model"):
                    raise
                raise InputError(
                    error.message, where=where or _model_place(sweep), hint=error.hint
                ) from error
    return Matrix(sweep, facts, network=network)


def _model_place(sweep: Sweep) -> str:
    """Where the sweep names its model, when no facet does."""
    named_in_settings = sweep.settings.model is not None
    return sweep.source.where(("settings", "model") if named_in_settings else ("model",))


def plan(sweep: Sweep) -> Plan:
    """Count a sweep and estimate its cost from its first recipe; neither network nor weights are touched."""
    matrix = open_matrix(sweep)
    cells = matrix.count()
    first = next(iter(matrix))
    seconds, basis = _seconds_per_image(first)
    prompts = dict.fromkeys(
        recipe.prompt for recipe in islice(matrix, FIRST_PROMPTS * len(sweep.seed_values))
    )
    pixels = first.width * first.height
    return Plan(
        name=sweep.name,
        cells=cells,
        seeds=len(sweep.seed_values),
        facets=tuple((facet, len(values)) for facet, values in sweep.values.items()),
        order=tuple(axis.facets for axis in matrix.axes),
        models=tuple(
            f"{facts.model} {facts.digest}"
            if facts.resolved
            else f"{facts.model} (not looked at: that takes the network, which only `run` uses)"
            for facts in matrix.facts.values()
        ),
        first_prompts=tuple(islice(prompts, FIRST_PROMPTS)),
        seconds=seconds * cells,
        seconds_basis=basis,
        bytes=int(cells * (pixels * BYTES_PER_PIXEL[sweep.format.type] + BYTES_PER_IMAGE)),
        cost=_cost(matrix),
        ignored=tuple(
            f"{facts.model}: {', '.join(sorted(facts.remote.ignores - {'dtype'}))}"
            for facts in matrix.facts.values()
            if facts.remote is not None and facts.remote.ignores - {"dtype"}
        ),
    )


def _cost(matrix: Matrix) -> float | None:
    """What services will take for the images, each recipe counted once; beyond PRICED cells by their mean."""
    by_digest = {facts.digest: facts for facts in matrix.facts.values()}
    if not any(facts.remote is not None and facts.remote.paid for facts in by_digest.values()):
        return 0.0
    prices: dict[str, float] = {}
    looked_at = 0
    for recipe in islice(matrix, PRICED):
        looked_at += 1
        price = price_of(recipe, by_digest[recipe.model_digest])
        if price is None:
            return None
        prices[recipe.id] = price
    return round(sum(prices.values()) * matrix.count() / max(1, looked_at), 4)


def record_speed(recipes: Sequence[Recipe], seconds: float) -> None:
    """Remember how long recipes of one group took, for later plans on this machine."""
    if not recipes or seconds <= 0:
        return
    measured = _measured()
    measured[_speed_key(recipes[0])] = seconds / len(recipes)
    atomic_write(_speed_file(), json.dumps(measured, sort_keys=True).encode())


def _seconds_per_image(recipe: Recipe) -> tuple[float, str]:
    measured = _measured().get(_speed_key(recipe))
    if measured is not None:
        return measured, "measured here with the same model, size and steps"
    if recipe.backend == "noise":
        return 0.002, "a rule for noise"
    if recipe.backend in REMOTE:
        return SERVICE_SECONDS, "a guess for engines and services; the first run measures it"
    if recipe.model == "embedded":
        return EMBEDDED_SECONDS * _work(recipe) / (
            20 * 128 * 128 / 1e6
        ), "a rule: 3 images/s at 20 steps on two CPU cores"
    work = _work(recipe)
    if shutil.which("nvidia-smi"):
        return work * STEP_SECONDS_GPU, "a rule for an SD 1.5 sized model on a data-centre GPU"
    return work * STEP_SECONDS_CPU, "a rule for an SD 1.5 sized model on two CPU cores"


def _work(recipe: Recipe) -> float:
    """Steps times megapixels of every pass."""
    width, height = recipe.first_size
    work = recipe.steps * (recipe.strength or 1.0) * width * height / 1e6
    if recipe.hires is not None:
        width, height = recipe.chain_size
        work += recipe.hires.steps * recipe.hires.strength * width * height / 1e6
    return work


def _speed_key(recipe: Recipe) -> str:
    ways = "".join(f" {name}" for name in recipe.ways(paths=False))
    return f"{recipe.model_digest} {recipe.width}x{recipe.height} {recipe.steps} {recipe.scheduler} {recipe.dtype}{ways}"


def _speed_file() -> Path:
    return cache_dir() / "speed.json"


def _measured() -> dict[str, float]:
    """Seconds an image that earlier runs took; an unreadable file counts as none."""
    try:
        return {str(key): float(value) for key, value in json.loads(_speed_file().read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
