"""The gallery: where people choose images. The routes are nonesuch.web.routes.gallery*.

`view` is what an address says to show, `reader` answers it from the catalog, page by page.
"""
