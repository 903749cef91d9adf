"""Exports: a choice of the catalog's images as a folder that other tools load, one module for each format.

`nonesuch.catalogs.exports.run.export_catalog` writes one. Further formats register under the entry point group
`nonesuch.exports`. Image files are copied bit for bit: any re-encoding would drop their credentials.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nonesuch.foundation.registry import Registry

if TYPE_CHECKING:
    from nonesuch.catalogs.exports.export_job import Exporter

EXPORTERS: Registry[Exporter] = Registry("export format", "exports")

# name → module and class, imported when it is used
_FORMATS = {
    "croissant": ("croissant", "Croissant"),
    "csv": ("csv_table", "CsvTable"),
    "diffusiondb": ("diffusiondb", "DiffusionDB"),
    "fiftyone": ("fiftyone", "FiftyOne"),
    "hf-imagefolder": ("imagefolder", "ImageFolder"),
    "hf-parquet": ("parquet", "EmbeddedParquet"),
    "plain": ("plain", "Plain"),
    "webdataset": ("webdataset", "WebDataset"),
}


def _factory(module: str, name: str) -> Callable[..., Exporter]:
    def make(*arguments: Any) -> Exporter:
        exporter: Exporter = getattr(import_module(f"nonesuch.catalogs.exports.{module}"), name)(*arguments)
        return exporter

    return make


for _name, (_module, _class) in _FORMATS.items():
    EXPORTERS.register(_name, _factory(_module, _class))
