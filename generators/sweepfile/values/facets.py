"""Facets: the forms in which a sweep file may write one, and the values that each form stands for."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, StrictFloat, StrictInt, Tag, ValidationError

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.settings import Settings, Strict, sets, setting_of_facet
from nonesuch.generators.sweepfile.values.prompt_styles import PromptStyle, chosen_styles
from nonesuch.generators.sweepfile.values.value_files import ValueEntry
from nonesuch.generators.sweepfile.yaml_lines import Place, Source, check_text

MAX_VALUES: Final = 1_000_000  # values of one facet; they are held in memory
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value of a facet, as the matrix uses it."""

    name: str  # unique within the facet; what the catalog's column holds
    text: str  # what it puts into the prompt
    negative: str = ""  # what it puts into the negative prompt
    settings: Settings | None = None  # what it sets
    style: PromptStyle | None = None  # what it dresses prompt and negative prompt with


def _entry_form(value: Any) -> str:
    return "form:entry" if isinstance(value, dict | ValueEntry) else "form:plain"


Entry: TypeAlias = Annotated[
    Annotated[str | StrictInt | StrictFloat, Tag("form:plain")] | Annotated[ValueEntry, Tag("form:entry")],
    Discriminator(_entry_form),
]
Choose = Annotated[int, Field(ge=1, le=16, description="combinations of so many values")]


class ListedFacet(Strict):
    """Values spelled out, with combinations of several where `choose` says so."""

    values: Annotated[list[Entry], Field(min_length=1)]
    choose: Choose = 1
    joined_by: str = " and "


class FileFacet(Strict):
    """Values from a text file (one per line), a CSV file or a Parquet file."""

    file: Annotated[str, Field(min_length=1, description="relative to the sweep file")]
    column: Annotated[str, Field(description="column of the names; the first when left out")] | None = None
    text: Annotated[str, Field(description="column of the texts; the names when left out")] | None = None
    negative: Annotated[str, Field(description="column of the negative texts")] | None = None
    choose: Choose = 1
    joined_by: str = " and "


class DynamicFacet(Strict):
    """Random texts in dynamicprompts syntax: `{0.5::sunny|stormy} __weather__`."""

    dynamic: Annotated[str, Field(min_length=1)]
    draws: Annotated[int, Field(ge=1, le=100_000, description="different texts to draw")]
    seed: Annotated[int, Field(ge=0)] = 0


class ImagesFacet(Strict):
    """Images: each file of a folder or glob is a value that sets `init_image`, or what `sets` names."""

    images: Annotated[str, Field(min_length=1, description="folder or glob, relative to the sweep file")]
    sets: Literal["init_image", "mask", "control_image", "image_prompt_image"] = "init_image"


class FramesFacet(Strict):
    """Frames on the way that `settings: {between: …}` says: values of its `at`, from 0 to 1 in even steps."""

    frames: Annotated[int, Field(ge=2, le=10_000)]


class CatalogFacet(Strict):
    """Images to start from, chosen in a catalog: each is a value that sets `init_image` and `parent`.

    Its text in the prompt is the prompt that drew it.
    """

    catalog: Annotated[str, Field(min_length=1, description="output folder, relative to the sweep file")]
    where: (
        Annotated[str | list[str], Field(description="SQL condition of nonesuch query; a list: all hold")]
        | None
    ) = None
    order: Annotated[str, Field(description="column or expression, the best first")] | None = None
    top: Annotated[int, Field(ge=1, le=100_000, description="images at most")] = 20


class StylesFacet(Strict):
    """Styles of the web UI's styles.csv: each is a value that dresses the prompt; "none" goes without."""

    styles: Annotated[str, Field(min_length=1, description="CSV file, relative to the sweep file")]
    names: Annotated[list[str], Field(min_length=1, description="which; all when left out")] | None = None


