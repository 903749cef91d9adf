"""Embedding the chosen watermark into pixels, and its soft binding."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB
from nonesuch.provenance import watermark
from nonesuch.provenance.watermark.algorithms import ALGORITHMS
from nonesuch.provenance.watermark.base import Algorithm

OWN = "nonesuch"  # of the registry: the one that has a strength and a key

_DIGITS = re.compile(r"[0-9a-fA-F]{16}")
_opened: dict[str, Algorithm] = {}
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Watermarked:
    """An image with its watermark."""

    image: RGB
    algorithm: str  # its name in C2PA soft bindings
    psnr: float  # dB over RGB, infinite when nothing changed


def open_algorithm(name: str) -> Algorithm:
    """The watermark registered as `name`, loaded once a process.

    Raises InputError for an unknown one, DependencyError when its package or weights are missing.
    """
    with _opening:
        if name not in _opened:
            _opened[name] = ALGORITHMS.get(name)()
        return _opened[name]


def registered_name(algorithm: str) -> str:
    """The registry's name of the algorithm that a soft binding names, as far as it is open; else nonesuch's own."""
    return next((name for name, one in _opened.items() if one.name == algorithm), OWN)


def put_watermark(
    image: RGB, payload: int, *, name: str = OWN, strength: float = 1.0, key: bytes | None = None
) -> Watermarked:
    """uint8 [H, W, 3] with `payload`, 64 bits, in the watermark registered as `name`.

    Raises InputError for a strength or key that it doesn't take, and for images that it can't mark;
    DependencyError when its package or weights are missing.
    """
    import cv2
    import numpy as np

    if name == OWN:
        marked, algorithm = watermark.embed(image, payload, strength=strength, key=key), watermark.ALGORITHM
    else:
        check_choice(name, strength, secret=key is not None)
        opened = open_algorithm(name)
        marked, algorithm = opened.embed(image, payload), opened.name
    error = float(cv2.norm(image, marked, cv2.NORM_L2SQR)) / image.size
    return Watermarked(
        marked, algorithm, float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
    )


def check_choice(name: str, strength: float, *, secret: bool) -> None:
    """Raises InputError when another watermark than nonesuch's is given a strength or a secret key."""
    if name != OWN and (strength != 1.0 or secret):
        raise InputError(
            f"the watermark {name} has no {'key' if secret else 'strength'}",
            hint=f"Leave it out, or use the watermark {OWN}.",
        )


def binding_value(algorithm: str, payload: int) -> str:
    """A payload as the value of a C2PA soft binding: 16 hex digits, or TrustMark's scheme and bits."""
    from nonesuch.provenance.watermark import trustmark

    return trustmark.binding_value(payload) if algorithm == trustmark.NAME else f"{payload:016x}"


def bound_payload(algorithm: str, value: str) -> int | None:
    """The payload that a soft binding's value names, or None when `binding_value` gives no such value."""
    from nonesuch.provenance.watermark import trustmark

    if algorithm == trustmark.NAME:
        return trustmark.bound_payload(value)
    return int(value, 16) if _DIGITS.fullmatch(value) else None
