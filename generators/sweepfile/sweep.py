"""The sweep file: one strict model of everything a sweep may hold, and loading it with clear errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import AnyPath
from nonesuch.generators.recipe import MAX_SEED
from nonesuch.generators.sweepfile.budget import Adaptive, Budget, Price, Settled
from nonesuch.generators.sweepfile.complaints import complaint
from nonesuch.generators.sweepfile.connections import Connection
from nonesuch.generators.sweepfile.marking import Marking, Timestamp
from nonesuch.generators.sweepfile.run_engine import RunEngine
from nonesuch.generators.sweepfile.settings import LoraSetting, Settings, Strict
from nonesuch.generators.sweepfile.values.facets import (
    CatalogFacet,
    DynamicFacet,
    Facet,
    FacetValue,
    FileFacet,
    FindImages,
    FramesFacet,
    ImagesFacet,
    ListedFacet,
    StylesFacet,
    StyleUse,
    facet_values,
)
from nonesuch.generators.sweepfile.values.seeds import SeedCount, SeedRange, Seeds
from nonesuch.generators.sweepfile.values.value_files import ValueEntry
from nonesuch.generators.sweepfile.yaml_lines import Place, Source, check_text, read_yaml
from nonesuch.generators.ways.way_settings import WAY_SETTINGS

MAX_CELLS: Final = 10_000_000  # default of `limit`
SHARD_SIZE: Final = 192  # default of `shard_size`: whole batches of 8, 16, 32 and 64
# Columns of the catalog that every sweep fills, and keys of the sweep file; the catalog itself refuses its others.
RESERVED: Final = frozenset({"seed", "prompt", "negative", "negative_prompt", "sweep", "status", "options"})

Match: TypeAlias = dict[str, str | int | float | list[str | int | float]]


class Format(Strict):
    """The image files."""

    type: Literal["png", "jpeg", "webp"] = "png"
    quality: Annotated[int, Field(ge=1, le=100, description="of JPEG and WebP")] = 95


class Scoring(Strict):
    """Which models score the images."""

    encoder: Annotated[str, Field(description="embedded, or model/pretrained of open_clip")] = "embedded"
    scorers: Annotated[list[str], Field(description="names; all that fit when left out")] | None = None
    aesthetic: (
        Annotated[str, Field(description="aesthetic head; the one that fits the encoder when left out")]
        | None
    ) = None
    safety_threshold: (
        Annotated[float, Field(ge=0, le=1, description="flags images whose safety is below it")] | None
    ) = None
    unsafe: Annotated[
        Literal["keep", "blur", "discard"],
        Field(description="what happens to an image whose safety is below the threshold"),
    ] = "keep"


class Sweep(Strict):
    """A sweep file, checked. `values` holds its facets' values, `seed_values` its seeds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="names its files")]
    model: Annotated[str, Field(min_length=1, description="embedded, noise, a hub id or a folder")] = (
        "embedded"
    )
    revision: Annotated[str, Field(min_length=1, description="branch, tag or commit of a hub id")] | None = (
        None
    )
    prompt: Annotated[str, Field(min_length=1, description="template; {facet} puts in the value's text")]
    negative: Annotated[str, Field(description="template of the negative prompt")] = ""
    styles: Annotated[StyleUse, Field(description="styles.csv that dresses every prompt")] | None = None
    policy: (
        Annotated[str, Field(min_length=1, description="policy file that the sweep must satisfy")] | None
    ) = None
    facets: Annotated[dict[str, Facet], Field(description="the axes of the matrix")] = Field(
        default_factory=dict
    )
    zip: Annotated[list[list[str]], Field(description="facets that go in step instead of crossed")] = Field(
        default_factory=list
    )
    exclude: Annotated[list[Match], Field(description="combinations to leave out")] = Field(
        default_factory=list
    )
    only: Annotated[list[Match], Field(description="combinations to keep; all when empty")] = Field(
        default_factory=list
    )
    sample: Annotated[
        int | float | None, Field(description="so many cells, or a share of them, chosen by sample_seed")
    ] = None
    sample_seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    seeds: Seeds = SeedCount(count=1)
    settings: Settings = Settings()
    budget: Annotated[Budget, Field(description="what one run may spend")] = Budget()
    settled: Annotated[Settled, Field(description="end when the best images have settled")] | None = None
    adaptive: (
        Annotated[Adaptive, Field(description="spend later images on what scored best so far")] | None
    ) = None
    price: (
        Annotated[Price, Field(description="lets the report say what a run's device hours come to")] | None
    ) = None
    engine: Annotated[RunEngine, Field(description="who draws: here, processes or ray")] = RunEngine()
    limit: Annotated[int, Field(ge=1, description="most cells that the matrix may have")] = MAX_CELLS
    shard_size: Annotated[int, Field(ge=1, le=10_000, description="most images in a shard")] = SHARD_SIZE
    wildcards: Annotated[str, Field(min_length=1, description="folder of wildcard files")] | None = None
    format: Format = Format()
    scoring: Scoring = Scoring()
    marking: Marking = Marking()
    connections: Annotated[
        dict[str, Connection], Field(description="how engines and services are reached, by kind or model")
    ] = Field(default_factory=dict)

    _source: Source = PrivateAttr()
    _values: dict[str, tuple[FacetValue, ...]] = PrivateAttr()

    @field_validator("facets")
    @classmethod
    def _facet_names(cls, facets: dict[str, Facet]) -> dict[str, Facet]:
        for name in facets:
            if not name.isidentifier() or not name.isascii() or name != name.lower() or len(name) > 40:
                raise ValueError(
                    f"{name!r} can't name a facet; use up to 40 lower-case letters, digits and underscores"
                )
            if name in RESERVED:
                raise ValueError(f"{name!r} can't name a facet; the catalog uses that name")
        return facets

    @field_validator("sample", mode="before")
    @classmethod
    def _sample_size(cls, sample: Any) -> Any:
        if isinstance(sample, bool) or not isinstance(sample, int | float | None):
            raise ValueError("is neither a number of cells nor a share")
        if isinstance(sample, int) and sample < 1:
            raise ValueError("a sample holds at least one cell")
        if isinstance(sample, float) and not 0 < sample <= 1:
            raise ValueError(
                "a share lies above 0 and is at most 1; write whole numbers of cells without a point"
            )
        return sample

    @model_validator(mode="after")
    def _one_model(self) -> Sweep:
        for key in ("model", "revision"):
            if key in self.model_fields_set and getattr(self.settings, key) is not None:
                raise ValueError(f"{key} is given twice, at the top and in settings")
        return self

    @model_validator(mode="after")
    def _seeds_fit(self) -> Sweep:
        seeds = self.seed_values
        if isinstance(seeds, range):
            if not seeds:
                raise ValueError("seeds: the range's last seed lies before its first")
            if seeds[-1] > MAX_SEED:
                raise ValueError(f"seeds: the last one is over {MAX_SEED}")
        elif len(set(seeds)) != len(seeds):
            raise ValueError("seeds: a seed is listed twice")
        return self

    @model_validator(mode="after")
    def _one_choice(self) -> Sweep:
        if self.adaptive is not None and self.sample is not None:
            raise ValueError("adaptive chooses among all cells; leave sample out and set a budget")
        return self

    @model_validator(mode="after")
    def _stamps_fit(self) -> Sweep:
        timestamp = self.marking.timestamp
        if timestamp is not None and timestamp.policy == "queue" and self.format.type == "webp":
            raise ValueError(
                "WebP files can't be timestamped later; use png, jpeg or another timestamp policy"
            )
        return self

    @property
    def seed_values(self) -> Sequence[int]:
        """The seeds, in order."""
        if isinstance(self.seeds, SeedCount):
            return self.seeds.values
        if isinstance(self.seeds, SeedRange):
            return range(self.seeds.range[0], self.seeds.range[1] + 1)
        return self.seeds

    def bound(self, facet: str) -> tuple[str, ...]:
        """The options that a facet's plain values set, as `bind` of the engines says; () for none."""
        return tuple(
            dict.fromkeys(
                one for connection in self.connections.values() for one in connection.targets(facet)
            )
        )

    @property
    def source(self) -> Source:
        """Where it came from: path, folder of its relative paths, text, and the line of each key."""
        return self._source

    @property
    def values(self) -> Mapping[str, tuple[FacetValue, ...]]:
        """The values of each facet: files read, random texts drawn, combinations made."""
        return self._values


