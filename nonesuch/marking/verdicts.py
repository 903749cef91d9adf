"""Verifying from Python: one file, many files, or a folder of any size, with a catalog to look images up in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nonesuch.foundation.files import AnyPath

if TYPE_CHECKING:
    from nonesuch.catalogs.query import Catalog
    from nonesuch.flows.verify_folder import VerifySummary
    from nonesuch.provenance.verifying.catalog_protocol import CatalogLookup
    from nonesuch.provenance.verifying.verdict import Verdict
    from nonesuch.provenance.verifying.verify_options import Search


def verify_file(
    path: AnyPath,
    *,
    catalog: AnyPath | Catalog | None = None,
    catalog_lookup: CatalogLookup | None = None,
    trust: AnyPath | None = None,
    home: AnyPath | None = None,
    online: bool = False,
    search: Search = "full",
    watermark_key: bytes | None = None,
) -> Verdict:
    """The verdict on the image file at `path`: whether it is AI-generated, who says so, and how certain that is.

    catalog         an output folder, its URL, or a Catalog (opened once for many files) to look the image up in
    catalog_lookup  in its place, any object with the methods of CatalogLookup
    trust           a PEM file of trust anchors in place of the C2PA list
    home            where the own anchors are, in place of nonesuch's settings folder
    online          fetch manifests that lie elsewhere
    search          for the watermark: "full" (any scale and angle) or "aligned" (as the picture stands)
    watermark_key   a secret key, besides the public one

    The file is decoded in this process; `verify_files` uses others, which a broken file may end.
    Raises InputError for a catalog or `trust` file that can't be used; whatever is wrong with the image itself is
    said in `Verdict.error`.
    """
    from nonesuch.provenance.verifying import verify

    return verify.verify_file(
        Path(path),
        catalog_lookup=catalog_lookup if catalog is None else _lookup(catalog),
        trust=_path(trust),
        home=_path(home),
        online=online,
        search=search,
        watermark_key=watermark_key,
    )


def verify_files(
    paths: AnyPath | Iterable[AnyPath],
    *,
    catalog: AnyPath | Catalog | None = None,
    trust: AnyPath | None = None,
    online: bool = False,
    search: Search = "full",
    watermark_key: bytes | None = None,
    jobs: int | None = None,
) -> Iterator[Verdict]:
    """The verdict on each of many files, in order; `paths` are files, folders (searched deeply) and globs.

    The files are read in `jobs` other processes, by default one for each core: a file that hangs or breaks its
    process costs one verdict with an `error`. The other options are those of `verify_file`.
    Raises InputError, before the first verdict, for a catalog or `trust` file that can't be used.
    """
    from nonesuch.provenance.verifying.verify_options import VerifyOptions
    from nonesuch.provenance.verifying.worker_pool import verify_paths

    options = VerifyOptions(
        trust=_path(trust),
        catalog=None if catalog is None else _lookup(catalog),
        online=online,
        search=search,
        watermark_key=watermark_key,
    )
    patterns = [paths] if isinstance(paths, str | os.PathLike) else paths
    return verify_paths([os.fspath(one) for one in patterns], options=options, jobs=jobs)


def verify_folder(
    folder: AnyPath,
    out: AnyPath,
    *,
    catalog: AnyPath | None = None,
    trust: AnyPath | None = None,
    online: bool = False,
    search: Search = "full",
    watermark_key: str | None = None,
    jobs: int | None = None,
    again: bool = False,
) -> VerifySummary:
    """The verdict on every image below `folder`, as Parquet files in the folder `out`: the flow `verify_folder`.

    Run it again to continue after a stop: only files that are new or changed are verified; with `again`, all.
    `watermark_key` is a file or "env:NAME". The other options are those of `verify_files`.
    Raises InputError for a folder, catalog, trust file or key that can't be used, StorageError for a full disk,
    ServerError when Prefect's server can't be reached.
    """
    from nonesuch.flows import verify_folder as module
    from nonesuch.running.sweeps import leave_errors_to_the_caller, server_losses_told

    leave_errors_to_the_caller()
    with server_losses_told():
        summary: VerifySummary = module.verify_folder(
            Path(folder),
            Path(out),
            _path(catalog),
            _path(trust),
            online,
            search,
            watermark_key,
            jobs=jobs,
            again=again,
        )
    return summary


def _lookup(catalog: AnyPath | Catalog) -> CatalogLookup:
    from nonesuch.flows.catalog_folder import CatalogFolder

    return CatalogFolder(catalog)


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else Path(given)
