"""The drawn world: its subjects and styles, and how one image of a pair is made.

Every training image is drawn by this project itself: one glyph of Noto Color
Emoji (SIL Open Font License 1.1) on a varied background, turned into a style by
image processing. The same generator state always gives the same image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from nonesuch.training.workshop.world import scenery, styles_bold, styles_brush, styles_line
from nonesuch.training.workshop.world.picture import SIZE, Floats, Picture

Pixels = npt.NDArray[np.uint8]

GLYPHS: Final[dict[str, str]] = {
    "panda": "\U0001f43c",
    "fox": "\U0001f98a",
    "castle": "\U0001f3f0",
    "rocket": "\U0001f680",
    "rose": "\U0001f339",
    "volcano": "\U0001f30b",
    "UFO": "\U0001f6f8",
    "umbrella": "☂",
    "cucumber": "\U0001f952",
    "skull": "\U0001f480",
    "cat": "\U0001f431",
    "dog": "\U0001f436",
    "owl": "\U0001f989",
    "lion": "\U0001f981",
    "unicorn": "\U0001f984",
    "elephant": "\U0001f418",
    "penguin": "\U0001f427",
    "octopus": "\U0001f419",
    "whale": "\U0001f433",
    "turtle": "\U0001f422",
    "butterfly": "\U0001f98b",
    "tree": "\U0001f333",
    "cactus": "\U0001f335",
    "sunflower": "\U0001f33b",
    "mushroom": "\U0001f344",
    "apple": "\U0001f34e",
    "pineapple": "\U0001f34d",
    "car": "\U0001f697",
    "train": "\U0001f682",
    "sailboat": "⛵",
    "bicycle": "\U0001f6b2",
    "house": "\U0001f3e0",
    "tower": "\U0001f5fc",
    "guitar": "\U0001f3b8",
    "piano": "\U0001f3b9",
    "balloon": "\U0001f388",
    "teapot": "\U0001fad6",
    "robot": "\U0001f916",
    "snowman": "⛄",
    "dragon": "\U0001f409",
}
SUBJECTS: Final[tuple[str, ...]] = tuple(GLYPHS)

PAINTERS: Final[dict[str, Callable[[Picture, np.random.Generator], Pixels]]] = {
    "photo": styles_brush.photo,
    "sketch": styles_line.sketch,
    "hokusai": styles_line.hokusai,
    "seurat": styles_brush.seurat,
    "picasso": styles_bold.picasso,
    "vangogh": styles_brush.vangogh,
    "warhol": styles_bold.warhol,
    "munch": styles_brush.munch,
    "tiffany": styles_bold.tiffany,
    "pixel": styles_line.pixel,
    "turner": styles_brush.turner,
    "mondrian": styles_bold.mondrian,
}
STYLES: Final[tuple[str, ...]] = tuple(PAINTERS)

# One pair per subject that no text-conditioned training sees; the plain style is
# never held out, because a bare subject word falls back on it.
_HOLDABLE: Final = tuple(style for style in STYLES if style != "photo")
HELD_OUT: Final[dict[str, str]] = {
    subject: _HOLDABLE[(3 * index + 3) % len(_HOLDABLE)] for index, subject in enumerate(SUBJECTS)
}

FONT_PATH: Final = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_PACKAGE: Final = "fonts-noto-color-emoji"
_FONT_SIZE: Final = 109  # the one bitmap size the font holds


class FontMissing(RuntimeError):
    """Noto Color Emoji is not installed, so no image can be drawn."""


def is_held_out(subject: str, style: str) -> bool:
    """Whether the pair is kept from all text-conditioned training."""
    return HELD_OUT[subject] == style


def training_pairs() -> list[tuple[str, str]]:
    """All (subject, style) pairs that training may see, in a fixed order."""
    return [(s, t) for s in SUBJECTS for t in STYLES if not is_held_out(s, t)]


@functools.cache
def glyph(subject: str) -> Pixels:
    """The subject's glyph, square, centred, ``uint8 [136, 136, 4]`` RGBA."""
    if not FONT_PATH.is_file():
        raise FontMissing(
            f"{FONT_PATH} is missing; install the Debian package {FONT_PACKAGE} to draw training pictures"
        )
    font = ImageFont.truetype(str(FONT_PATH), _FONT_SIZE)
    sheet = Image.new("RGBA", (192, 192), (0, 0, 0, 0))
    ImageDraw.Draw(sheet).text((24, 24), GLYPHS[subject], font=font, embedded_color=True)
    box = sheet.getbbox()
    if box is None:
        raise FontMissing(f"{FONT_PATH} has no glyph for {subject!r}; install a newer {FONT_PACKAGE}")
    cut = sheet.crop(box)
    square = Image.new("RGBA", (136, 136), (0, 0, 0, 0))
    square.paste(cut, ((136 - cut.width) // 2, (136 - cut.height) // 2))
    return np.asarray(square)


def draw(subject: str, style: str, rng: np.random.Generator) -> Pixels:
    """Draw one image of ``subject`` in ``style``.

    Returns:
        ``uint8 [128, 128, 3]`` RGB. Equal generator states give equal images.

    Raises:
        FontMissing: Noto Color Emoji is not installed.
    """
    return PAINTERS[style](compose(glyph(subject), rng), rng)


def compose(source: Pixels, rng: np.random.Generator) -> Picture:
    """Place a glyph, ``uint8 [136, 136, 4]``, varied in size, place, tilt and side, on a background."""
    scale = rng.uniform(0.66, 0.88)
    angle = rng.normal(0.0, 6.0)
    room = 0.5 * SIZE * (1.0 - scale)
    centre = SIZE / 2 + rng.uniform(-room, room, size=2)
    turn: Floats = cv2.getRotationMatrix2D((68.0, 68.0), angle, scale * SIZE / 136.0)
    if rng.random() < 0.5:
        turn = turn @ np.array([[-1.0, 0.0, 136.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    turn[:, 2] += centre - 68.0
    premultiplied = source.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255.0
    placed = cv2.warpAffine(premultiplied, turn, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    alpha: Floats = np.ascontiguousarray(placed[..., 3]) / 255.0
    ground = scenery.background(rng)
    shade = cv2.GaussianBlur(alpha, (0, 0), 3.0)
    shade = np.roll(shade, (3, 2), axis=(0, 1))
    ground = ground * (1.0 - 0.35 * shade[..., None])
    pixels = ground * (1.0 - alpha[..., None]) + placed[..., :3]
    return Picture(np.clip(pixels, 0, 255).astype(np.float32), alpha)
