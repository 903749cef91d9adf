"""Where a row's image lies, and whether it may be read: inside the output folder, or proven by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nonesuch.catalogs.storage.mirror import local_file
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.files import file_digest
from nonesuch.foundation.images import read_limited


def image_file(root: Path, row: Mapping[str, Any]) -> Path:
    """The path of a row's image below `root`, the output folder.

    A catalog may refer to images elsewhere (marked or imported in place). Such a file is read only when
    its SHA-256 is the row's, so that an untrusted catalog can't fetch files that it does not know.
    When the folder mirrors a URL, the image is fetched. Raises InputError when the row has no image, or when
    the file lies elsewhere and is another one; StorageError when it can't be fetched.
    """
    file = row.get("file")
    if not isinstance(file, str) or not file:
        raise InputError("no image")
    path = (root / file).resolve()
    if path.is_relative_to(root.resolve()):
        return local_file(root, file)
    digest = row.get("sha256")
    try:
        if isinstance(digest, str) and path.is_file() and file_digest(path) == digest:
            return path
    except OSError as error:
        raise InputError(error.strerror or str(error), where=file) from error
    raise InputError("lies outside the output folder", where=file)


def read_original(root: Path, row: Mapping[str, Any]) -> bytes:
    """The bytes of a row's image. Raises CatalogError when they are not those that were catalogued."""
    try:
        data = read_limited(image_file(root, row))
    except InputError as error:
        raise CatalogError(error.message, where=str(row["file"])) from error
    if row["sha256"] is not None and hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise CatalogError(
            "this file is not the one that was catalogued: its SHA-256 differs",
            where=str(root / row["file"]),
            hint=f"Leave it out with --where \"recipe_id <> '{row['recipe_id']}'\", or put the original back.",
        )
    return data
