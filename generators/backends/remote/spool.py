"""Images that were paid for and are not in a catalog yet: one file per recipe, so that no image is bought twice.

A run that is killed between a service's answer and the publishing of its shard finds the answer here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nonesuch.foundation.files import atomic_write, cache_dir

FOLDER = "paid"  # below the cache folder


class Spool:
    """Answers by recipe id. Each file holds one line of JSON, then the image's bytes."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_dir() / FOLDER

    def put(self, recipe_id: str, data: bytes, told: dict[str, Any]) -> None:
        """Keep an image. Raises StorageError when it can't be written."""
        atomic_write(self._path(recipe_id), json.dumps(told).encode() + b"\n" + data, mode=0o600)

    def take(self, recipe_id: str) -> tuple[bytes, dict[str, Any]] | None:
        """The image and its metadata; None when there is none that can be read."""
        try:
            head, _, data = self._path(recipe_id).read_bytes().partition(b"\n")
            told = json.loads(head)
        except (OSError, ValueError):
            return None
        return (data, told) if data and isinstance(told, dict) else None

    def drop(self, recipe_ids: Iterable[str]) -> None:
        """Delete images that are in the catalog."""
        for recipe_id in recipe_ids:
            with suppress(OSError):
                self._path(recipe_id).unlink(missing_ok=True)

    def _path(self, recipe_id: str) -> Path:
        return self._folder / recipe_id[:2] / recipe_id
