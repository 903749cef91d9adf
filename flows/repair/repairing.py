"""Healing what was lost of one sweep in an output folder: what `nonesuch run --repair` does before and after it draws.

Damaged parts keep the rows that can be read; the others are made again from image files that prove their recipe.
Missing and changed images are put back from elsewhere in the folder where they lie there, taken as they are where
their own credential proves them, and else handed to the run to be drawn again. What is replaced is kept aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nonesuch.catalogs.storage.mending import replace_rows
from nonesuch.catalogs.storage.parts import part_files
from nonesuch.flows.catalog_folder import is_foreign
from nonesuch.flows.repair import damage_found
from nonesuch.flows.repair.adopting import adopted, in_batches
from nonesuch.flows.repair.aside import Aside, log_repairs
from nonesuch.flows.repair.mending_beside import digests_of, mend_beside
from nonesuch.flows.repair.mending_parts import mend_parts
from nonesuch.flows.repair.missing import lost_images
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.publishing import publish
from nonesuch.flows.run.shard import embedding_dim
from nonesuch.flows.run.steps.catalog_rows import catalog_row
from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import Drawing
from nonesuch.generators.matrix.shards import Shard, cut_shards
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe

_CLOSE_BITS: Final = 6  # of the 64 of a perceptual hash: what looks the same
_HASHES: Final = ("phash", "dhash", "whash", "colorhash")
_ROUNDS: Final = 32  # shards of images that are drawn again: each rewrites the parts that hold its rows
_MOST: Final = 4096  # images in one of them


@dataclass(frozen=True, slots=True)
class Repairs:
    """What a run with `--repair` mended, and what it could not."""

    parts: int  # damaged files of the catalog that were written again, the schema file among them
    rows: int  # rows made again from image files, without drawing
    put_back: int  # images that lay elsewhere in the folder
    drawn: int  # images drawn again
    same: (
        int  # of these, as the old row describes them: all hashes, and the watermark's PSNR to the last digit
    )
    alike: int  # of these, with a perceptual hash within a few bits
    different: int  # of these, other images
    failed: int  # images that could not be drawn again; their rows stay
    left: int  # images that the budget did not allow
    beside: int  # manifests, thumbnails and indexes that were made again or taken away
    aside: str | None  # folder with what was replaced, relative to the output
    beyond: tuple[str, ...]  # what this run could not mend, a sentence each

    def told(self) -> list[str]:
        """The same in sentences."""
        counted = (
            (self.parts, "damaged catalog files written again"),
            (self.rows, "rows made again from their image files (scored anew; times and device are lost)"),
            (self.put_back, "images put back from elsewhere in the folder"),
            (self.beside, "manifests, thumbnails and indexes mended"),
        )
        lines = [f"{count} {what}" for count, what in counted if count]
        if self.drawn:
            pixels = (
                (self.same, "with the same pixels"),
                (self.alike, "that look the same"),
                (self.different, "that differ"),
            )
            lines.append(
                f"{self.drawn} images drawn again: " + ", ".join(f"{n} {what}" for n, what in pixels if n)
            )
        if self.failed:
            lines.append(f"{self.failed} images could not be drawn again; `nonesuch check` names them")
        if self.left:
            lines.append(f"{self.left} lost images are left for the next run: the budget is spent")
        if self.aside:
            lines.append(f"what was replaced is kept in {self.aside}")
        return [*lines, *self.beyond]


def check_repairable(job: Job) -> None:
    """Raise InputError for an output at a URL: what lies there is mended in a folder."""
    if job.url is not None:
        raise InputError(
            "--repair works in a folder, not at a URL",
            where=job.url,
            hint="Copy everything there into a folder with the storage's own tool, repair that folder, and "
            "`nonesuch push` it to another URL.",
        )


class Repair:
    """One repair of a job's folder, which the caller holds. `recipes` are to be drawn again."""

    def __init__(self, job: Job) -> None:
        """Mend all that needs no drawing. Raises StorageError, CatalogError, and what loading an encoder raises."""
        self._job, self._out = job, job.out
        self._aside = Aside(job.out)
        mended = mend_parts(job, self._aside)
        self._parts, self._torn = mended.count, mended.torn
        self._log, self._beyond = mended.log, mended.beyond
        self._made = self._put_back = 0
        self._moved: dict[str, Path] = {}  # changed files by the place they were taken from
        self._lost = self._mend_files(self._own_rows())
        whole = [row for recipe_id, row in self._own_rows().items() if recipe_id not in self._lost]
        self._beside, lasting = mend_beside(job, whole, self._aside)
        self._beyond += lasting
        log_repairs(job.out, self._log)

    @property
    def shard_size(self) -> int:
        """How many images a shard of `recipes` should have."""
        return max(self._job.sweep.shard_size, min(_MOST, -(-len(self.recipes) // _ROUNDS)))

    def announced(self) -> str | None:
        """What is about to be drawn again and, from a service, what that costs; None when nothing is."""
        if not self.recipes:
            return None
        prices = [price_of(recipe, self._job.facts(recipe)) for recipe in self.recipes]
        known = sum(price or 0.0 for price in prices)
        cost = f", about ${known:,.2f} by list price" if known else ""
        unknown = ", at a price that is not known" if None in prices else ""
        return f"{len(self.recipes):,} lost images are drawn again{cost}{unknown}"

    def ended(self, failed: int) -> Repairs:
        """What came of it, after the run drew; `failed` recipes of `recipes` could not be drawn."""
        now = self._own_rows()
        outcomes: Counter[str] = Counter()
        entries = []
        for recipe in self.recipes:
            old, new = self._lost[recipe.id], now.get(recipe.id)
            if new is None or new["sha256"] == old["sha256"]:
                continue
            outcome = _likeness(old, new)
            outcomes[outcome] += 1
            entries.append(
                {
                    "recipe_id": recipe.id,
                    "file": new["file"],
                    "did": "drawn again",
                    "pixels": outcome,
                    "sha256_before": old["sha256"],
                    "sha256": new["sha256"],
                }
            )
        log_repairs(self._out, entries)
        for file, kept in self._moved.items():
            # what was not drawn again is better changed than missing
            if kept.exists() and file in self._named and not (self._out / file).exists():
                self._aside.take_back(kept, self._out / file)
        drawn = outcomes.total()
        for sweep in self._others:
            if count := lost_images(self._job, sweep):
                self._beyond.append(
                    f"{count} images of {sweep} are missing or cut short, too: run that sweep with --repair"
                )
        return Repairs(
            parts=self._parts,
            rows=self._made,
            put_back=self._put_back,
            drawn=drawn,
            same=outcomes["same"],
            alike=outcomes["alike"],
            different=outcomes["different"],
            failed=failed,
            left=max(0, len(self.recipes) - drawn - failed),
            beside=self._beside,
            aside=self._aside.shown,
            beyond=tuple(self._beyond),
        )

    def _own_rows(self) -> dict[str, dict[str, Any]]:
        """The rows of the job's sweep by recipe id, without images that other programs made."""
        rows = [
            row
            for path in part_files(self._out)
            for row in damage_found.read_rows(path)
            if not is_foreign(row)
        ]
        # all of them: a sweep may share recipes with another
        self._keys = {int(row["recipe_id"][:16], 16) for row in rows}
        self._named = [row["file"] for row in rows if row["file"]]
        self._others = sorted({row["sweep"] for row in rows} - {self._job.sweep.name})
        return {row["recipe_id"]: row for row in rows if row["sweep"] == self._job.sweep.name}

    def _mend_files(self, own: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The rows whose images have to be drawn again; sets `recipes`."""
        named = {recipe_id: row for recipe_id, row in own.items() if row["file"]}
        digests = dict(
            zip(named, digests_of([self._out / row["file"] for row in named.values()]), strict=True)
        )
        lost = {i: row for i, row in named.items() if digests[i] != row["sha256"]}
        unnamed = damage_found.unnamed_images(self._out, self._job.sweep.name, self._named)
        strays = {key: file for file in unnamed if (key := _key(file)) is not None and key not in self._keys}
        wanted = {int(i[:16], 16) for i in lost} | strays.keys() | self._torn.keys()
        found = (
            {k: recipe for recipe in self._job.matrix if (k := recipe.watermark_id) in wanted}
            if wanted
            else {}
        )
        changed = [i for i in lost if digests[i] is not None]
        self._take_proven(
            lost, [(found[k], lost[i]["file"]) for i in changed if (k := int(i[:16], 16)) in found]
        )
        self._put_in_place(lost, unnamed, digests)
        self._make_rows(found, strays)
        self.recipes = [recipe for recipe in found.values() if recipe.id in lost]
        if gone := len(lost) - len(self.recipes):
            self._beyond.append(
                f"{gone} lost images are not in this sweep file any more (it, or its model, has changed): run the file "
                "that drew them with --repair"
            )
        return lost

    def _take_proven(self, lost: dict[str, dict[str, Any]], changed: Sequence[tuple[Recipe, str]]) -> None:
        """Changed files that are the finished image of their recipe nevertheless: only their rows are old."""
        for proven in in_batches(changed, self._job, own=True):
            for made in self._rows_of(proven):
                rows = [row | {"cost": None} for row in made]  # what was paid stands in the old row
                replace_rows(self._out, rows, self._job.schema(embedding_dim(rows)))
            for one in proven:
                del lost[one.recipe.id]
                self._note(self._out / one.file, "row made again from its file")
            self._made += len(proven)

    def _put_in_place(
        self, lost: dict[str, dict[str, Any]], unnamed: Sequence[str], digests: Mapping[str, str | None]
    ) -> None:
        """Take changed files out of the way, and files that lie in another's place to their own."""
        lying: dict[str, tuple[Path, bool]] = {}  # digest → file, and whether it was moved aside
        for recipe_id, row in lost.items():
            if (digest := digests[recipe_id]) is not None:
                kept_at = self._moved[row["file"]] = self._aside.move(self._out / row["file"])
                lying[digest] = (kept_at, True)
                self._note(self._out / row["file"], "changed file moved aside")
        for file, digest in zip(unnamed, digests_of([self._out / file for file in unnamed]), strict=True):
            if digest is not None:
                lying.setdefault(digest, (self._out / file, False))
        for recipe_id, row in list(lost.items()):
            kept, moved = lying.pop(row["sha256"], (None, False))
            if kept is None:
                continue
            target = self._out / row["file"]
            if moved:
                self._aside.take_back(kept, target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                kept.replace(target)
            del lost[recipe_id]
            self._put_back += 1
            self._note(target, "put back")

    def _make_rows(self, found: Mapping[int, Recipe], strays: Mapping[int, str]) -> None:
        """Rows for recipes that the catalog has lost: from their image files, or from what is left of their rows."""
        files = [
            (recipe, strays[key])
            for key, recipe in found.items()
            if key in strays and (self._out / strays[key]).exists()
        ]
        blurs = self._job.sweep.scoring.unsafe == "blur"  # a blurred file can't tell what was drawn
        taken = set()
        for proven in in_batches([] if blurs else files, self._job):
            for rows in self._rows_of(proven, manifests=True):
                taken |= {row["recipe_id"] for row in rows}
            self._made += len(proven)
        for recipe, file in files:
            if recipe.id not in taken:
                self._aside.move(self._out / file)
                self._note(self._out / file, "moved aside: nothing in it proves its recipe")
        bare = [
            r
            for key, r in found.items()
            if key not in self._keys and key in self._torn and _is_fileless(self._torn[key])
        ]
        for shard in cut_shards(bare, self._job.sweep.shard_size, sweep=self._job.sweep.name):
            rows = [self._bare_row(recipe, shard) for recipe in shard.recipes]
            publish(self._job, shard.name, rows, (), self._job.schema(embedding_dim(rows)))
            self._made += len(rows)

    def _rows_of(self, proven: Sequence[Any], *, manifests: bool = False) -> Iterator[list[dict[str, Any]]]:
        """The rows of proven files, shard by shard; with `manifests` they are published as new ones."""
        by_id = {one.recipe.id: one for one in proven}
        for shard in cut_shards((one.recipe for one in proven), len(proven) or 1, sweep=self._job.sweep.name):
            files = [by_id[recipe.id] for recipe in shard.recipes]
            rows = adopted(files, shard, self._job)
            if manifests:
                rows = [self._with_torn(row) for row in rows]
                stores = [one.report.store for one in files if one.report.store is not None]
                publish(self._job, shard.name, rows, stores, self._job.schema(embedding_dim(rows)))
                for one in files:
                    self._note(self._out / one.file, "row made again from its file")
            yield rows

    def _with_torn(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with whatever could be read of the old one, where that was of the same file."""
        old = self._torn.get(int(row["recipe_id"][:16], 16))
        if old is None or old.get("sha256") != row["sha256"]:
            return row
        known = self._job.schema(embedding_dim([row]))
        return row | {name: value for name, value in old.items() if value is not None and name in known.names}

    def _bare_row(self, recipe: Recipe, shard: Shard) -> dict[str, Any]:
        """The row of a recipe without a file, from the recipe and what could be read of the old row."""
        drawing = Drawing(recipe, None, "failed", "", 0.0, 1, "", "")
        job = self._job
        row = catalog_row(drawing, shard, job.facts(recipe).revision, job.facet_values(recipe), {}, None, {})
        old = self._torn[recipe.watermark_id]
        names = job.schema(embedding_dim([dict(old)]) if old.get("embedding") is not None else None).names
        return row | {name: value for name, value in old.items() if name in names}

    def _note(self, path: Path, did: str, why: str | None = None) -> None:
        entry = {"file": path.relative_to(self._out).as_posix(), "did": did}
        self._log.append(entry if why is None else {**entry, "why": why})


def _key(file: str) -> int | None:
    """The key that an image file is named by, None for other names."""
    stem = Path(file).stem
    try:
        return int(stem, 16) if len(stem) == 16 else None
    except ValueError:
        return None


def _is_fileless(row: Mapping[str, Any]) -> bool:
    return row.get("status") in ("failed", "removed") and row.get("file") is None and "file" in row


def _likeness(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """same, alike or different: the drawing of a row against that of the one before."""
    if not any(old[name] for name in _HASHES) or new["file"] is None:
        return "different"
    hashes = all((old[name] or 0) == (new[name] or 0) for name in _HASHES)
    if hashes and old["watermark_psnr"] == new["watermark_psnr"]:
        return "same"
    return "alike" if ((old["phash"] or 0) ^ (new["phash"] or 0)).bit_count() <= _CLOSE_BITS else "different"
