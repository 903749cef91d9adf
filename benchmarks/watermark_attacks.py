"""What happens to pictures on their way: each attack takes a picture and its own random generator.

"required" are those that the watermark is held to; "reported" are shown as they are.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

RGB = npt.NDArray[np.uint8]
Attack = Callable[[RGB, np.random.Generator], RGB]


def _saved(form: str, quality: int) -> Attack:
    # 4:2:0 is what Pillow's JPEG, WebP and AVIF writers use unless told otherwise; named for JPEG all the same
    options = {"subsampling": 2} if form == "JPEG" else {}

    def attack(image: RGB, _: np.random.Generator) -> RGB:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, form, quality=quality, **options)
        return np.asarray(Image.open(buffer).convert("RGB"))

    return attack


def _scaled(factor: float) -> Attack:
    def attack(image: RGB, _: np.random.Generator) -> RGB:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        return _resize(image, size)

    return attack


def _resize(image: RGB, size: tuple[int, int]) -> RGB:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _any_scale(image: RGB, rng: np.random.Generator) -> RGB:
    return _scaled(float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)))))(image, rng)


def _there_and_back(factor: float) -> Attack:
    def attack(image: RGB, rng: np.random.Generator) -> RGB:
        return _resize(_scaled(factor)(image, rng), (image.shape[1], image.shape[0]))

    return attack


def _cropped(share: float) -> Attack:
    """Takes away `share` of the area, at a random offset."""

    def attack(image: RGB, rng: np.random.Generator) -> RGB:
        height, width = (round(n * np.sqrt(1.0 - share)) for n in image.shape[:2])
        top = rng.integers(0, image.shape[0] - height + 1)
        left = rng.integers(0, image.shape[1] - width + 1)
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    return attack


def _toned(tone: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Attack:
    table = np.clip(np.rint(tone(np.arange(256.0))), 0, 255).astype(np.uint8)

    def attack(image: RGB, _: np.random.Generator) -> RGB:
        return table[image]

    return attack


def _noisy(deviation: float) -> Attack:
    def attack(image: RGB, rng: np.random.Generator) -> RGB:
        noise = rng.normal(0.0, deviation, image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)

    return attack


def _blurred(deviation: float) -> Attack:
    return lambda image, _: np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8)


def _median(image: RGB, _: np.random.Generator) -> RGB:
    return np.asarray(cv2.medianBlur(image, 3), np.uint8)


def _sharpened(image: RGB, _: np.random.Generator) -> RGB:
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.asarray(cv2.addWeighted(image, 2.0, soft, -1.0, 0.0), np.uint8)


def _flipped(image: RGB, _: np.random.Generator) -> RGB:
    return np.ascontiguousarray(image[:, ::-1])


def _quarter(image: RGB, rng: np.random.Generator) -> RGB:
    return np.ascontiguousarray(np.rot90(image, int(rng.integers(1, 4))))


def turned(image: RGB, degrees: float) -> RGB:
    """Turned about its middle at the same size, corners filled with black."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def _tilted(least: float, most: float) -> Attack:
    def attack(image: RGB, rng: np.random.Generator) -> RGB:
        return turned(image, float(rng.uniform(least, most) * rng.choice([-1.0, 1.0])))

    return attack


def _grey(image: RGB, _: np.random.Generator) -> RGB:
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)


def _screenshot(image: RGB, rng: np.random.Generator) -> RGB:
    smaller = _scaled(0.8)(image, rng)
    return _cropped(0.1)(_saved("JPEG", 75)(smaller, rng), rng)


def _perspective(image: RGB, rng: np.random.Generator) -> RGB:
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.02, 0.02, (4, 2)).astype(np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return np.asarray(cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def _printed(image: RGB, rng: np.random.Generator) -> RGB:
    """Roughly what printing and a good camera do: tone, blur, slight tilt and perspective, noise, JPEG 75."""
    toned = _toned(lambda v: 255.0 * (v / 255.0) ** 1.15 * 0.9 + 8.0)(image, rng)
    seen = turned(_perspective(_blurred(1.0)(toned, rng), rng), float(rng.uniform(-2.0, 2.0)))
    return _saved("JPEG", 75)(_noisy(4.0)(seen, rng), rng)


def _contrast(factor: float) -> Attack:
    return _toned(lambda v: (v - 127.5) * factor + 127.5)


REQUIRED: dict[str, Attack] = {
    "none": lambda image, _: image,
    "JPEG 90": _saved("JPEG", 90),
    "JPEG 75": _saved("JPEG", 75),
    "JPEG 50": _saved("JPEG", 50),
    "WebP 80": _saved("WEBP", 80),
    "WebP 50": _saved("WEBP", 50),
    "AVIF 60": _saved("AVIF", 60),
    "resize 0.75 and back": _there_and_back(0.75),
    "resize 0.5 and back": _there_and_back(0.5),
    "scale 0.5": _scaled(0.5),
    "scale 0.5-2.0": _any_scale,
    "scale 2.0": _scaled(2.0),
    "crop 10 %": _cropped(0.1),
    "crop 30 %": _cropped(0.3),
    "crop 50 %": _cropped(0.5),
    "brightness +20 %": _toned(lambda v: v * 1.2),
    "brightness -20 %": _toned(lambda v: v * 0.8),
    "contrast +20 %": _contrast(1.2),
    "contrast -20 %": _contrast(0.8),
    "gamma 0.8": _toned(lambda v: 255.0 * (v / 255.0) ** 0.8),
    "gamma 1.25": _toned(lambda v: 255.0 * (v / 255.0) ** 1.25),
    "noise 5": _noisy(5.0),
    "noise 15": _noisy(15.0),
    "blur 1": _blurred(1.0),
    "blur 2": _blurred(2.0),
    "median 3": _median,
    "sharpen": _sharpened,
    "flip": _flipped,
    "quarter turns": _quarter,
    "rotate 0.5": _tilted(0.5, 0.5),
    "rotate 0.5-5": _tilted(0.5, 5.0),
    "greyscale": _grey,
    "screenshot": _screenshot,
}

# what "three in a row" draws from: one geometric, one of tone or filter, one codec
_GEOMETRIC = ("scale 0.5-2.0", "crop 10 %", "crop 30 %", "flip", "quarter turns", "rotate 0.5-5")
_TONAL = (
    "brightness +20 %", "brightness -20 %", "contrast +20 %", "contrast -20 %", "gamma 0.8", "gamma 1.25",
    "noise 5", "blur 1", "median 3", "sharpen", "greyscale", "resize 0.75 and back",
)  # fmt: skip
_CODECS = ("JPEG 90", "JPEG 75", "JPEG 50", "WebP 80", "AVIF 60")


def _three(image: RGB, rng: np.random.Generator) -> RGB:
    for names in (_GEOMETRIC, _TONAL, _CODECS):
        image = REQUIRED[str(rng.choice(names))](image, rng)
    return image


REQUIRED["three in a row"] = _three

REPORTED: dict[str, Attack] = {
    "JPEG 30": _saved("JPEG", 30),
    "crop 75 %": _cropped(0.75),
    "perspective 2 %": _perspective,
    "print and scan": _printed,
    "rotate 45": _tilted(45.0, 45.0),
    "half size, JPEG 50": lambda image, rng: _saved("JPEG", 50)(_scaled(0.5)(image, rng), rng),
}
