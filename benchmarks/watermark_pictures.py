"""The pictures of the watermark benchmarks: photographs that installed packages carry, and the embedded model's own.

Photographs come from scikit-image's and PyWavelets' own data (in their wheels, nothing fetched), scikit-learn's
where it is installed, and any folder the caller names (docs/watermark.md says what fills one). Each gives one
512 x 512 picture, scaled so that its shorter side is 512 and cut from the middle. Cut-outs of pictures of 640
pixels and more each way, at full resolution, side by side, six at most, are a kind of their own for photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from nonesuch.foundation.errors import InputError

RGB = npt.NDArray[np.uint8]
SIDE = 512
_SCIKIT_IMAGE = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "ihc.png", "moon.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg",
    "hubble_deep_field.jpg", "page.png",
)  # fmt: skip
_LARGE = 640  # pixels on the shorter side from which cut-outs are taken
_CUTS = 6  # full-resolution cut-outs taken from a large picture
_FLAT = 2.0  # standard deviation of luma under which a cut-out shows nothing


def photographs(folder: Path | None) -> dict[str, RGB]:
    """Name to uint8 [512, 512, 3], one for each source; `folder` adds its own PNG, JPEG and WebP files."""
    return {name: fitted(picture, SIDE) for name, picture in _sources(folder)}


def cut_outs(folder: Path | None) -> dict[str, RGB]:
    """Name to uint8 [512, 512, 3] of the full-resolution regions of large photographs."""
    return dict(entry for source in _sources(folder) for entry in _named_cuts(*source))


def generated(folder: Path) -> dict[str, RGB]:
    """Pictures of the embedded model, or any other, brought to 512 x 512 by Lanczos scaling; large ones cut too."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".webp"})
    if not files:
        raise InputError("no pictures", where=str(folder), hint="Name a folder of generated pictures.")
    found: dict[str, RGB] = {}
    for path in files:
        name, picture = str(path.relative_to(folder)), _read(path)
        found |= {name: fitted(picture, SIDE), **dict(_named_cuts(name, picture))}
    return found


def own_size(folder: Path, most: int) -> dict[str, RGB]:
    """Pictures of at most `most` pixels each way, as they are."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".webp"})
    found = {str(p.relative_to(folder)): _read(p) for p in files}
    return {name: picture for name, picture in found.items() if max(picture.shape[:2]) <= most}


def large(folder: Path | None) -> list[RGB]:
    """Photographs of 1,024 pixels and more each way, whole."""
    return [picture for _, picture in _sources(folder) if min(picture.shape[:2]) >= 2 * SIDE]


def fitted(picture: RGB, side: int) -> RGB:
    """The middle of `picture`, scaled so that its shorter side is `side`."""
    height, width = picture.shape[:2]
    factor = side / min(height, width)
    if factor != 1.0:
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LANCZOS4
        size = (max(side, round(width * factor)), max(side, round(height * factor)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def _named_cuts(name: str, picture: RGB) -> Iterator[tuple[str, RGB]]:
    if min(picture.shape[:2]) >= _LARGE:
        yield from ((f"{name}#{number}", cut) for number, cut in enumerate(_cuts(picture)))


def _cuts(picture: RGB) -> Iterator[RGB]:
    taken = 0
    for top in range(0, picture.shape[0] - SIDE + 1, SIDE):
        for left in range(0, picture.shape[1] - SIDE + 1, SIDE):
            cut = picture[top : top + SIDE, left : left + SIDE]
            if taken < _CUTS and cut.mean(axis=2).std() >= _FLAT:
                taken += 1
                yield np.ascontiguousarray(cut)


def _read(path: Path) -> RGB:
    return np.asarray(Image.open(path).convert("RGB"))


def _sources(folder: Path | None) -> Iterator[tuple[str, RGB]]:
    import pywt
    import skimage

    for name in _SCIKIT_IMAGE:
        yield name, _read(Path(skimage.__file__).parent / "data" / name)
    for name in ("aero", "ascent"):
        with np.load(Path(pywt.__file__).parent / "data" / f"{name}.npz") as stored:
            grey = np.clip(next(iter(stored.values())), 0, 255).astype(np.uint8)
        yield name, np.repeat(grey[..., None], 3, axis=2)
    try:
        from sklearn.datasets import load_sample_images  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        samples = load_sample_images()
        yield from zip(map(Path.name.fget, map(Path, samples.filenames)), samples.images, strict=True)
    if folder is not None:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"}:
                picture = _read(path)
                if min(picture.shape[:2]) >= SIDE // 2:
                    yield path.name, picture
