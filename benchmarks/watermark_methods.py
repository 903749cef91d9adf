"""The watermarks that are compared: those of the project's registry, and of the package invisible-watermark.

invisible-watermark asks for opencv-python, which clashes with the headless build: install it without its
dependencies, here or in a folder of its own named by --packages (see docs/watermark.md).
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import DependencyError
from nonesuch.provenance.watermark.algorithms import ALGORITHMS
from nonesuch.provenance.watermark.base import Algorithm

RGB = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint8]


class Method(Protocol):
    """A watermark under test."""

    name: str
    length: int  # bits it carries

    def mark(self, image: RGB, bits: Bits) -> RGB:
        """A marked copy of uint8 [H, W, 3]."""

    def read(self, image: RGB) -> Bits | None:
        """The bits [length], or None where the method can tell that there are none."""


@dataclass(slots=True)
class Chosen:
    """One of the project's own registry: nonesuch by a full search, or TrustMark where it is installed."""

    name: str
    algorithm: Algorithm
    length: int = 64

    def mark(self, image: RGB, bits: Bits) -> RGB:
        return self.algorithm.embed(image, int("".join(map(str, bits.tolist())), 2))

    def read(self, image: RGB) -> Bits | None:
        found = self.algorithm.detect(image)
        return None if found is None else np.array([int(bit) for bit in f"{found.payload:064b}"], np.uint8)


@dataclass(slots=True)
class InvisibleWatermark:
    """One of the package's methods: dwtDct and dwtDctSvd with 48 bits here, rivaGan with its 32."""

    name: str
    length: int

    def mark(self, image: RGB, bits: Bits) -> RGB:
        from imwatermark import WatermarkEncoder  # type: ignore[import-not-found,unused-ignore]

        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", bits.tolist())
        marked = encoder.encode(np.ascontiguousarray(image[..., ::-1]), self.name)
        return np.ascontiguousarray(np.clip(marked, 0, 255).astype(np.uint8)[..., ::-1])

    def read(self, image: RGB) -> Bits | None:
        from imwatermark import WatermarkDecoder

        if image.shape[0] * image.shape[1] < 256 * 256:
            return None
        decoder = WatermarkDecoder("bits", self.length)
        return np.asarray(decoder.decode(np.ascontiguousarray(image[..., ::-1]), self.name)).astype(np.uint8)


def open_method(name: str, packages: Path | None) -> Method:
    """The method called `name`: dwtDct, dwtDctSvd, rivaGan, or a watermark of the project's registry.

    Raises DependencyError when its package is missing, InputError for another name.
    """
    if name not in {"dwtDct", "dwtDctSvd", "rivaGan"}:
        return Chosen(name, ALGORITHMS.get(name)())
    if packages is not None and str(packages) not in sys.path:
        sys.path.append(str(packages))
    try:
        importlib.import_module("imwatermark")
    except ImportError as error:
        raise DependencyError(
            f"{name} needs the package invisible-watermark ({error})",
            hint="uv pip install --no-deps --target DIR invisible-watermark onnxruntime, then --packages DIR.",
        ) from error
    if name == "rivaGan":
        _load_networks()
    return InvisibleWatermark(name, 32 if name == "rivaGan" else 48)


def _load_networks() -> None:
    # as the package's own loadModel does, but on one thread: idle ones would spin, and count as spent time
    import imwatermark
    import onnxruntime  # type: ignore[import-not-found,unused-ignore]
    from imwatermark.rivaGan import RivaWatermark  # type: ignore[import-not-found,unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    folder = Path(imwatermark.__file__).parent
    RivaWatermark.encoder = onnxruntime.InferenceSession(str(folder / "rivagan_encoder.onnx"), options)
    RivaWatermark.decoder = onnxruntime.InferenceSession(str(folder / "rivagan_decoder.onnx"), options)
