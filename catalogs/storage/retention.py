"""Retention: deletes the files of images that meet a condition; their rows stay with the status `removed`.

An image with a pick, stars, tags or a note is never deleted, nor one that another kept image was drawn
from, nor a file that lies outside the output folder. Rows, scores, embeddings, credentials' copies and the
recipe stay, so nothing is drawn again and a copy that turns up elsewhere is still recognised.

Rows change before files go. A journal names the files meanwhile; a run that was killed is finished by the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where, each_condition, identifier, told_condition
from nonesuch.catalogs.storage.amend import amend_rows
from nonesuch.catalogs.thumbnails import thumbnail_path
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write, storage_error

JOURNAL = ".retention.json"
BATCH = 10_000  # images that one step changes: a part is rewritten once for each step it has rows in
_SAID = "(pick = 'picked' OR stars IS NOT NULL OR len(tags) > 0 OR note IS NOT NULL)"
_COLUMNS = ("recipe_id", "file", "bytes")


@dataclass(frozen=True, slots=True)
class Policy:
    """Which images go: those that meet every condition that is given."""

    where: Where = None  # SQL conditions, for example "aesthetic < 4.5"; all of several hold
    older_than: float | None = None  # days since it was drawn
    keep_top: int | None = None  # the best so many by `order` stay whatever else holds
    keep_per: str | None = None  # column: the best `keep_top` of each of its values stay
    order: str = "aesthetic"  # column or SQL expression, high is good

    def check(self) -> None:
        """Raises InputError for a policy that says nothing, or numbers that are none."""
        if not each_condition(self.where) and self.older_than is None and self.keep_top is None:
            raise InputError(
                "no condition is given, so every image would be deleted",
                where="retention",
                hint="Use a condition, an age, or how many of the best stay.",
            )
        if self.older_than is not None and self.older_than < 0:
            raise InputError(f"an age of {self.older_than:g} days", where="older_than", hint="Use 0 or more.")
        if self.keep_per is not None and self.keep_top is None:
            raise InputError("needs keep_top, how many images of each to keep", where="keep_per")

    def told(self) -> str:
        """The policy in words, for the rows' `reason`."""
        parts = [told_condition(self.where)] if each_condition(self.where) else []
        if self.older_than is not None:
            parts.append(f"older than {self.older_than:g} days")
        if self.keep_top is not None:
            per = f" of each {self.keep_per}" if self.keep_per else ""
            parts.append(f"not among the best {self.keep_top}{per} by {self.order}")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Retention:
    """What a retention run did, or would do."""

    images: int  # whose files went, or would go
    bytes: int  # that those files take, thumbnails not counted
    spared: int  # images that meet the policy and stay: picked, starred, tagged, noted, or drawn from
    outside: int  # images that meet the policy and whose files lie outside the output folder
    applied: bool  # False: a dry run, nothing was changed
    first: tuple[str, ...]  # some of the files, relative to the output folder


def retain(out: Path, policy: Policy, *, apply: bool = False, shown: int = 10) -> Retention:
    """Delete the files of images that meet the policy; without `apply` only say which.

    The caller holds the output folder. Raises InputError for a policy without a condition or with a broken one,
    StorageError when a file can't be deleted.
    """
    policy.check()
    if apply:
        _finish(out)
    catalog = Catalog(out)
    meets = _meets(catalog, policy)
    parents = "recipe_id IN (SELECT parent FROM {catalog} WHERE parent IS NOT NULL AND file IS NOT NULL)"
    spared = f"({_SAID} OR {parents})"
    table = catalog.engine.read(
        lambda session: session.sql(
            f"SELECT {', '.join(_COLUMNS)}, coalesce({spared}, false) AS spared FROM {{catalog}} "
            f"WHERE recipe_id IN ({meets}) ORDER BY plan_index, recipe_id"
        )
    )
    rows = table.to_pylist()
    root = catalog.folder.resolve()
    free = [row for row in rows if not row["spared"]]
    going = [row for row in free if (root / row["file"]).resolve().is_relative_to(root)]
    told = Retention(
        images=len(going),
        bytes=sum(row["bytes"] or 0 for row in going),
        spared=len(rows) - len(free),
        outside=len(free) - len(going),
        applied=apply,
        first=tuple(row["file"] for row in going[:shown]),
    )
    if apply:
        reason = f"{datetime.now(UTC).date()} retention: {policy.told()}"
        for start in range(0, len(going), BATCH):
            _remove(root, going[start : start + BATCH], reason)
    return told


def _meets(catalog: Catalog, policy: Policy) -> str:
    """The recipe ids that meet the policy, as SQL."""
    conditions = ["file IS NOT NULL"]
    if each_condition(policy.where):
        conditions.append(catalog.condition(policy.where))
    if policy.older_than is not None:
        until = datetime.now(UTC) - timedelta(days=policy.older_than)
        conditions.append(f"drawn_at < TIMESTAMPTZ '{until.isoformat()}'")
    if policy.keep_top is not None:
        choice = catalog.choice(order=policy.order, descending=True)
        (per,) = catalog.column_names([policy.keep_per]) if policy.keep_per else (None,)
        window = f"PARTITION BY {identifier(per)} " if per else ""
        best = (
            f"SELECT recipe_id FROM (SELECT recipe_id, row_number() OVER ({window}ORDER BY {choice.order}) "
            f"AS place FROM {{catalog}} WHERE file IS NOT NULL) WHERE place <= {policy.keep_top}"
        )
        conditions.append(f"recipe_id NOT IN ({best})")
    return f"SELECT recipe_id FROM {{catalog}} WHERE {' AND '.join(conditions)}"


def _remove(root: Path, rows: Sequence[dict[str, Any]], reason: str) -> None:
    files = {row["recipe_id"]: row["file"] for row in rows}
    atomic_write(root / JOURNAL, json.dumps(files).encode())
    amend_rows(root, {i: {"status": "removed", "reason": reason, "file": None} for i in files})
    _delete(root, files)
    (root / JOURNAL).unlink()


def _finish(out: Path) -> None:
    """Delete what a killed run had taken from the catalog but not yet from the disk."""
    try:
        files: dict[str, str] = json.loads((out / JOURNAL).read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(
            f"this journal can't be read ({error})", where=str(out / JOURNAL), hint="Delete it."
        ) from error
    listed = ", ".join(f"'{recipe_id}'" for recipe_id in files if recipe_id.isalnum())
    still = Catalog(out).query(
        f"file IS NOT NULL AND recipe_id IN ({listed})", columns=["recipe_id"], as_arrow=True
    )
    named = set(still["recipe_id"].to_pylist())
    _delete(out, {recipe_id: file for recipe_id, file in files.items() if recipe_id not in named})
    (out / JOURNAL).unlink()


def _delete(root: Path, files: dict[str, str]) -> None:
    for recipe_id, file in files.items():
        path = root / file
        if not path.resolve().is_relative_to(root.resolve()):
            continue
        try:
            path.unlink(missing_ok=True)
            thumbnail_path(root, recipe_id).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
