"""What there is: the catalog of images as Parquet parts; schema, publishing, querying, look-up, sheets.

Parquet under OUT/catalog is the only truth; everything else here is derived from it and can be deleted.
"""
