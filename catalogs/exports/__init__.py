"""Exports: a selection of the catalog's images as a folder that other tools load, one module per format.

`nonesuch.catalogs.exports.run.export_catalog` writes one. Further formats register under the entry point group
`nonesuch.exports`. Image files are copied bit for bit: any re-encoding would drop their credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nonesuch.foundation.registry import Registry

if TYPE_CHECKING:
    from nonesuch.catalogs.exports.export_job import Exporter

EXPORTERS: Registry[Exporter] = Registry("export format", "exports")

EXPORTERS.register("croissant", f"{__name__}.formats.croissant:Croissant")
EXPORTERS.register("csv", f"{__name__}.formats.csv_table:CsvTable")
EXPORTERS.register("diffusiondb", f"{__name__}.formats.diffusiondb:DiffusionDB")
EXPORTERS.register("fiftyone", f"{__name__}.formats.fiftyone:FiftyOne")
EXPORTERS.register("hf-imagefolder", f"{__name__}.formats.imagefolder:ImageFolder")
EXPORTERS.register("hf-parquet", f"{__name__}.formats.parquet:EmbeddedParquet")
EXPORTERS.register("plain", f"{__name__}.formats.plain:Plain")
EXPORTERS.register("webdataset", f"{__name__}.formats.webdataset:WebDataset")
