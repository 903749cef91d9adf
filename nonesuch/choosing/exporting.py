"""Exporting from Python in one call: the query, the licences of its models, and the folder that other tools load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced
from pathlib import Path

from nonesuch.catalogs.exports import EXPORTERS
from nonesuch.catalogs.exports.export_job import Exported, ExportRequest, Progress
from nonesuch.catalogs.exports.run import export_catalog
from nonesuch.catalogs.exports.selection import select
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where, told_condition
from nonesuch.catalogs.search.parameters import Parameters
from nonesuch.choosing.model_licenses import model_licenses
from nonesuch.foundation.files import AnyPath


def export_images(
    catalog: Catalog | AnyPath,
    out: AnyPath,
    format: str | ExportRequest,
    *,
    where: Where = None,
    parameters: Parameters = None,
    order: str | Sequence[str] | None = None,
    descending: bool | None = None,
    top: int | None = None,
    top_per: tuple[str, int] | None = None,
    sample: float | None = None,
    license: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write chosen images, bit for bit, with their rows and a data card as the folder `out`, and read it back.

    catalog     an open Catalog, or the path or URL of one
    format      the name of a format, such as "hf-parquet", "webdataset" or "plain", or an ExportRequest with
                all of its options
    where, parameters, order, descending, top, top_per, sample
                which images, as in Catalog.query
    license     of the images, for the data card: an SPDX identifier or a name
    replace     put it in the place of an earlier export at `out`
    progress    called with (images done, images in all)

    The folder appears whole or not at all; call it again to continue after a stop. Images whose file is missing
    or was changed are listed in the answer's `left_out`.
    Raises InputError for an unknown format, as Catalog.query does, and when no image is left or `out` is taken;
    CatalogError when what was written reads back otherwise; StorageError for a full disk.
    """
    request = ExportRequest(format, license=license) if isinstance(format, str) else format
    EXPORTERS.get(request.format)  # an unknown format is told before anything is read
    opened = catalog if isinstance(catalog, Catalog) else Catalog(catalog)
    chosen = select(
        opened,
        where=where,
        parameters=parameters,
        order=order,
        descending=descending,
        top=top,
        top_per=top_per,
        sample=sample,
        split_by=request.split_by,
        embeddings=request.embeddings,
        with_files=request.format != "csv",
    )
    asked = {
        "where": told_condition(where) if where else None,
        "parameters": dict(parameters) if parameters else None,
        "order": order,
        "descending": descending,
        "top": top,
        "top-per": None if top_per is None else " ".join(map(str, top_per)),
        "sample": sample,
    }
    request = replaced(
        request,
        license=request.license if license is None else license,
        model_licenses=model_licenses(chosen.models) | dict(request.model_licenses),
        asked={name: value for name, value in asked.items() if value is not None},
    )
    return export_catalog(chosen, Path(out), request, replace=replace, progress=progress)
