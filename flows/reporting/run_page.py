"""A run's report as one HTML file in the output folder, readable without server or network.

OUT/reports/SWEEP-DATE-TIME.html: thumbnails inside, no scripts, everything from sweep and catalog escaped,
no folder of this machine named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.sheets.html import inline_picture
from nonesuch.flows.reporting.summary import TOP, Summary
from nonesuch.flows.run.job import Job
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.naming import file_name, without_folders

FOLDER = "reports"
_STAGES = {"draw": "drawing", "score": "scoring", "mark": "marking, encoding and signing"}


def write_page(job: Job, summary: Summary) -> Summary:
    """Write the page; returns the summary with its place. Raises StorageError as atomic_write does."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    at = datetime.fromisoformat(summary.started)
    name = f"{FOLDER}/{job.sweep.name}-{at:%Y%m%d-%H%M%S}.html"
    environment = Environment(
        loader=PackageLoader("nonesuch.flows"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [
        {
            "picture": Markup(inline_picture(row, job.out)),  # escapes what it puts in itself
            "facets": " · ".join(file_name(str(row[facet])) for facet in job.facets),
            "scores": _scores_told(row),
            "prompt": row["prompt"],
            "seed": row["seed"],
            "file": file_name(row["file"]),
        }
        for row in _best(job, summary)
    ]
    page = environment.get_template("report.html").render(
        summary=summary,
        at=f"{at:%d %B %Y, %H:%M} UTC",
        lasted=_lasted(summary.seconds),
        catalogued=Catalog(job.out).count(f"sweep = '{job.sweep.name}' AND status <> 'failed'"),
        pictures=pictures,
        facets=_facets(summary.by_facet),
        ended_by=without_folders(summary.ended_by or ""),
        failures=[{**row, "reason": without_folders(row["reason"])} for row in summary.failures],
        work=_work(summary.work),
        prompt=job.sweep.prompt,
    )
    atomic_write(job.out / name, page.encode())
    return replace(summary, page=name)


def _best(job: Job, summary: Summary) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        Catalog(job.out)
        .query(
            f"sweep = '{job.sweep.name}' AND status = 'ok' AND file IS NOT NULL",
            order=summary.order,
            descending=None if summary.order is None else True,
            top=TOP,
            as_arrow=True,
        )
        .to_pylist()
    )
    return rows


def _scores_told(row: Mapping[str, Any]) -> list[str]:
    told = [(name, row.get(name)) for name in ("aesthetic", "alignment")]
    return [f"{name} {value:.3f}" for name, value in told if value is not None]


def _facets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each facet its values, best first, with each mean and its place between the lowest and the highest."""
    found = []
    for facet in dict.fromkeys(row["facet"] for row in rows):
        values = [row for row in rows if row["facet"] == facet]
        means = [name for name in values[0] if name.endswith("_mean")]
        if means:
            values.sort(key=lambda row: (row[means[0]] is None, -(row[means[0]] or 0.0)))
        lines = [
            {
                "value": file_name(str(row["value"])),
                "images": row["images"],
                "failed": row["failed"],
                "means": [_placed(row[mean], [other[mean] for other in values]) for mean in means],
            }
            for row in values
        ]
        found.append({"name": facet, "scores": [mean.removesuffix("_mean") for mean in means], "rows": lines})
    return found


def _placed(value: float | None, among: Sequence[float | None]) -> dict[str, Any]:
    known = [one for one in among if one is not None and one == one]
    if value is None or value != value:
        return {"text": "", "share": 0}
    span = max(known) - min(known)
    return {"text": f"{value:.3f}", "share": round(100 * (value - min(known)) / span) if span else 100}


def _work(work: Mapping[str, float]) -> list[dict[str, Any]]:
    whole = sum(work.values())
    return [
        {"name": _STAGES[stage], "seconds": seconds, "share": round(100 * seconds / whole)}
        for stage, seconds in work.items()
        if whole
    ]


def _lasted(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
