"""What a package that adds a scorer, backend, exporter or metadata reader needs to know (docs/plugins.md).

Each name is imported when it is first used, so that a reader of metadata does not load what a backend needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonesuch.catalogs.exports.export_job import Exporter as Exporter
    from nonesuch.catalogs.exports.export_job import ExportJob as ExportJob
    from nonesuch.catalogs.exports.export_job import Layout as Layout
    from nonesuch.catalogs.exports.stage import Stage as Stage
    from nonesuch.formats.raw_fields import Source as Source
    from nonesuch.formats.record import recipe as recipe
    from nonesuch.generators.backends.base import DRAWN_HERE as DRAWN_HERE
    from nonesuch.generators.backends.base import Backend as Backend
    from nonesuch.generators.backends.base import BackendKind as BackendKind
    from nonesuch.generators.backends.base import Drawing as Drawing
    from nonesuch.generators.models import Defaults as Defaults
    from nonesuch.generators.models import ModelFacts as ModelFacts
    from nonesuch.generators.recipe import Recipe as Recipe
    from nonesuch.provenance.metadata.finding import Finding as Finding
    from nonesuch.provenance.metadata.finding import MetadataReader as MetadataReader
    from nonesuch.scoring.base import Batch as Batch
    from nonesuch.scoring.base import Caption as Caption
    from nonesuch.scoring.base import Column as Column
    from nonesuch.scoring.base import Scorer as Scorer
    from nonesuch.scoring.base import Setting as Setting

_HOMES = {
    "DRAWN_HERE": "nonesuch.generators.backends.base",
    "Backend": "nonesuch.generators.backends.base",
    "BackendKind": "nonesuch.generators.backends.base",
    "Batch": "nonesuch.scoring.base",
    "Caption": "nonesuch.scoring.base",
    "Column": "nonesuch.scoring.base",
    "Defaults": "nonesuch.generators.models",
    "Drawing": "nonesuch.generators.backends.base",
    "ExportJob": "nonesuch.catalogs.exports.export_job",
    "Exporter": "nonesuch.catalogs.exports.export_job",
    "Finding": "nonesuch.provenance.metadata.finding",
    "Layout": "nonesuch.catalogs.exports.export_job",
    "MetadataReader": "nonesuch.provenance.metadata.finding",
    "ModelFacts": "nonesuch.generators.models",
    "Recipe": "nonesuch.generators.recipe",
    "Scorer": "nonesuch.scoring.base",
    "Setting": "nonesuch.scoring.base",
    "Source": "nonesuch.formats.raw_fields",
    "Stage": "nonesuch.catalogs.exports.stage",
    "recipe": "nonesuch.formats.record",
}
__all__ = [
    "DRAWN_HERE",
    "Backend",
    "BackendKind",
    "Batch",
    "Caption",
    "Column",
    "Defaults",
    "Drawing",
    "ExportJob",
    "Exporter",
    "Finding",
    "Layout",
    "MetadataReader",
    "ModelFacts",
    "Recipe",
    "Scorer",
    "Setting",
    "Source",
    "Stage",
    "recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
