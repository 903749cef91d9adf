"""Services that draw in a few sizes: the one nearest to a width and height."""

from __future__ import annotations

from collections.abc import Sequence

from nonesuch.foundation.errors import InputError

_NEAR = 0.06  # share by which a size's ratio may miss a shape's: 1344x768 counts as 16:9


def nearest_shape(width: int, height: int, shapes: Sequence[str], model: str) -> str:
    """The shape ("16:9") that is nearest to width x height. Raises InputError when none is near."""

    def off(shape: str) -> float:
        across, down = shape.split(":")
        wanted = int(across) / int(down)
        return abs(width / height / wanted - 1)

    best = min(shapes, key=off)
    if off(best) > _NEAR:
        raise InputError(
            f"{width}x{height} is not a shape that {model} draws",
            where="settings",
            hint=f"Its shapes are {', '.join(shapes)}.",
        )
    return best
