"""Finding the images and weights that an image was made from, by their digests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.limits import MAX_BYTES
from nonesuch.generators.digests import file_digests
from nonesuch.generators.ways.again import FindFile

MAX_FILES: Final = 100_000  # in the folders given; more are ignored
_WEIGHTS: Final = frozenset({".safetensors", ".pth", ".pt", ".ckpt"})


def input_files(folders: Sequence[Path], catalog: Path | None, *, beside: Path | None = None) -> FindFile:
    """A search in these folders (by the SHA-256 of their files, or by the name of a model folder or workflow) and
    among a catalog's images; in the folder `beside` only by name. Raises InputError for a missing folder.
    """
    named = [*folders, *([beside] if beside is not None else [])]
    for folder in folders:
        if not folder.is_dir():
            raise InputError("no such folder", where=str(folder))
    known: dict[str, str] = {}
    read = False

    def find(digest: str, name: str) -> str | None:
        nonlocal read
        if not read and folders:
            known.update(_digests(folders))
            read = True
        if digest in known:
            return known[digest]
        if name and (found := next((folder / name for folder in named if (folder / name).exists()), None)):
            return str(found.resolve())
        return None if catalog is None or not digest else _catalogued(catalog, digest)

    return find


def _digests(folders: Sequence[Path]) -> dict[str, str]:
    """Path of each file below the folders by its SHA-256."""
    paths: list[Path] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if len(paths) >= MAX_FILES:
                break
            if path.is_file() and (path.stat().st_size <= MAX_BYTES or path.suffix in _WEIGHTS):
                paths.append(path.resolve())
    return {digest: str(path) for path, digest in file_digests(paths).items()}


def _catalogued(catalog: Path, digest: str) -> str | None:
    """The file of a catalog's image that has this SHA-256."""
    from nonesuch.marking.recovering import CatalogFolder

    records = CatalogFolder(catalog).by_digest(digest)
    return next((str(record.file.resolve()) for record in records if record.file is not None), None)
