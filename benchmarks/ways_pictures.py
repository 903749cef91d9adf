"""The pictures of docs/image-to-image.md and docs/ways.md: the examples drawn by the embedded model, as sheets.

`python -m benchmarks.ways_pictures` writes docs/images/ways-*.webp and prints how long each example took to draw.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends import open_backend
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.sweep import load_sweep

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = {
    "image-to-image": 3,
    "inpaint": 4,
    "outpaint": 4,
    "frames": 6,
    "hires": 4,
}  # pictures a row


def main() -> None:
    """Draw every example and write its sheet."""
    backend = open_backend("embedded", device="cpu")
    for name, columns in EXAMPLES.items():
        recipes = list(open_matrix(load_sweep(ROOT / "examples" / f"{name}.yaml")))
        drawings = list(backend.draw(recipes))
        images = [one.image for one in drawings if one.image is not None]
        atomic_write(ROOT / "docs" / "images" / f"ways-{name}.webp", _sheet(images, columns))
        print(f"{name}: {len(images)} images, {sum(one.seconds for one in drawings):.1f} s")


def _sheet(images: list[RGB], columns: int) -> bytes:
    height, width = images[0].shape[:2]
    page = np.zeros((-(-len(images) // columns) * height, columns * width, 3), np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        page[top : top + height, left : left + width] = image
    stream = io.BytesIO()
    Image.fromarray(page).save(stream, "WEBP", quality=88, method=6)
    return stream.getvalue()


if __name__ == "__main__":
    main()
