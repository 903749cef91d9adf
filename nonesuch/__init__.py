"""nonesuch: prompt sweeps to scored, watermarked, signed images, a catalog to choose from, verdicts to show.

The public Python API; each name is imported when it is first used.

    from nonesuch import Catalog, load_sweep, run_sweep, verify_file
    run_sweep(Path("sweep.yaml"), Path("out"))
    best = Catalog("out").query("artist = 'Edvard Munch'", order="aesthetic", top=20)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalogs.query import Catalog as Catalog
    from foundation.errors import NonesuchError as NonesuchError
    from generators.sweep import load_sweep as load_sweep
    from nonesuch.sweeps import run_sweep as run_sweep
    from provenance.verify import verify_file as verify_file

_HOMES = {
    "Catalog": "catalogs.query",
    "NonesuchError": "foundation.errors",
    "load_sweep": "generators.sweep",
    "run_sweep": "nonesuch.sweeps",
    "verify_file": "provenance.verify",
}
__all__ = ["Catalog", "NonesuchError", "load_sweep", "run_sweep", "verify_file"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nonesuch' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