class StyleUse(Strict):
    """Styles of the web UI's styles.csv that every prompt is dressed with, one after another."""

    file: Annotated[str, Field(min_length=1, description="CSV file, relative to the sweep file")]
    names: Annotated[list[str], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One image that a CatalogFacet chose."""

    recipe_id: str  # 64 hex digits
    path: Path  # of its file
    prompt: str  # the one that drew it


FindImages: TypeAlias = Callable[[CatalogFacet, Path], Sequence[FoundImage]]
"""Looks a CatalogFacet up; its folder is relative to the second argument. Raises InputError."""


def _form(value: Any) -> str:
    """Which form a facet is written in, so that a complaint is about that form alone."""
    forms = (
        ("file", FileFacet),
        ("dynamic", DynamicFacet),
        ("images", ImagesFacet),
        ("frames", FramesFacet),
        ("catalog", CatalogFacet),
        ("styles", StylesFacet),
    )
    for key, cls in forms:
        if isinstance(value, cls) or (isinstance(value, dict) and key in value):
            return f"form:{key}"
    return "form:mapping" if isinstance(value, dict | ListedFacet) else "form:list"


Facet: TypeAlias = Annotated[
    Annotated[Annotated[list[Entry], Field(min_length=1)], Tag("form:list")]
    | Annotated[ListedFacet, Tag("form:mapping")]
    | Annotated[FileFacet, Tag("form:file")]
    | Annotated[DynamicFacet, Tag("form:dynamic")]
    | Annotated[ImagesFacet, Tag("form:images")]
    | Annotated[FramesFacet, Tag("form:frames")]
    | Annotated[CatalogFacet, Tag("form:catalog")]
    | Annotated[StylesFacet, Tag("form:styles")],
    Discriminator(_form),
]


def facet_values(
    name: str,
    facet: Facet,
    source: Source,
    wildcards: Path | None,
    find_images: FindImages | None = None,
    bound: Sequence[str] = (),
) -> tuple[FacetValue, ...]:
    """The values of a facet, in order: lists as written, files read, random texts drawn, combinations made.

    Images of a catalog come from `find_images`; plain values set the options that are `bound` to the facet. Raises InputError for an unreadable file, a missing column, no values, too many values, two values
    of one name, and two values that would do exactly the same.
    """
    place: Place = ("facets", name)
    where = source.where(place)
    if isinstance(facet, DynamicFacet):
        from nonesuch.generators.sweepfile.values.wildcards import draw_texts

        texts = draw_texts(facet.dynamic, facet.draws, facet.seed, wildcards, where=where)
        values = [_value(name, text, where) for text in texts]
    elif isinstance(facet, ImagesFacet):
        values = _image_files(facet, source, where)
    elif isinstance(facet, FramesFacet):
        values = _frames(facet.frames)
    elif isinstance(facet, CatalogFacet):
        values = _catalog_images(facet, source, where, find_images)
    elif isinstance(facet, StylesFacet):
        names = None if facet.names is None else tuple(facet.names)
        styles = chosen_styles(source.folder / facet.styles, names, where=where)
        values = [FacetValue(style.name, style.name, style=style) for style in styles]
    elif isinstance(facet, FileFacet):
        from nonesuch.generators.sweepfile.values.value_files import read_values

        rows = read_values(source.folder / facet.file, facet.column, facet.text, facet.negative, where=where)
        values = [_value(name, entry, where, bound) for entry in itertools.islice(rows, MAX_VALUES + 1)]
        values = _combinations(values, facet.choose, facet.joined_by, where)
    else:
        listed = facet if isinstance(facet, ListedFacet) else ListedFacet(values=facet)
        inside = (*place, "values") if isinstance(facet, ListedFacet) else place
        values = [
            _value(name, entry, source.where((*inside, index)), bound)
            for index, entry in enumerate(listed.values)
        ]
        values = _combinations(values, listed.choose, listed.joined_by, where)
    if not values:
        raise InputError("the facet has no values", where=where)
    if len(values) > MAX_VALUES:
        raise InputError(f"the facet has over {MAX_VALUES:,} values", where=where)
    _refuse_doubles(values, where)
    return tuple(values)


def number_type(facet: Facet) -> Literal["int64", "float64"] | None:
    """What holds the values of a facet that is written as numbers alone; None: they are text."""
    listed = facet.values if isinstance(facet, ListedFacet) and facet.choose == 1 else facet
    entries = listed if isinstance(listed, list) else []
    numbers = [value for value in entries if isinstance(value, int | float) and abs(value) < 2**63]
    if not entries or len(numbers) < len(entries):
        return None
    return "int64" if all(isinstance(value, int) for value in numbers) else "float64"


def _image_files(facet: ImagesFacet, source: Source, where: str) -> list[FacetValue]:
    """A value for each image, named by its file; names of one stem keep their suffix."""
    wanted = source.folder / facet.images
    pattern = wanted / "*" if wanted.is_dir() else wanted
    paths = sorted(
        path
        for path in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        if path.suffix.lower() in _PICTURES and path.is_file()
    )
    if not paths:
        raise InputError(
            f"there are no images in {wanted}", where=where, hint=f"Known: {', '.join(sorted(_PICTURES))}."
        )
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
    return [
        FacetValue(name, name, "", setting_of_facet(facet.sets, str(path.resolve())))
        for name, path in zip(names, paths, strict=True)
    ]


def _frames(count: int) -> list[FacetValue]:
    """A value for each frame, numbered from 0 with leading zeros, so that names sort as the frames do."""
    digits = len(str(count - 1))
    return [
        FacetValue(name, name, "", setting_of_facet("between_at", index / (count - 1)))
        for index in range(count)
        for name in [f"{index:0{digits}d}"]
    ]


def _catalog_images(
    facet: CatalogFacet, source: Source, where: str, find_images: FindImages | None
) -> list[FacetValue]:
    if find_images is None:
        raise InputError("a facet of a catalog's images needs a catalog to search", where=where)
    try:
        found = find_images(facet, source.folder)
    except InputError as error:
        raise InputError(
            f"{error.where}: {error.message}" if error.where else error.message, where=where, hint=error.hint
        ) from error
    if not found:
        raise InputError(f"no image in {facet.catalog} meets the condition", where=where)
    return [
        FacetValue(
            image.recipe_id[:12],
            image.prompt,
            "",
            Settings(init_image=str(image.path), parent=image.recipe_id),
        )
        for image in found
    ]


def _value(facet: str, entry: Entry, where: str, bound: Sequence[str] = ()) -> FacetValue:
    """The value that one entry stands for; a plain value of a facet named like a setting sets it."""
    plain = not isinstance(entry, ValueEntry)
    name = str(entry) if plain else entry.name  # type: ignore[union-attr]
    if not name.strip():
        raise InputError("a facet value is empty", where=where, hint="Give it a name and `text: ''`.")
    settings: Settings | None = None
    if isinstance(entry, ValueEntry):
        settings = entry.settings
    if sets(facet) and settings is None:
        try:
            settings = setting_of_facet(facet, name if isinstance(entry, ValueEntry) else entry)
        except ValidationError as error:
            raise InputError(
                f"{name!r} is not a value for {facet} ({error.errors()[0]['msg']})", where=where
            ) from error
    elif bound and settings is None:
        value = entry if not isinstance(entry, ValueEntry) else (entry.text or name)
        settings = Settings(options=dict.fromkeys(bound, value))
    if isinstance(entry, ValueEntry):
        text = name if entry.text is None else entry.text
        return FacetValue(name, text, entry.negative, settings)
    return FacetValue(name, name, "", settings)


def _combinations(values: Sequence[FacetValue], choose: int, joined_by: str, where: str) -> list[FacetValue]:
    """Every combination of `choose` values, in order; their texts joined, their settings one after another."""
    if choose == 1:
        return list(values)
    if choose > len(values):
        raise InputError(
            f"choose: {choose} needs at least {choose} values; it has {len(values)}", where=where
        )
    count = math.comb(len(values), choose)
    if count > MAX_VALUES:
        raise InputError(
            f"choose: {choose} of {len(values)} values makes {count:,} combinations", where=where
        )
    if any(value.settings is not None for value in values):
        raise InputError("values that carry settings can't be combined with choose", where=where)
    return [_joined(mix, joined_by) for mix in itertools.combinations(values, choose)]


def _joined(mix: Iterable[FacetValue], joined_by: str) -> FacetValue:
    parts = list(mix)
    return FacetValue(
        " + ".join(value.name for value in parts),
        joined_by.join(value.text for value in parts),
        ", ".join(value.negative for value in parts if value.negative),
    )


def _refuse_doubles(values: Sequence[FacetValue], where: str) -> None:
    names: set[str] = set()
    effects: dict[tuple[str, str, str], str] = {}
    for value in values:
        check_text(value.name + value.text + value.negative, where)
        if value.name in names:
            raise InputError(f"two values are named {value.name!r}", where=where)
        names.add(value.name)
        settings = value.settings.model_dump_json() if value.settings else ""
        twin = effects.setdefault((value.text, value.negative, settings), value.name)
        if twin != value.name:
            raise InputError(
                f"{twin!r} and {value.name!r} expand to the same text and would draw each image twice",
                where=where,
            )
