"""A rescoring: its scorers, the rows it concerns, and the new values of their columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nonesuch.catalogs.image_files import read_original
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.storage.rewrite import ROW
from nonesuch.flows.reporting.progress import Counter
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.images import RGB, decode_rgb
from nonesuch.scoring.base import Caption, Encoder, Scorer
from nonesuch.scoring.scorers import open_scorers, scoring_columns
from nonesuch.scoring.scores import encoder_facts, score_images

BATCH = 32  # images scored together
_READERS = 4  # threads that read and decode
_FLAGGED = "its safety score is below the sweep's threshold"  # as a sweep says it
FACETS = "facets"  # the scorer that needs a sweep's facet values


@dataclass
class Rescoring:
    """One rescoring: an opened encoder, the scorers, and the columns they fill."""

    out: Path
    encoder: Encoder
    encoder_text: str  # as the catalog's `encoder` column says it
    new_encoder: bool  # whether rows have embeddings of another one
    names: tuple[str, ...]  # of the scorers
    schema: pa.Schema  # the catalog's, as it will be
    again: bool
    aesthetic: str | None
    safety_threshold: float | None
    online: bool
    facet_texts: Mapping[str, Mapping[str, Mapping[str, str]]]  # sweep → facet → value → text
    templates: Mapping[str, str | None]  # sweep → prompt template
    facets: tuple[str, ...]  # facet columns of the catalog
    _opened: dict[str | None, list[Scorer]] = field(default_factory=dict)

    @property
    def key(self) -> list[Any]:
        """All that decides the scores, as plain data."""
        told = [self.names, encoder_facts(self.encoder), self.aesthetic, self.safety_threshold]
        return [*told, {sweep: dict(texts) for sweep, texts in self.facet_texts.items()}]

    @property
    def score_names(self) -> list[str]:
        """The score columns that are filled."""
        facets = named_facets(self.facets, self.facet_texts)
        return [column.name for column in scoring_columns(self.names, facets) if column.type != "string"]

    @property
    def columns_needed(self) -> list[str]:
        """The columns of a row that are read."""
        base = (
            "recipe_id",
            "sweep",
            "file",
            "sha256",
            "prompt",
            "status",
            "reason",
            "encoder",
            "score_facts",
        )
        known = [name for name in self.score_names if name in self.schema.names]
        return list(dict.fromkeys([*base, *self.facets, *known]))

    def is_done(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has the scores that would be made now."""
        if self.again or row["encoder"] != self.encoder_text:
            return False
        try:
            facts = json.loads(row["score_facts"] or "{}")
        except ValueError:
            return False
        sweep = self._facet_sweep(row)
        wanted = {**encoder_facts(self.encoder)}
        for scorer in self._scorers(sweep):
            wanted |= scorer.facts
        ran = set(str(facts.get("scorers", "")).split(","))
        filled = all(
            scorer.name in ran
            or all(row[column.name] is not None for column in _numbers(scorer) if column.name in row)
            for scorer in self._scorers(sweep)
        )
        return filled and all(facts.get(name) == value for name, value in wanted.items())

    def score(self, rows: Sequence[dict[str, Any]], numbers: Sequence[int], counter: Counter) -> pa.Table:
        """New column values of those rows, which have the given numbers in their part.

        Rows that can't be read are left out, or emptied when their scores are another encoder's; the
        table's metadata counts the others as `scored` and names them as `unread`. Raises ScoringError for a scorer that fails.
        """
        found: list[dict[str, Any]] = []
        unread: list[tuple[str, str]] = []
        with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
            for start in range(0, len(rows), BATCH):
                some = list(zip(rows[start : start + BATCH], numbers[start : start + BATCH], strict=True))
                images = pool.map(self._image, (row for row, _ in some))
                readable = []
                for (row, number), image in zip(some, images, strict=True):
                    if isinstance(image, str):
                        unread.append((str(row["file"]), image))
                        counter.count("failed")
                        if self._is_foreign(row):
                            found.append({ROW: number, "status": row["status"], "reason": row["reason"]})
                    else:
                        readable.append((row, number, image))
                readable.sort(key=lambda item: self._facet_sweep(item[0]) or "")
                for sweep, group in groupby(readable, key=lambda item: self._facet_sweep(item[0])):
                    found += self._scored(list(group), sweep)
                for row, _, _ in readable:
                    counter.count(str(row["status"]))
        told = {"unread": json.dumps(unread, ensure_ascii=False), "scored": str(len(rows) - len(unread))}
        return _table(found, self.schema, self.score_names, told)

    def _scored(
        self, some: Sequence[tuple[dict[str, Any], int, RGB]], sweep: str | None
    ) -> list[dict[str, Any]]:
        texts = self.facet_texts.get(sweep or "", {})
        captions = [
            Caption(
                row["prompt"] or "", {facet: _value_name(row[facet], names) for facet, names in texts.items()}
            )
            for row, _, _ in some
        ]
        scorers = self._scorers(sweep)
        scores = score_images([image for _, _, image in some], captions, self.encoder, scorers)
        facts = {**scores.facts, "scorers": ",".join(scorer.name for scorer in scorers)}
        found = []
        for place, (row, number, _) in enumerate(some):
            kept = {} if self._is_foreign(row) else {name: row[name] for name in self.score_names}
            values = {**kept, **{name: column[place].item() for name, column in scores.columns.items()}}
            if "alignment" in scores.columns and not row["prompt"]:
                values["alignment"] = None  # nothing to be aligned with
            found.append(
                {
                    ROW: number,
                    **values,
                    "encoder": self.encoder_text,
                    "score_facts": json.dumps(
                        _merged(None if self._is_foreign(row) else row["score_facts"], facts)
                    ),
                    EMBEDDING: scores.embeddings[place].astype(np.float16),
                    **_outcome(row, values),
                }
            )
        return found

    def _is_foreign(self, row: Mapping[str, Any]) -> bool:
        """Whether the row has the scores of another encoder."""
        return row["encoder"] not in (None, self.encoder_text)

    def _image(self, row: Mapping[str, Any]) -> RGB | str:
        """The image of a row, or why there is none."""
        try:
            return decode_rgb(read_original(self.out, row), where=str(row["file"]))
        except (InputError, CatalogError) as error:
            return error.message

    def _scorers(self, sweep: str | None) -> list[Scorer]:
        if sweep not in self._opened:
            names = [name for name in self.names if sweep is not None or name != FACETS]
            self._opened[sweep] = open_scorers(
                names,
                self.encoder,
                facet_texts=self.facet_texts.get(sweep or "", {}),
                template=self.templates.get(sweep or ""),
                aesthetic_head=self.aesthetic,
                safety_threshold=self.safety_threshold,
                online=self.online,
            )
        return self._opened[sweep]

    def _facet_sweep(self, row: Mapping[str, Any]) -> str | None:
        """The row's sweep when its facets can be recognised, else None: those rows have no facet scores."""
        texts = self.facet_texts.get(str(row["sweep"]))
        if FACETS not in self.names or not texts:
            return None
        fits = all(_value_name(row.get(facet), values) in values for facet, values in texts.items())
        return str(row["sweep"]) if fits else None


