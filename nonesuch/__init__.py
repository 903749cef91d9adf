"""nonesuch: draw, score, watermark and sign prompt sweeps; choose from a catalog; verify where images come from.

The public Python API; each name is imported when it is first used.

    from nonesuch import Catalog, load_sweep, run_sweep, verify_file
    run_sweep(Path("sweep.yaml"), Path("out"))
    best = Catalog("out").query("artist = 'Edvard Munch'", order="aesthetic", top=20)
"""

# No `from __future__` here, and no other import yet: a file of that name in the current folder would run.
import os
import sys


def _leave_the_folder() -> None:
    """Remove the current folder from sys.path, where `python -m` or a relative entry of PYTHONPATH has put it."""
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if sys.argv[0] == "-m" and not sys.flags.safe_path and os.path.realpath(sys.path[0]) != ours:
        del sys.path[0]
    named = os.environ.get("PYTHONPATH")
    for entry in named.split(os.pathsep) if named else ():
        folder = os.path.realpath(entry)
        if folder != ours and (not os.path.isabs(entry) or folder == os.path.realpath("")):
            sys.path[:] = [path for path in sys.path if os.path.realpath(path) != folder]


# `python -m nonesuch…`, or the command; another program decides for itself what it imports and from where.
if sys.argv[0] == "-m" or os.path.basename(sys.argv[0]) == "nonesuch":
    _leave_the_folder()

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from nonesuch.catalogs.query import Catalog as Catalog
    from nonesuch.foundation.errors import NonesuchError as NonesuchError
    from nonesuch.generators.sweepfile.sweep import load_sweep as load_sweep
    from nonesuch.provenance.verifying.verify import verify_file as verify_file
    from nonesuch.running.sweeps import run_sweep as run_sweep

_HOMES = {
    "Catalog": "nonesuch.catalogs.query",
    "NonesuchError": "nonesuch.foundation.errors",
    "load_sweep": "nonesuch.generators.sweepfile.sweep",
    "run_sweep": "nonesuch.running.sweeps",
    "verify_file": "nonesuch.provenance.verifying.verify",
}
__all__ = ["Catalog", "NonesuchError", "load_sweep", "run_sweep", "verify_file"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nonesuch' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
