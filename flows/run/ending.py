"""Ending a run early: its budget is spent, or its best images no longer change. Checked between two shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic

from nonesuch.flows.reporting.progress import Counter, Tally
from nonesuch.flows.run.job import Job
from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe


class Ending:
    """Watches one run; `reason` says why it should end now."""

    def __init__(self, job: Job, devices: Callable[[], int]) -> None:
        """`devices` says how many draw side by side now."""
        self._budget = job.sweep.budget
        self._settled = job.sweep.settled
        self._job = job
        self._devices = devices
        self._begun = self._looked = monotonic()
        self._device_seconds = 0.0
        self._best: frozenset[str] = frozenset()
        self._drawing = False
        self.ended_by: str | None = None  # why no further shard is drawn
        self._since = 0  # images ended when the best last changed
        self._money = self._dollars()
        self._allowance = _Allowance(job, self._budget.images, self._money)
        self._spent = 0.0  # US dollars in this run

    @property
    def spent(self) -> bool:
        """Whether the budgets of images and money allow no further recipe."""
        return self._allowance.spent

    def within(self, recipes: Iterable[Recipe]) -> Iterator[Recipe]:
        """The recipes that what is left of the budgets of images and money allows; asked again, it continues from there.

        Raises InputError for a recipe whose price is not known.
        """
        return self._allowance.of(recipes)

    def allowed(self, total: int, recipes: Callable[[], Iterator[Recipe]]) -> int:
        """How many of the `total` recipes the budgets of images and money allow. Raises InputError as `within` does."""
        if self._money is not None:
            return sum(1 for _ in _Allowance(self._job, self._budget.images, self._money).of(recipes()))
        return total if self._budget.images is None else min(total, self._budget.images)

    def cut(self, total: int) -> str:
        """Why no more than `total` recipes were drawn, when a budget is the reason."""
        if self._money is None or total == self._budget.images:
            return f"the budget of {total} images is spent"
        return self._money_spent()

    @property
    def cost(self) -> float:
        """US dollars that services took for this run's images so far."""
        return self._spent

    def pay(self, dollars: float) -> None:
        """A shard's images cost so much."""
        self._spent += dollars

    def watch(self, shards: Iterable[Shard], counter: Counter) -> Iterator[Shard]:
        """The shards until there is a reason to end; `ended_by` then holds it."""
        for shard in shards:
            if self._drawing and (reason := self.reason(counter.tally)) is not None:
                self.ended_by = reason
                return
            self._drawing = True
            yield shard

    def reason(self, tally: Tally) -> str | None:
        """Why the run should end before its next shard, None to continue."""
        hours = (monotonic() - self._begun) / 3600
        for limit, spent, unit in (
            (self._budget.hours, hours, "hours"),
            (self._budget.gpu_hours, self.device_hours(), "GPU hours"),
        ):
            if limit is not None and spent >= limit:
                return f"the budget of {limit:g} {unit} is spent"
        if self._money is not None and self._spent >= self._money:
            return self._money_spent()
        return self._settling(tally.done + tally.failed)

    def device_hours(self) -> float:
        """Hours so far, each times the devices that drew then."""
        now = monotonic()
        self._device_seconds += (now - self._looked) * self._devices()
        self._looked = now
        return self._device_seconds / 3600

    def _dollars(self) -> float | None:
        """US dollars that this run may spend; None for as many as it takes."""
        limits = [] if self._budget.cost is None else [self._budget.cost]
        if self._budget.total_cost is not None:
            limits.append(max(0.0, self._budget.total_cost - spent_before(self._job)))
        return min(limits, default=None)

    def _money_spent(self) -> str:
        limits = ((self._budget.cost, "for one run"), (self._budget.total_cost, "for the sweep"))
        told = " or ".join(f"${limit:g} {what}" for limit, what in limits if limit is not None)
        return f"the budget of {told} is spent (this run: ${self._spent:.2f})"

    def _settling(self, ended: int) -> str | None:
        if self._settled is None:
            return None
        from nonesuch.catalogs.query import Catalog

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


def looks_back(job: Job) -> bool:
    """Whether a shard must be published before it is known if there is a next one."""
    budget = job.sweep.budget
    return job.sweep.settled is not None or budget.cost is not None or budget.total_cost is not None


class _Allowance:
    """Images and US dollars that may still be planned; None for any number."""

    def __init__(self, job: Job, images: int | None, money: float | None) -> None:
        self._job = job
        self._images = images
        self._money = money
        self.spent = images == 0

    def of(self, recipes: Iterable[Recipe]) -> Iterator[Recipe]:
        for recipe in recipes:
            price = 0.0 if self._money is None else self._price(recipe)
            if self._money is not None and price > self._money + 1e-9:
                self.spent = True
            if self.spent:
                return
            if self._money is not None:
                self._money -= price
            if self._images is not None:
                self._images -= 1
                self.spent = self._images == 0
            yield recipe

    def _price(self, recipe: Recipe) -> float:
        price = price_of(recipe, self._job.facts(recipe))
        if price is None:
            raise InputError(
                f"no price is known for an image of {recipe.model}, so a budget of money can't be kept",
                where=self._job.sweep.source.where(("budget",)),
                hint=f'Set one: connections: {{"{recipe.model}": {{price: 0.05}}}}.',
            )
        return price


def spent_before(job: Job) -> float:
    """US dollars that earlier runs of the sweep paid, as the output folder's catalog has them."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import literal

    try:
        catalog = Catalog(job.out)
    except InputError:
        return 0.0
    if "cost" not in catalog.schema.names:
        return 0.0
    sql = f"SELECT sum(cost) AS spent FROM {{catalog}} WHERE sweep = {literal(job.sweep.name)}"
    return float(catalog.engine.read(lambda session: session.sql(sql))["spent"][0].as_py() or 0.0)
