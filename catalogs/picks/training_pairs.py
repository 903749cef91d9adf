"""Picks as training data: pairs of images of one prompt with the preferred one named, as Pick-a-Pic has them.

The columns are those of the Pick-a-Pic data set (Kirstain et al., NeurIPS 2023) as far as they apply, so that
what trains on it (PickScore, diffusion DPO) reads these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.picks.log import PickLog
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import literal
from nonesuch.catalogs.storage.parts import replacing
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import storage_error
from nonesuch.foundation.images import read_limited

T = TypeVar("T")
COMPARED, PICKED = "comparison", "picked over rejected"
PER_PROMPT = 100  # pairs of a picked and a rejected image of one prompt at most
_IN_STATEMENT = 5000  # recipe ids in one statement
_IN_GROUP = 100  # pairs in a row group when images are in the file

_FIELDS = (
    ("caption", pa.string(), "the prompt of both images"),
    ("image_0_uid", pa.string(), "recipe id"),
    ("image_1_uid", pa.string(), "recipe id"),
    ("image_0_path", pa.string(), "file, relative to the output folder"),
    ("image_1_path", pa.string(), "file, relative to the output folder"),
    ("jpg_0", pa.binary(), "the file's bytes, in its own format"),
    ("jpg_1", pa.binary(), "the file's bytes, in its own format"),
    ("label_0", pa.float64(), "1 when the first image is the preferred one, else 0"),
    ("label_1", pa.float64(), "1 when the second image is the preferred one, else 0"),
    ("best_image_uid", pa.string(), "recipe id of the preferred one"),
    ("has_label", pa.bool_(), "always true"),
    ("model_0", pa.string(), "what drew the first image"),
    ("model_1", pa.string(), "what drew the second image"),
    ("user_id", pa.string(), "who said so"),
    ("created_at", pa.timestamp("us", tz="UTC"), "when"),
    ("source", pa.string(), f"{COMPARED}: someone compared the two; {PICKED}: verdicts on each"),
)


@dataclass(frozen=True, slots=True)
class PairsWritten:
    """What an export of pairs holds, and what it had to leave out."""

    comparisons: int
    from_verdicts: int
    other_prompts: int  # comparisons of images of different prompts, which no caption describes
    gone: int  # comparisons of which an image is no longer in the catalog, or has no file


@dataclass(frozen=True, slots=True)
class _Preference:
    winner: str
    loser: str
    who: str
    when: datetime
    source: str


def write_pairs(catalog: Catalog, log: PickLog, path: Path, *, images: bool = False) -> PairsWritten:
    """Write all pairs as one Parquet file: comparisons, then each prompt's picked over its rejected images.

    images  put the image files' bytes in, unchanged, besides their paths

    Of a prompt at most PER_PROMPT pairs come from verdicts, the same ones each time. Raises InputError when
    there is no pair or a file can't be read, StorageError when `path` can't be written.
    """
    compared = log.pairs()
    verdicts = {recipe_id: state for recipe_id, state in log.states().items() if state.verdict}
    ids = {name for pair in compared for name in (pair.winner, pair.loser)} | set(verdicts)
    facts = {i: row for i, row in image_facts(catalog, ids).items() if row["file"]}
    here = [pair for pair in compared if pair.winner in facts and pair.loser in facts]
    found = [
        _Preference(pair.winner, pair.loser, pair.who, pair.when, COMPARED)
        for pair in here
        if facts[pair.winner]["prompt"] == facts[pair.loser]["prompt"]
    ]
    comparisons = len(found)
    known = {frozenset((pair.winner, pair.loser)) for pair in found}
    by_prompt: dict[str, dict[str, list[str]]] = {}
    for recipe_id, state in verdicts.items():
        if recipe_id in facts:
            sides = by_prompt.setdefault(facts[recipe_id]["prompt"], {"picked": [], "rejected": []})
            sides[str(state.verdict)].append(recipe_id)
    for prompt in sorted(by_prompt):
        sides = by_prompt[prompt]
        couples = sorted(
            (c for c in product(sides["picked"], sides["rejected"]) if frozenset(c) not in known), key=_drawn
        )
        for winner, loser in couples[:PER_PROMPT]:
            later = max(verdicts[winner], verdicts[loser], key=lambda state: state.when)
            found.append(_Preference(winner, loser, later.who, later.when, PICKED))
    if not found:
        raise InputError(
            "there are no two images of one prompt with a preferred one among them",
            where=str(catalog.folder),
            hint="Compare images with `nonesuch prefer`, or pick some and reject some of the same prompt.",
        )
    _write(found, facts, catalog.folder if images else None, path)
    return PairsWritten(
        comparisons, len(found) - comparisons, len(here) - comparisons, len(compared) - len(here)
    )


def image_facts(catalog: Catalog, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Prompt, model and file of those images, by recipe id; what the catalog does not have is left out."""
    found: dict[str, dict[str, Any]] = {}
    for some in _batches(sorted(ids), _IN_STATEMENT):
        listed = ", ".join(literal(recipe_id) for recipe_id in some)
        sql = f"SELECT recipe_id, prompt, model, file FROM {{catalog}} WHERE recipe_id IN ({listed})"

        def work(session: Session, sql: str = sql) -> pa.Table:
            return session.sql(sql)

        found |= {row["recipe_id"]: row for row in catalog.engine.read(work).to_pylist()}
    return found


def _write(
    found: Sequence[_Preference], facts: Mapping[str, Mapping[str, Any]], folder: Path | None, path: Path
) -> None:
    schema = pa.schema(
        [
            pa.field(name, kind, metadata={"description": text})
            for name, kind, text in _FIELDS
            if folder is not None or pa.binary() != kind
        ]
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=["caption"]) as writer,
    ):
        for some in _batches(found, _IN_GROUP if folder else len(found)):
            writer.write_table(pa.Table.from_pylist(list(_rows(some, facts, folder)), schema=schema))


def _rows(
    found: Iterable[_Preference], facts: Mapping[str, Mapping[str, Any]], folder: Path | None
) -> Iterator[dict[str, Any]]:
    for pair in found:
        # In the order of the ids, which are hashes: the place says nothing about which one is better.
        first, second = sorted((pair.winner, pair.loser))
        row: dict[str, Any] = {
            "caption": facts[first]["prompt"],
            "best_image_uid": pair.winner,
            "has_label": True,
            "user_id": pair.who,
            "created_at": pair.when,
            "source": pair.source,
        }
        for number, recipe_id in enumerate((first, second)):
            file = facts[recipe_id]["file"]
            row |= {
                f"image_{number}_uid": recipe_id,
                f"image_{number}_path": file,
                f"label_{number}": float(recipe_id == pair.winner),
                f"model_{number}": facts[recipe_id]["model"],
            }
            if folder is not None:
                row[f"jpg_{number}"] = read_limited(folder / file)
        yield row


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _drawn(couple: tuple[str, str]) -> bytes:
    return sha256("".join(couple).encode()).digest()
