"""Rescoring a catalog from Python or the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nonesuch.running.sweeps import leave_errors_to_the_caller

if TYPE_CHECKING:
    from nonesuch.flows.rescore import RescoreSummary


def rescore_catalog(
    out: Path,
    scorers: Sequence[str],
    *,
    encoder: str | None = None,
    aesthetic: str | None = None,
    safety_threshold: float | None = None,
    again: bool = False,
    online: bool = False,
) -> RescoreSummary:
    """Run the flow `rescore` on Prefect's embedded server, or on the one that PREFECT_API_URL names.

    The arguments are nonesuch.flows.rescore.rescore's, and so is what is raised; unknown scorers and folders without a
    catalog are reported before the server starts.
    """
    from nonesuch.catalogs.query import Catalog
    from nonesuch.scoring.scorers import scorer_kind

    Catalog(out)
    for name in scorers:
        scorer_kind(name)
    from nonesuch.flows.rescore import rescore

    leave_errors_to_the_caller()
    summary: RescoreSummary = rescore(
        out,
        scorers,
        encoder=encoder,
        aesthetic=aesthetic,
        safety_threshold=safety_threshold,
        again=again,
        online=online,
    )
    return summary
