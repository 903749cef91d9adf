"""What a run has to say at its end, from the catalog it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalogs.query import Catalog
from flows.job import Job
from flows.progress import Tally

TOP = 10  # images named in the summary


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of one run of a sweep."""

    sweep: str  # its name
    out: str  # its output folder
    planned: int  # recipes that this run had to draw
    done: int  # images drawn and published in this run
    failed: int  # recipes without an image
    flagged: int  # images that look black or blank
    seconds: float  # from the first shard to the last
    top: Sequence[Mapping[str, Any]]  # the best images of the sweep, over all its runs
    by_facet: Sequence[Mapping[str, Any]]  # mean scores for each facet value
    ended_by: str | None = None  # why it ended before everything was drawn

    @property
    def images_per_second(self) -> float:
        """Throughput of this run; 0 when it drew nothing."""
        return self.done / self.seconds if self.done and self.seconds else 0.0

    def markdown(self) -> str:
        """The summary as a Markdown document, for Prefect's page of the run."""
        lines = [
            f"# {_cell(self.sweep)}",
            "",
            f"{self.done} images drawn, {self.failed} failed, {self.flagged} flagged, "
            f"of {self.planned} planned; {self.images_per_second:.2f} images/s."
            + (f" Ended early: {_cell(self.ended_by)}." if self.ended_by else ""),
            "",
        ]
        for title, rows in (("Best images", self.top), ("Means by facet", self.by_facet)):
            if rows:
                lines += [f"## {title}", "", *_table(rows), ""]
        return "\n".join(lines)


def summarise(job: Job, tally: Tally, seconds: float, ended_by: str | None = None) -> Summary:
    """Read the sweep's rows back and rank them."""
    return Summary(
        sweep=job.sweep.name,
        out=str(job.out),
        planned=tally.total,
        done=tally.done,
        failed=tally.failed,
        flagged=tally.flagged,
        seconds=seconds,
        top=_top(job),
        by_facet=_by_facet(job),
        ended_by=ended_by,
    )


def _scores(job: Job) -> list[str]:
    known = job.schema(None).names
    return [name for name in ("aesthetic", "alignment") if name in known]


def _top(job: Job) -> list[dict[str, Any]]:
    scores = _scores(job)
    if not scores:
        return []
    columns = [*job.facets, "seed", *scores, "file"]
    rows = Catalog(job.out).query(
        where=f"sweep = '{job.sweep.name}' and status = 'ok'", order=scores[0], top=TOP, columns=columns
    )
    return [_rounded(row) for row in rows.to_dict("records")]


def _by_facet(job: Job) -> list[dict[str, Any]]:
    scores = _scores(job)
    rows: list[dict[str, Any]] = []
    for facet in job.facets:
        means = Catalog(job.out).query(where=f"sweep = '{job.sweep.name}'", group=facet)
        for record in means.to_dict("records"):
            kept = {name: record[name] for name in ("images", "failed", *(f"{s}_mean" for s in scores))}
            rows.append(_rounded({"facet": facet, "value": record[facet], **kept}))
    return rows


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(rows[0])
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return head + ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]


def _cell(value: Any) -> str:
    """Text from a sweep file, made harmless inside a Markdown table."""
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return text.replace("<", "&lt;").replace("`", "\\`").replace("[", "\\[")
