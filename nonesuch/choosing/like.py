"""Searching a catalog by text or image: the encoder of the stored embeddings turns either into a vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import decode_rgb, read_limited

Vectors = npt.NDArray[np.float32]

if TYPE_CHECKING:
    from nonesuch.catalogs.query import Catalog
    from nonesuch.scoring.base import Encoder


def text_vector(catalog: Catalog, text: str) -> Vectors:
    """The embedding of a text, float32 [dim], by the encoder that made the catalog's embeddings."""
    vector: Vectors = catalog_encoder(catalog).texts([text])[0]
    return vector


def image_vector(catalog: Catalog, path: Path) -> Vectors:
    """The embedding of an image file, float32 [dim], by the encoder that made the catalog's embeddings."""
    image = decode_rgb(read_limited(path), where=str(path))
    vector: Vectors = catalog_encoder(catalog).images([image])[0]
    return vector


def catalog_encoder(catalog: Catalog) -> Encoder:
    """The encoder of the catalog's embeddings, loaded from this machine.

    Raises InputError when the catalog has none, or embeddings of several encoders, whose vectors can't be
    compared; DependencyError when its weights are not on this machine.
    """
    from nonesuch.scoring.encoders import open_encoder

    known = catalog.query("encoder is not null", group="encoder", as_arrow=True).to_pylist()
    if len(known) != 1:
        names = ", ".join(sorted(str(row["encoder"]) for row in known)) or "none"
        raise InputError(
            f"a search by likeness needs embeddings of one encoder; this catalog has embeddings of {names}",
            where=str(catalog.folder),
        )
    name, tag = str(known[0]["encoder"]).split(" ")[:2]
    encoder = open_encoder(name if name == "embedded" or ":" in name else f"{name}/{tag}")
    if encoder.tag != tag:
        raise InputError(
            f"the catalog's embeddings are from {name} {tag}, and this machine has {encoder.tag}",
            where=str(catalog.folder),
            hint="Run `nonesuch rescore` with this machine's encoder.",
        )
    return encoder