def load_sweep(path: AnyPath, *, find_images: FindImages | None = None) -> Sweep:
    """Read, check and resolve a sweep file (its value files and random texts too); no model is touched.

    `find_images` looks up facets of a catalog's images. Raises InputError naming file, line and key, with what to do about it.
    """
    data, source = read_yaml(Path(path))
    return _checked(data, source, find_images)


def load_connections(path: Path) -> dict[str, Connection]:
    """How a sweep file reaches engines and services; the rest of the file is not looked at.

    Raises InputError as load_sweep does for what stands under `connections`.
    """
    data, source = read_yaml(path)
    said = data.get("connections") if isinstance(data, dict) else None
    whole = {"name": "connections", "prompt": "none", "connections": {} if said is None else said}
    try:
        return Sweep.model_validate(whole).connections
    except ValidationError as error:
        raise complaint(error, whole, source, Sweep, _MODELS) from error


def make_sweep(data: Mapping[str, Any], folder: AnyPath = ".") -> Sweep:
    """A sweep from a mapping of the sweep file's keys; relative paths start from `folder`.

    Raises InputError as load_sweep does, naming the key.
    """
    return _checked(dict(data), Source(path=None, folder=Path(folder), text=""))


def _checked(data: Any, source: Source, find_images: FindImages | None = None) -> Sweep:
    if not isinstance(data, dict):
        raise InputError(
            "a sweep is a mapping of keys",
            where=source.where(()),
            hint="Start from examples/demo.yaml: name, model, prompt, facets, seeds, settings.",
        )
    _check_texts(data, source, ())
    try:
        sweep = Sweep.model_validate(data)
    except ValidationError as error:
        raise complaint(error, data, source, Sweep, _MODELS) from error
    sweep._source = source
    wildcards = source.folder / sweep.wildcards if sweep.wildcards else None
    if wildcards is not None and not wildcards.is_dir():
        raise InputError(f"there is no folder {wildcards}", where=source.where(("wildcards",)))
    sweep._values = {
        name: facet_values(name, facet, source, wildcards, find_images, sweep.bound(name))
        for name, facet in sweep.facets.items()
    }
    return sweep


def _check_texts(value: Any, source: Source, place: Place) -> None:
    if isinstance(value, str):
        check_text(value, source.where(place))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_text(str(key), source.where(place))
            _check_texts(inner, source, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_texts(inner, source, (*place, index))


_MODELS: Final[dict[str, type[Strict]]] = {
    "settings": Settings,
    "loras": LoraSetting,
    "form:entry": ValueEntry,
    "form:mapping": ListedFacet,
    "form:file": FileFacet,
    "form:dynamic": DynamicFacet,
    "form:images": ImagesFacet,
    "form:frames": FramesFacet,
    "form:catalog": CatalogFacet,
    "form:styles": StylesFacet,
    "styles": StyleUse,
    "form:count": SeedCount,
    "form:range": SeedRange,
    "format": Format,
    "budget": Budget,
    "settled": Settled,
    "adaptive": Adaptive,
    "price": Price,
    "engine": RunEngine,
    "scoring": Scoring,
    "marking": Marking,
    "timestamp": Timestamp,
    "connections": Connection,
    **WAY_SETTINGS,
}
