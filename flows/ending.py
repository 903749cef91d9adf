"""When a run ends early: its budget is spent, or its best images have settled. Looked at between two shards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from time import monotonic

from flows.job import Job
from flows.progress import Tally
from generators.recipe import Recipe

DEVICES = 1  # that one run draws on


class Ending:
    """Watches one run; `reason` says why it should end now."""

    def __init__(self, job: Job) -> None:
        self._budget = job.sweep.budget
        self._settled = job.sweep.settled
        self._job = job
        self._begun = monotonic()
        self._best: frozenset[str] = frozenset()
        self._since = 0  # images ended when the best last changed

    def within(self, recipes: Iterator[Recipe]) -> Iterator[Recipe]:
        """The recipes that the budget of images allows."""
        return recipes if self._budget.images is None else islice(recipes, self._budget.images)

    def allowed(self, total: int) -> int:
        """How many of `total` recipes the budget of images allows."""
        return total if self._budget.images is None else min(total, self._budget.images)

    def reason(self, tally: Tally) -> str | None:
        """Why the run should end before its next shard, None to go on."""
        hours = (monotonic() - self._begun) / 3600
        for limit, spent, unit in (
            (self._budget.hours, hours, "hours"),
            (self._budget.gpu_hours, hours * DEVICES, "GPU hours"),
        ):
            if limit is not None and spent >= limit:
                return f"the budget of {limit:g} {unit} is spent"
        return self._settling(tally.done + tally.failed)

    def _settling(self, ended: int) -> str | None:
        if self._settled is None:
            return None
        from catalogs.query import Catalog

        rows = Catalog(self._job.out).query(
            f"sweep = '{self._job.sweep.name}' AND status = 'ok'",
            order=self._settled.order,
            descending=True,
            top=self._settled.top,
            columns=["recipe_id"],
            as_arrow=True,
        )
        best = frozenset(rows["recipe_id"].to_pylist())
        if best != self._best:
            self._best, self._since = best, ended
            return None
        if ended - self._since < self._settled.patience:
            return None
        return f"the best {self._settled.top} have not changed for {ended - self._since} images"
