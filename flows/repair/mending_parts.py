"""Mending the catalog's own files before a repair looks at images: damaged parts, doubled rows, the schema file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nonesuch.catalogs.storage.mending import keep_only, mend_schema_file, replace_rows, salvage, whole_rows
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, part_files, read_schema
from nonesuch.flows.repair import damage_found
from nonesuch.flows.repair.aside import Aside
from nonesuch.flows.repair.mending_beside import digests_of
from nonesuch.flows.run.job import Job
from nonesuch.foundation.errors import CatalogError


@dataclass(slots=True)
class MendedParts:
    """What came of it."""

    count: int = 0  # files of the catalog that were written again
    torn: dict[int, Mapping[str, Any]] = field(
        default_factory=dict
    )  # half readable rows by their recipe's key
    log: list[dict[str, Any]] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)  # what is left for others, a sentence each


def mend_parts(job: Job, aside: Aside) -> MendedParts:
    """Leave in each part the rows that can be read, one for each recipe. Raises StorageError."""
    mended = MendedParts()
    _keep_readable(job, aside, mended)
    if part_files(job.out) and (problem := damage_found.schema_problem(job.out)) is not None:
        path = catalog_folder(job.out) / SCHEMA_FILE
        if path.exists():
            aside.move(path)
        mend_schema_file(job.out, job.schema(None))
        mended.count += 1
        mended.log.append(
            {"file": f"catalog/{SCHEMA_FILE}", "did": "schema file written again", "why": problem}
        )
    _keep_one_of_two(job.out, mended)
    return mended


def _keep_readable(job: Job, aside: Aside, mended: MendedParts) -> None:
    sweep = job.sweep.name
    others: Counter[str] = Counter()
    for path in part_files(job.out):
        try:
            damage_found.read_rows(path)
        except CatalogError as error:
            saved = salvage(path)
            aside.copy(path)
            keep_only(path, saved.whole)
            mended.count += 1
            mended.log.append(
                {
                    "file": f"catalog/{path.name}",
                    "did": "damaged part: readable rows kept",
                    "why": error.message,
                }
            )
            for row in saved.torn:
                if row.get("sweep") == sweep:
                    mended.torn[int(row["recipe_id"][:16], 16)] = row
                else:
                    others[str(row.get("sweep") or "other sweeps")] += 1
            if not path.name.startswith(f"{sweep}-") and not saved.torn:
                mended.beyond.append(
                    f"{path.name} was damaged and may have held rows of other sweeps: `nonesuch check` names their images"
                )
    mended.beyond += [
        f"{count} rows of {name} were in a damaged part: run that sweep with --repair, too"
        for name, count in sorted(others.items())
    ]


def _keep_one_of_two(out: Path, mended: MendedParts) -> None:
    counts = Counter(row["recipe_id"] for path in part_files(out) for row in damage_found.read_rows(path))
    doubled = [recipe for recipe, count in counts.items() if count > 1]
    schema = read_schema(out)
    if not doubled or schema is None:
        return

    def worth(row: Mapping[str, Any]) -> tuple[bool, str]:
        # the row that fits its file, and of these the latest, comes last
        fits = row["file"] is not None and digests_of([out / row["file"]])[0] == row["sha256"]
        return fits, str(row.get("drawn_at") or "")

    kept = {row["recipe_id"]: row | {"cost": None} for row in sorted(whole_rows(out, doubled), key=worth)}
    replace_rows(out, list(kept.values()), schema)  # adds the cost, which both rows have
    mended.count += 1
    mended.log.append({"did": "one of two rows kept", "recipes": doubled})
