"""A catalog as verification asks it: provenance's CatalogLookup over catalogs' look-ups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nonesuch.catalogs.image_files import image_file
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search import lookup
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import AnyPath
from nonesuch.foundation.images import RGB
from nonesuch.provenance.verifying.catalog_protocol import CatalogRecord, MarkFrom

MARKED = "marked"  # what the `sweep` column says of images that other programs made
WATERMARK_FROM = "watermark_from"  # in the options of imported rows: "pixels", or "credential" that names it
MOST = 16  # records of one answer: each may cost a look at its file
_MOST_ROWS = 256  # rows near a fingerprint, from which they are chosen


class CatalogFolder:
    """A nonesuch.provenance.verifying.catalog_protocol.CatalogLookup over a catalog, open or by its path.

    It pickles as the catalog does.

    Raises InputError when there is no catalog there.
    """

    def __init__(self, catalog: AnyPath | Catalog) -> None:
        self._catalog = catalog if isinstance(catalog, Catalog) else Catalog(catalog)
        known = set(self._catalog.schema.names)
        self._columns = [name for name in RECORD_COLUMNS if name in known]

    @property
    def root(self) -> Path:
        """The output folder."""
        return self._catalog.folder

    def __reduce__(self) -> tuple[type[CatalogFolder], tuple[Catalog]]:
        return CatalogFolder, (self._catalog,)

    def by_watermark(self, payload: int) -> list[CatalogRecord]:
        """The images whose watermark carries `payload`, at most MOST, the most telling."""
        return self._records(lookup.by_watermark(self._catalog, payload, self._columns))

    def by_digest(self, sha256: str) -> list[CatalogRecord]:
        """The images whose file has this SHA-256."""
        return self._records(lookup.by_digest(self._catalog, sha256, self._columns))

    def by_phash(self, phash: int, distance: int) -> list[tuple[CatalogRecord, int]]:
        """The images within `distance` bits, each with its distance, the nearest first; at most MOST, as above."""
        found = lookup.by_phash(
            self._catalog, phash, max_distance=distance, top=_MOST_ROWS, columns=self._columns
        )
        away = {row["recipe_id"]: int(row["distance"]) for row in reversed(found)}  # the nearest counts
        records = self._records(found)
        return sorted(((one, away[one.image_id]) for one in records), key=lambda pair: pair[1])

    def phash(self, image: RGB) -> int:
        """The 64-bit perceptual hash as the catalog computes it."""
        return perceptual_hashes(image)["phash"]

    def _records(self, rows: list[dict[str, Any]]) -> list[CatalogRecord]:
        whole = ({name: row.get(name) for name in RECORD_COLUMNS} for row in rows)
        drawn = [row for row in whole if row["file"] or row["status"] == "removed"]
        drawn.sort(key=_knows_little)  # stable: the nearest of equals stays first
        return [_record(row, self._catalog.folder) for row in drawn[:MOST]]


_RECIPE_COLUMNS = (
    "backend", "model", "model_digest", "prompt", "negative_prompt", "seed", "width", "height", "steps",
    "guidance_scale", "scheduler", "dtype",
)  # fmt: skip
_RECIPE_SAYS = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "scheduler", "model")
RECORD_COLUMNS = (  # what a record is made of
    *_RECIPE_COLUMNS, "recipe_id", "sweep", "file", "sha256", "phash", "watermark_id", "credential_digest", "init_digest", "loras",
    "options", "source_type", "status", "strength", "mask_digest", "parent", "ways",
)  # fmt: skip


def _record(row: Mapping[str, Any], folder: Path) -> CatalogRecord:
    recipe = {name: row[name] for name in _RECIPE_COLUMNS}
    recipe |= {"loras": json.loads(row["loras"] or "[]"), "options": json.loads(row["options"] or "{}")}
    if not is_foreign(row):
        recipe |= start_of_row(row)
    known = any(row[name] not in (None, "") for name in _RECIPE_SAYS)
    return CatalogRecord(
        image_id=row["recipe_id"],
        watermark_id=row["watermark_id"] or None,
        path=row["file"] or row["recipe_id"],
        file=_file(row, folder),
        file_digest=row["sha256"],
        phash=row["phash"] or None,
        prompt=row["prompt"],
        recipe=recipe if known else None,
        generator=row["model"],
        manifest_digest=row["credential_digest"],
        source_type=_source_type(row),
        mark_from=_mark_from(row),
    )


def _file(row: Mapping[str, Any], folder: Path) -> Path | None:
    """Where the file lies now; None when it is gone, or lies elsewhere and is another one."""
    try:
        path = image_file(folder, row)
    except (InputError, StorageError):
        return None
    return path if path.exists() else None


def _source_type(row: Mapping[str, Any]) -> str | None:
    """What the row says of the image's origin. Rows of older catalogs don't say that they were drawn; a row whose
    id is a file's digest was marked or imported, and may be of any origin."""
    if "source_type" in row and row["source_type"] is not None:
        return str(row["source_type"])
    return None if is_foreign(row) else "trainedAlgorithmicMedia"


def start_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's data on the init image, of its ways, and of the size that it was asked for where
    the file has another, under the recipe's names."""
    options = _object(row.get("options"))
    found: dict[str, Any] = {
        "init_image_digest": row.get("init_digest"),
        "fit": options.get("fit"),
        **{name: options[name] for name in ("width", "height") if type(options.get(name)) is int},
        **{name: row.get(name) for name in ("strength", "mask_digest", "parent")},
        **_object(row.get("ways")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _object(text: Any) -> dict[str, Any]:
    """A JSON object from a column; empty where another program wrote something else."""
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_foreign(row: Mapping[str, Any]) -> bool:
    """Whether another program made the image: it was marked or imported."""
    return row["sweep"] == MARKED or row["recipe_id"] in (row["sha256"], row["init_digest"])


def _mark_from(row: Mapping[str, Any]) -> MarkFrom:
    if row["recipe_id"] != row["sha256"]:
        return "own"
    found = not row["watermark_id"] or _object(row["options"]).get(WATERMARK_FROM) == "pixels"
    return "pixels" if found else "credential"


def _knows_little(row: Mapping[str, Any]) -> tuple[bool, bool]:
    return _mark_from(row) != "own", row["source_type"] is None
