"""The statistics of a data card, counted from the rows of an export."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nonesuch.catalogs.schema import score_columns

_FACTS = ("encoder", "encoder_tag", "encoder_preprocessing", "aesthetic_head", "safety_version")


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows of what kind there are."""

    images: int
    flagged: int
    credentials: int  # with a C2PA manifest
    watermarks: int
    first: datetime | None  # when the earliest image was drawn
    last: datetime | None
    has_safety: bool  # whether there is a safety score


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model and how many images it drew."""

    name: str
    revision: str | None
    digest: str | None  # SHA-256 over the weights, hex
    backend: str
    images: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The distribution of one score over the rows that have it."""

    count: int
    mean: float
    sd: float
    low: float
    p5: float
    median: float
    p95: float
    high: float


def count_rows(table: pa.Table) -> RowCounts:
    """The counts of an export's rows."""
    times = pc.min_max(table["drawn_at"]).as_py()
    return RowCounts(
        images=table.num_rows,
        flagged=int(pc.sum(pc.equal(table["status"], "flagged")).as_py() or 0),
        credentials=table.num_rows - table["credential_digest"].null_count,
        watermarks=table.num_rows - table["watermark_id"].null_count,
        first=times["min"],
        last=times["max"],
        has_safety="safety" in table.column_names and table["safety"].null_count < table.num_rows,
    )


def facet_counts(table: pa.Table, column: str, *, example: str | None = None) -> list[tuple[str, int, str]]:
    """(value, rows, first value of the column `example`) of each value, the most frequent first."""
    counted: Counter[str] = Counter()
    examples: dict[str, str] = {}
    values = table[column].to_pylist()
    shown = table[example].to_pylist() if example else [""] * len(values)
    for value, text in zip(values, shown, strict=True):
        if value is not None:
            counted[str(value)] += 1
            examples.setdefault(str(value), str(text or ""))
    return [(value, count, examples[value]) for value, count in counted.most_common()]


def model_facts(table: pa.Table) -> list[ModelFacts]:
    """The models of the rows, the one with most images first."""
    names = ("model", "model_revision", "model_digest", "backend")
    counted = Counter(zip(*(table[name].to_pylist() for name in names), strict=True))
    return [
        ModelFacts(str(model or "unknown"), revision, digest, str(backend or "unknown"), count)
        for (model, revision, digest, backend), count in counted.most_common()
    ]


def score_figures(table: pa.Table) -> dict[str, Figures]:
    """The distribution of each score that any row has; flags as shares."""
    found = {}
    numbers = [f.name for f in table.schema if not pa.types.is_string(f.type)]
    for name in score_columns(table.select(numbers).schema):
        values = pc.cast(pc.drop_null(table[name]), pa.float64()).to_numpy()
        values = values[np.isfinite(values)]
        if len(values):
            low, p5, median, p95, high = np.quantile(values, (0, 0.05, 0.5, 0.95, 1))
            found[name] = Figures(
                len(values), float(values.mean()), float(values.std()), low, p5, median, p95, high
            )
    return found


def score_facts(table: pa.Table) -> dict[str, list[str]]:
    """What the rows say of how their scores were made: each fact with its values."""
    found: dict[str, list[str]] = {}
    for text in pc.unique(pc.drop_null(table["score_facts"])).to_pylist():
        try:
            facts = json.loads(text)
        except ValueError:
            continue
        for name in _FACTS:
            value = str(facts.get(name) or "")
            if value and value not in found.setdefault(name, []):
                found[name].append(value)
    return {name: values for name, values in found.items() if values}