def named_facets(facets: Sequence[str], texts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The facets that any sweep has texts of, in the catalog's order."""
    return [facet for facet in facets if any(facet in found for found in texts.values())]


def _numbers(scorer: Scorer) -> list[Any]:
    return [column for column in scorer.columns(scorer.facets) if column.type != "string"]


def _value_name(value: Any, names: Iterable[str]) -> str:
    """The sweep file's name of a facet's value: for the catalog's 5.0 it may be 5."""
    if isinstance(value, float):
        return next((name for name in names if _is_number(name, value)), str(value))
    return str(value)


def _is_number(name: str, value: float) -> bool:
    try:
        return float(name) == value
    except ValueError:
        return False


def _merged(text: str | None, facts: Mapping[str, str]) -> dict[str, Any]:
    """The row's facts with the new ones."""
    try:
        old = json.loads(text or "{}")
    except ValueError:
        old = {}
    ran = {*str(old.get("scorers", "")).split(","), *facts["scorers"].split(",")} - {""}
    return {**old, **facts, "scorers": ",".join(sorted(ran))}


def _outcome(row: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Status and reason: only what the safety score decides changes."""
    status, reason = row["status"], row["reason"]
    if "safety_flag" in values:
        if values["safety_flag"] and status == "ok":
            status, reason = "flagged", _FLAGGED
        elif not values["safety_flag"] and status == "flagged" and reason == _FLAGGED:
            status, reason = "ok", None
    return {"status": status, "reason": reason}


def _table(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema, scores: Sequence[str], told: Mapping[str, str]
) -> pa.Table:
    """The new values, text as plain strings; `told` is its metadata."""
    fields = [pa.field(ROW, pa.int64())]
    for name in [*scores, "encoder", "score_facts", EMBEDDING, "status", "reason"]:
        kind = schema.field(name).type
        fields.append(pa.field(name, kind.value_type if pa.types.is_dictionary(kind) else kind))
    arrays = [pa.array([row.get(one.name) for row in rows], one.type) for one in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=told))
