"""The summary at the end of a run, from the catalog it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nonesuch.catalogs.query import Catalog
from nonesuch.flows.repair.repairing import Repairs
from nonesuch.flows.reporting.progress import Tally
from nonesuch.flows.run.job import Job

TOP = 12  # images named in the summary
FETCHED = "a server or a stopped run had them already"
REASONS = 20  # reasons of failures named there


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of one run of a sweep."""

    sweep: str  # its name
    out: str  # its output folder, or URL
    planned: int  # recipes that this run had to draw
    done: int  # images drawn or fetched, and published, in this run
    failed: int  # recipes without an image
    flagged: int  # images that look black or blank
    seconds: float  # from the first shard to the last
    top: Sequence[Mapping[str, Any]]  # the best images of the sweep, over all its runs
    by_facet: Sequence[Mapping[str, Any]]  # mean scores for each facet value
    ended_by: str | None = None  # why it ended before everything was drawn
    started: str = ""  # ISO 8601, UTC
    order: str | None = None  # what `top` is ranked by
    failures: Sequence[Mapping[str, Any]] = ()  # status, reason and count, over all runs, most frequent first
    work: Mapping[str, float] = field(
        default_factory=dict
    )  # seconds this run's images took to draw, score, mark
    device_hours: float = 0.0  # of this run: wall-clock hours times devices
    device_price: float | None = None  # device hours times the sweep's `price`
    currency: str = ""
    page: str | None = None  # the same as an HTML file, relative to the output folder
    cost: float = 0.0  # US dollars that services took in this run: the sum of the catalog's column
    fetched: int = 0  # of the done ones, images that a server or a stopped run had already
    # catalogued images of the sweep that were gone at the start, where the run repairs nothing
    missing: int = 0
    repaired: Repairs | None = None  # what `--repair` mended

    @property
    def drawn(self) -> int:
        """Images drawn in this run."""
        return self.done - self.fetched

    @property
    def fetched_told(self) -> str:
        """The fetched images, to be put after the drawn ones in a list; empty when there are none."""
        return f", {self.fetched} fetched ({FETCHED})" if self.fetched else ""

    @property
    def images_per_second(self) -> float:
        """Drawn images per second of this run; 0 when it drew nothing."""
        return self.drawn / self.seconds if self.drawn and self.seconds else 0.0

    @property
    def price_told(self) -> str:
        """The price of the device hours with its currency; empty when the sweep names none."""
        return "" if self.device_price is None else f"{self.device_price:,.2f} {self.currency}"

    def markdown(self) -> str:
        """The summary as a Markdown document, for Prefect's page of the run."""
        lines = [
            f"# {_cell(self.sweep)}",
            "",
            f"{self.drawn} images drawn{self.fetched_told}, {self.failed} failed, {self.flagged} flagged, "
            f"of {self.planned} planned; {self.images_per_second:.2f} images/s."
            + (f" Services took about ${self.cost:.2f}." if self.cost else "")
            + (f" Ended early: {_cell(self.ended_by)}." if self.ended_by else "")
            + (f" {self.missing} catalogued images are missing." if self.missing else "")
            + "".join(f" {_cell(line)}." for line in (self.repaired.told() if self.repaired else ())),
            "",
            f"{self.device_hours:.3f} device hours"
            + (f", {_cell(self.price_told)}." if self.price_told else "."),
            "",
        ]
        for title, rows in (
            ("Best images", self.top),
            ("Means by facet", self.by_facet),
            ("Failures", self.failures),
        ):
            if rows:
                lines += [f"## {title}", "", *_table(rows), ""]
        return "\n".join(lines)


def summarise(
    job: Job,
    tally: Tally,
    seconds: float,
    ended_by: str | None = None,
    device_hours: float = 0.0,
    cost: float = 0.0,
) -> Summary:
    """Read the sweep's rows back and rank them; `seconds`, `device_hours` and `cost` (US dollars to services) are
    this run's."""
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    price = job.sweep.price
    return Summary(
        sweep=job.sweep.name,
        out=job.place,
        planned=tally.total,
        done=tally.done,
        failed=tally.failed,
        flagged=tally.flagged,
        fetched=tally.fetched,
        seconds=seconds,
        top=_top(job),
        by_facet=_by_facet(job),
        ended_by=ended_by,
        started=started.isoformat(timespec="seconds"),
        order=ranking(job),
        failures=_failures(job),
        work=_work(job, started),
        device_hours=device_hours,
        device_price=None if price is None else device_hours * price.gpu_hour,
        currency="" if price is None else price.currency,
        cost=round(cost, 6),
    )


def ranking(job: Job) -> str | None:
    """The score that the sweep itself goes by, else the aesthetic score; None when it has none."""
    for wish in (job.sweep.adaptive, job.sweep.settled):
        if wish is not None:
            return wish.order
    return next(iter(_scores(job)), None)


def _scores(job: Job) -> list[str]:
    known = job.schema(None).names
    return [name for name in ("aesthetic", "alignment") if name in known]


def _top(job: Job) -> list[dict[str, Any]]:
    scores, order = _scores(job), ranking(job)
    if order is None:
        return []
    columns = [*job.facets, "seed", *scores, "file"]
    rows = Catalog(job.out).query(
        where=f"sweep = '{job.sweep.name}' and status = 'ok'",
        order=order,
        descending=True,
        top=TOP,
        columns=columns,
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


def _failures(job: Job) -> list[dict[str, Any]]:
    """Why images of the sweep failed or were flagged, most frequent first."""
    table = Catalog(job.out).engine.read(
        lambda session: session.sql(
            "SELECT CAST(status AS VARCHAR) AS status, coalesce(reason, '') AS reason, count(*) AS images "
            f"FROM {{catalog}} WHERE sweep = '{job.sweep.name}' AND status IN ('failed', 'flagged') "
            f"GROUP BY ALL ORDER BY images DESC, reason LIMIT {REASONS}"
        )
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _work(job: Job, started: datetime) -> dict[str, float]:
    """Seconds that the images since `started` took, by stage."""
    sums = ", ".join(f"coalesce(sum({stage}_seconds), 0.0) AS {stage}" for stage in ("draw", "score", "mark"))
    table = Catalog(job.out).engine.read(
        lambda session: session.sql(
            f"SELECT {sums} FROM {{catalog}} WHERE sweep = '{job.sweep.name}' "
            f"AND drawn_at >= TIMESTAMPTZ '{started.isoformat()}'"
        )
    )
    return {stage: round(float(seconds), 3) for stage, seconds in table.to_pylist()[0].items()}


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
