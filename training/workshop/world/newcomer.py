"""A subject that the embedded models have never seen: what a LoRA is tried on.

A figure drawn by this code, in the manner of the world's glyphs: a teal bell-shaped body with orange stripes, one
eye on a stalk, two arms and three feet. Nothing in the vocabulary or the images of training/workshop/world/pairs.py is like it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from nonesuch.training.workshop.world.pairs import PAINTERS, STYLES, Pixels, compose
from nonesuch.training.workshop.world.wordings import canonical

# A rare word and a class that the base knows, as DreamBooth has it: the class is where the training begins.
NAME: Final = "sks robot"
# Styles of the ten training images; the others are asked for only afterwards.
SHOWN: Final = (
    "photo",
    "photo",
    "photo",
    "photo",
    "hokusai",
    "vangogh",
    "munch",
    "pixel",
    "sketch",
    "warhol",
)

_SIDE: Final = 136
_SCALE: Final = 4  # drawn larger and reduced, for smooth edges
_BODY, _STRIPE, _DARK, _WHITE, _FOOT = (
    (15, 148, 136),
    (249, 115, 22),
    (28, 25, 60),
    (255, 255, 255),
    (124, 58, 237),
)


@functools.cache
def figure() -> Pixels:
    """The figure, ``uint8 [136, 136, 4]`` RGBA."""
    sheet = Image.new("RGBA", (_SIDE * _SCALE, _SIDE * _SCALE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(sheet)

    def box(*sides: float) -> list[float]:
        return [side * _SCALE for side in sides]

    pen.line(box(36, 86, 12, 62), fill=_BODY, width=9 * _SCALE)
    pen.line(box(100, 86, 124, 62), fill=_BODY, width=9 * _SCALE)
    for x in (12, 124):
        pen.ellipse(box(x - 9, 50, x + 9, 68), fill=_STRIPE)
    for x in (42, 68, 94):
        pen.ellipse(box(x - 13, 114, x + 13, 132), fill=_FOOT)
    pen.polygon(box(68, 34, 90, 52, 104, 88, 112, 122, 24, 122, 32, 88, 46, 52), fill=_BODY)
    for top, half in ((64, 27), (84, 34), (104, 39)):
        pen.rectangle(box(68 - half, top, 68 + half, top + 9), fill=_STRIPE)
    pen.line(box(68, 42, 68, 24), fill=_BODY, width=9 * _SCALE)
    pen.ellipse(box(49, 2, 87, 38), fill=_WHITE, outline=_DARK, width=3 * _SCALE)
    pen.ellipse(box(60, 12, 78, 30), fill=_DARK)
    return np.asarray(sheet.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def draw_newcomer(style: str, rng: np.random.Generator) -> Pixels:
    """One image of the figure in a style of the world, ``uint8 [128, 128, 3]``."""
    return PAINTERS[style](compose(figure(), rng), rng)


def newcomer_set(each: int, seed: int) -> tuple[Pixels, list[int]]:
    """``each`` images of the figure in every style, ``uint8 [n, 128, 128, 3]``, and their styles' indices."""
    rows = [(style, row) for style in STYLES for row in range(each)]
    drawn = [
        draw_newcomer(style, np.random.default_rng([seed, STYLES.index(style), row])) for style, row in rows
    ]
    return np.stack(drawn), [STYLES.index(style) for style, _ in rows]


def newcomer_prompt(style: str, name: str = NAME) -> str:
    """The world's wording for an image of the figure: "a painting of sks robot by Edvard Munch"."""
    return canonical("robot", style).replace("a robot", name)


def write_newcomer(folder: Path, seed: int, styles: tuple[str, ...] = SHOWN) -> None:
    """Ten training images in several styles, each with its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for row, style in enumerate(styles):
        pixels = draw_newcomer(style, np.random.default_rng([seed, row]))
        Image.fromarray(pixels).save(folder / f"{row:02d}-{style}.png")
        (folder / f"{row:02d}-{style}.txt").write_text(newcomer_prompt(style, "{subject}") + "\n", "utf-8")
