"""Pictures to start from that lie in a catalog: a facet's query answered with files."""

from __future__ import annotations

from pathlib import Path

from foundation.errors import InputError
from generators.facets import CatalogFacet, FoundImage


def find_images(facet: CatalogFacet, folder: Path) -> list[FoundImage]:
    """The images of a catalog that a facet asks for, best first, without failed ones.

    Raises InputError for a missing catalog, a broken condition, and a file that is not there any more.
    """
    from catalogs.query import Catalog

    catalog = Catalog(folder / facet.catalog)
    condition = "file IS NOT NULL" + (f" AND ({facet.where})" if facet.where else "")
    table = catalog.query(
        condition, order=facet.order, top=facet.top, columns=["recipe_id", "file", "prompt"], as_arrow=True
    )
    found = []
    for row in table.to_pylist():
        path = catalog.folder / row["file"]
        if not path.is_file():
            raise InputError(f"the catalog names {path}, which is not there", where=facet.catalog)
        found.append(FoundImage(row["recipe_id"], path.resolve(), row["prompt"]))
    return found
