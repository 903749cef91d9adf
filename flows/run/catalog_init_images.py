"""Init images from a catalog: a facet's query answered with files."""

from __future__ import annotations

from pathlib import Path

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.values.facets import CatalogFacet, FoundImage


def find_images(facet: CatalogFacet, folder: Path) -> list[FoundImage]:
    """The images of a catalog that a facet asks for, best first, without failed ones.

    Raises InputError for a missing catalog, a broken condition, and a file that is not there any more.
    """
    from nonesuch.catalogs.image_files import image_file
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition
    from nonesuch.foundation.urls import local_path, url_of

    catalog = Catalog(facet.catalog if url_of(facet.catalog) else folder / local_path(facet.catalog))
    table = catalog.query(
        each_condition(facet.where, "file IS NOT NULL"),
        order=facet.order,
        top=facet.top,
        columns=["recipe_id", "file", "prompt", "sha256"],
        as_arrow=True,
    )
    found = []
    for row in table.to_pylist():
        path = image_file(catalog.folder, row)
        if not path.is_file():
            raise InputError(
                f"the catalog names {path}, which is not there",
                hint=f"Put the file back, or leave it out: where: \"recipe_id <> '{row['recipe_id']}'\".",
            )
        found.append(FoundImage(row["recipe_id"], path.resolve(), row["prompt"]))
    return found
