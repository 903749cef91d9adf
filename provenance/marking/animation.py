"""An animated WebP made of marked images: lossless, so that each frame keeps its own watermark, and signed with
every frame's file as an ingredient."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import decode_rgb
from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials.reading import check_parent, sniff_mime
from nonesuch.provenance.marking import manifest
from nonesuch.provenance.marking.xmp import XmpFields, xmp_packet
from nonesuch.provenance.request import ParentCheck, TrainingUse
from nonesuch.provenance.signing.signer import Ingredient, SignedFile, Signer

MAX_FRAMES = 600
SOURCE_TYPE = "compositeSynthetic"  # IPTC: made of elements of which at least one is synthetic


def animate(
    frames: Sequence[bytes],
    *,
    order: Sequence[int],
    milliseconds: int,
    title: str,
    signer: Signer | None,
    quality: int | None = None,
    training_use: TrainingUse = "notAllowed",
) -> tuple[SignedFile, tuple[ParentCheck, ...]]:
    """The animation of image files, played in `order` (places in `frames`), each shown `milliseconds`, for ever.

    Without a `quality` it is lossless: the frames' pixels, and with them their watermarks, are those of the files.
    The credential names each file once as an ingredient, its own credential checked and kept. Without a signer it
    has none. Raises InputError for images of different sizes, too few or too many, and ProvenanceError
    when signing fails.
    """
    if not 2 <= len(frames) <= MAX_FRAMES:
        raise InputError(f"an animation has 2 to {MAX_FRAMES} frames, not {len(frames)}")
    pictures = [decode_rgb(data, where=f"frame {place}") for place, data in enumerate(frames)]
    sizes = sorted({f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures})
    if len(sizes) > 1:
        raise InputError(
            f"the frames have different sizes: {', '.join(sizes[:4])}",
            hint="Choose those of one with --where.",
        )
    uri = vocabulary.source_type_uri(SOURCE_TYPE)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tool = f"nonesuch {manifest.own_version()}"
    xmp = xmp_packet(XmpFields(uri, "", "", None, None, None, None, tool, when))
    played = [Image.fromarray(pictures[place]) for place in order]
    target = io.BytesIO()
    played[0].save(
        target, "WEBP", save_all=True, append_images=played[1:], duration=milliseconds, loop=0,
        lossless=quality is None, quality=75 if quality is None else quality, method=2, xmp=xmp,
    )  # fmt: skip
    if signer is None:
        return SignedFile(target.getvalue(), b"", False), ()
    ingredients, checks = [], []
    for place, data in enumerate(frames):
        mime = sniff_mime(data)
        checks.append(check_parent(data, mime, f"frame {place}"))
        definition = {"title": f"frame {place}", "relationship": "componentOf", "label": f"frame-{place}"}
        ingredients.append(Ingredient(definition, mime, data))
    definition = _manifest(title, uri, when, len(frames), training_use)
    return signer.sign(target.getvalue(), "image/webp", definition, ingredients), tuple(checks)


def _manifest(title: str, uri: str, when: str, frames: int, training_use: TrainingUse) -> dict[str, Any]:
    created = {
        "action": "c2pa.created", "when": when, "digitalSourceType": uri, "softwareAgent": manifest.own_agent(),
    }  # fmt: skip
    placed = {
        "action": "c2pa.placed",
        "parameters": {"ingredientIds": [f"frame-{place}" for place in range(frames)]},
    }
    return manifest.assemble(title, [created, placed], [], binding=None, training_use=training_use)
