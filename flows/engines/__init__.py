"""Engines: who draws the shards of a run. `here`, `processes` and `ray`; other packages may add theirs.

`base.py` says what an engine is; `handing.py` hands shards to the workers of those that have some, and what
happens when a worker dies or hangs is decided there alone.
"""

from __future__ import annotations

from typing import Final

from nonesuch.flows.engines.base import Engine
from nonesuch.foundation.registry import Registry
from nonesuch.generators.sweepfile.run_engine import RunEngine

__all__ = ["ENGINES", "Engine", "open_engine"]


ENGINES: Final[Registry[Engine]] = Registry("engine", "engines")
ENGINES.register("here", f"{__name__}.here:Here")
ENGINES.register("processes", f"{__name__}.processes:Processes")
ENGINES.register("ray", f"{__name__}.ray_cluster:RayCluster")


def open_engine(choice: RunEngine) -> Engine:
    """The engine that a sweep file or a command line chose. Raises InputError naming the known ones."""
    return ENGINES.get(choice.chosen)(choice)
