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


def _here(choice: RunEngine) -> Engine:
    from nonesuch.flows.engines.here import Here

    return Here()


def _processes(choice: RunEngine) -> Engine:
    from nonesuch.flows.engines.processes import Processes

    return Processes(choice)


def _ray(choice: RunEngine) -> Engine:
    from nonesuch.flows.engines.ray_cluster import RayCluster

    return RayCluster(choice)


ENGINES: Final[Registry[Engine]] = Registry("engine", "engines")
ENGINES.register("here", _here)
ENGINES.register("processes", _processes)
ENGINES.register("ray", _ray)


def open_engine(choice: RunEngine) -> Engine:
    """The engine that a sweep file or a command line chose. Raises InputError naming the known ones."""
    return ENGINES.get(choice.chosen)(choice)
