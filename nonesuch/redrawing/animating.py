"""Frames of a catalog as an animation and as a strip."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write

if TYPE_CHECKING:
    from nonesuch.catalogs.search.expressions import Where

_COLUMNS = ["recipe_id", "file", "sha256", "status"]
STRIP = 12  # frames on a strip; of more frames, this many in even steps


@dataclass(frozen=True, slots=True)
class Animation:
    """What was written."""

    out: str
    frames: int  # different images
    bytes: int
    strip: str | None
    signed: bool
    broken: tuple[str, ...]  # what is wrong with the frames' credentials, one sentence each


def animate_catalog(
    root: Path,
    out: Path,
    *,
    where: Where = None,
    order: Sequence[str] = (),
    rate: float = 8.0,
    bounce: bool = False,
    quality: int | None = None,
    strip: Path | None = None,
    credentials: bool = True,
) -> Animation:
    """Write the images that meet `where` as an animated WebP, in `order` (the sweep's own by default), `rate` frames per second.

    `bounce` then plays them in reverse; `quality` makes it lossy, which loses the frames' watermarks; `strip`
    is a PNG of the frames side by side. Raises InputError when too few images are chosen, or their files are gone
    or of different sizes.
    """
    from nonesuch.catalogs.image_files import read_original
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition
    from nonesuch.provenance.marking.animation import animate
    from nonesuch.provenance.request import SignerChoice
    from nonesuch.provenance.signing.signer import open_chosen

    if out.suffix.lower() != ".webp":
        raise InputError(
            "an animation must be a WebP file", where=str(out), hint="Name a file that ends in .webp."
        )
    catalog = Catalog(root)
    rows = catalog.query(
        each_condition(where, "file IS NOT NULL"),
        order=list(order) or ["plan_index"],
        columns=_COLUMNS,
        as_arrow=True,
    ).to_pylist()
    if len(rows) < 2:
        raise InputError(
            f"{len(rows)} image is chosen; an animation needs two" if rows else "no image is chosen",
            hint="Loosen --where.",
        )
    files = [read_original(catalog.folder, row) for row in rows]
    places = list(range(len(rows)))
    signed, checks = animate(
        files,
        order=[*places, *places[-2:0:-1]] if bounce else places,
        milliseconds=max(1, round(1000 / rate)),
        title=out.name,
        signer=open_chosen(SignerChoice()) if credentials else None,
        quality=quality,
    )
    atomic_write(out, signed.data)
    if strip is not None:
        _write_strip(files, strip)
    return Animation(
        str(out),
        len(rows),
        len(signed.data),
        None if strip is None else str(strip),
        credentials,
        tuple(
            f"the credential of {check.title} is broken: {check.detail or check.integrity}"
            for check in checks
            if check.integrity in ("altered", "unreadable")
        ),
    )


def _write_strip(files: Sequence[bytes], out: Path) -> None:
    """At most STRIP frames side by side, without captions."""
    from PIL import Image

    from nonesuch.foundation.images import decode_rgb

    count = min(STRIP, len(files))
    chosen = [round(place * (len(files) - 1) / (count - 1)) for place in range(count)]
    frames = [Image.fromarray(decode_rgb(files[place], where=f"frame {place}")) for place in chosen]
    width, height = frames[0].size
    page = Image.new("RGB", (count * width, height))
    for place, frame in enumerate(frames):
        page.paste(frame, (place * width, 0))
    stream = io.BytesIO()
    page.save(stream, "WEBP" if out.suffix.lower() == ".webp" else "PNG", lossless=True)
    atomic_write(out, stream.getvalue())
