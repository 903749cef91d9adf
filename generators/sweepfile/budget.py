"""Budget, early stopping and adaptive sampling: what a run may spend, when it may end, where later images go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nonesuch.generators.sweepfile.settings import Strict


class Budget(Strict):
    """What one run may spend; what is left is drawn by the next run."""

    hours: Annotated[float, Field(gt=0, description="of wall-clock time, drawing to publishing")] | None = (
        None
    )
    gpu_hours: Annotated[float, Field(gt=0, description="the same, times the number of devices")] | None = (
        None
    )
    images: Annotated[int, Field(ge=1, description="recipes that one run draws")] | None = None
    cost: Annotated[float, Field(gt=0, description="US dollars that one run pays services")] | None = None
    total_cost: (
        Annotated[float, Field(gt=0, description="US dollars that all runs of the sweep into one folder pay")]
        | None
    ) = None


class Settled(Strict):
    """The best images have settled: so many were drawn in a row without one of them entering the top."""

    top: Annotated[int, Field(ge=1, le=10_000, description="how many of the best count")] = 20
    order: Annotated[str, Field(min_length=1, description="column or SQL expression, high is good")] = (
        "aesthetic"
    )
    patience: Annotated[int, Field(ge=1, description="images in a row that change nothing")] = 500


class Adaptive(Strict):
    """Spend later images on the facet values and combinations that scored best so far."""

    order: Annotated[str, Field(min_length=1, description="column or SQL expression, high is good")] = (
        "aesthetic"
    )
    first: Annotated[int, Field(ge=1, description="images spread evenly before anything is known")] = 100
    round: Annotated[int, Field(ge=1, le=10_000, description="images between two looks at the scores")] = 100
    seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="of the choice")] = 0


class Price(Strict):
    """What device hours cost, for the report of a run; what services take is `cost`."""

    gpu_hour: Annotated[float, Field(ge=0, description="of one device")]
    currency: Annotated[str, Field(min_length=1, max_length=8, description="as the report shows it")] = "USD"
