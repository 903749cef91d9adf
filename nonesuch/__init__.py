"""nonesuch: draw, score, watermark and sign prompt sweeps; choose from a catalog; verify where images come from.

The public Python API (docs/api.md); each name is imported when it is first used.

    from nonesuch import Catalog, run_sweep, verify_file
    run_sweep("sweep.yaml", "out")
    best = Catalog("out").query("artist = $name", parameters={"name": "Edvard Munch"}, order="aesthetic", top=20)
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
    from nonesuch.catalogs.exports.export_job import Exported as Exported
    from nonesuch.catalogs.exports.export_job import ExportRequest as ExportRequest
    from nonesuch.catalogs.picks.log import PickLog as PickLog
    from nonesuch.catalogs.query import Catalog as Catalog
    from nonesuch.choosing.exporting import export_images as export_images
    from nonesuch.choosing.picking import open_picks as open_picks
    from nonesuch.flows.reporting.summary import Summary as Summary
    from nonesuch.flows.verify_folder import VerifySummary as VerifySummary
    from nonesuch.foundation.errors import CatalogError as CatalogError
    from nonesuch.foundation.errors import CertificateTimeError as CertificateTimeError
    from nonesuch.foundation.errors import DependencyError as DependencyError
    from nonesuch.foundation.errors import DrawingError as DrawingError
    from nonesuch.foundation.errors import InputError as InputError
    from nonesuch.foundation.errors import NonesuchError as NonesuchError
    from nonesuch.foundation.errors import ProvenanceError as ProvenanceError
    from nonesuch.foundation.errors import ScoringError as ScoringError
    from nonesuch.foundation.errors import ServerError as ServerError
    from nonesuch.foundation.errors import StorageError as StorageError
    from nonesuch.generators.matrix.plan import Plan as Plan
    from nonesuch.generators.sweepfile.sweep import Sweep as Sweep
    from nonesuch.generators.sweepfile.sweep import load_sweep as load_sweep
    from nonesuch.generators.sweepfile.sweep import make_sweep as make_sweep
    from nonesuch.marking.marking_files import Mark as Mark
    from nonesuch.marking.marking_files import mark_files as mark_files
    from nonesuch.marking.verdicts import verify_file as verify_file
    from nonesuch.marking.verdicts import verify_files as verify_files
    from nonesuch.marking.verdicts import verify_folder as verify_folder
    from nonesuch.provenance.evidence import Evidence as Evidence
    from nonesuch.provenance.verifying.verdict import Verdict as Verdict
    from nonesuch.running.flow_runs import plan_sweep as plan_sweep
    from nonesuch.running.flow_runs import run_sweep as run_sweep

    __version__: str

_HOMES = {
    "Exported": "nonesuch.catalogs.exports.export_job",
    "ExportRequest": "nonesuch.catalogs.exports.export_job",
    "PickLog": "nonesuch.catalogs.picks.log",
    "Catalog": "nonesuch.catalogs.query",
    "export_images": "nonesuch.choosing.exporting",
    "open_picks": "nonesuch.choosing.picking",
    "Summary": "nonesuch.flows.reporting.summary",
    "VerifySummary": "nonesuch.flows.verify_folder",
    "CatalogError": "nonesuch.foundation.errors",
    "CertificateTimeError": "nonesuch.foundation.errors",
    "DependencyError": "nonesuch.foundation.errors",
    "DrawingError": "nonesuch.foundation.errors",
    "InputError": "nonesuch.foundation.errors",
    "NonesuchError": "nonesuch.foundation.errors",
    "ProvenanceError": "nonesuch.foundation.errors",
    "ScoringError": "nonesuch.foundation.errors",
    "ServerError": "nonesuch.foundation.errors",
    "StorageError": "nonesuch.foundation.errors",
    "Plan": "nonesuch.generators.matrix.plan",
    "Sweep": "nonesuch.generators.sweepfile.sweep",
    "load_sweep": "nonesuch.generators.sweepfile.sweep",
    "make_sweep": "nonesuch.generators.sweepfile.sweep",
    "Mark": "nonesuch.marking.marking_files",
    "mark_files": "nonesuch.marking.marking_files",
    "verify_file": "nonesuch.marking.verdicts",
    "verify_files": "nonesuch.marking.verdicts",
    "verify_folder": "nonesuch.marking.verdicts",
    "Evidence": "nonesuch.provenance.evidence",
    "Verdict": "nonesuch.provenance.verifying.verdict",
    "plan_sweep": "nonesuch.running.flow_runs",
    "run_sweep": "nonesuch.running.flow_runs",
}
__all__ = [
    "Catalog",
    "CatalogError",
    "CertificateTimeError",
    "DependencyError",
    "DrawingError",
    "Evidence",
    "ExportRequest",
    "Exported",
    "InputError",
    "Mark",
    "NonesuchError",
    "PickLog",
    "Plan",
    "ProvenanceError",
    "ScoringError",
    "ServerError",
    "StorageError",
    "Summary",
    "Sweep",
    "Verdict",
    "VerifySummary",
    "__version__",
    "export_images",
    "load_sweep",
    "make_sweep",
    "mark_files",
    "open_picks",
    "plan_sweep",
    "run_sweep",
    "verify_file",
    "verify_files",
    "verify_folder",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("nonesuch")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'nonesuch' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
