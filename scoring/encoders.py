"""The image and text encoder behind every score: its protocol, and opening one by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.foundation.images import RGB
from nonesuch.foundation.registry import Registry

Floats = npt.NDArray[np.float32]
Precision = Literal["auto", "fp32", "bf16"]

EMBEDDED = Path(__file__).parent / "embedded"  # the shipped open_clip folder


class Encoder(Protocol):
    """A contrastive image-text model (Radford et al. 2021, arXiv:2103.00020), loaded and ready."""

    @property
    def name(self) -> str:
        """The model's name: 'embedded', an open_clip model, 'hf-hub:…' or 'local-dir:…'."""

    @property
    def tag(self) -> str:
        """What pins the weights: pretrained tag, hub revision, or the first 12 digits of their digest."""

    @property
    def preprocessing(self) -> str:
        """What happens to a picture before the network: size, resize mode, interpolation, mean, std."""

    @property
    def precision(self) -> str:
        """'fp32', or 'bf16' for bfloat16 autocast."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weight file, 64 hex digits, or None when it is not known."""

    @property
    def dim(self) -> int:
        """Length D of an embedding."""

    @property
    def logit_scale(self) -> float:
        """Factor from cosines to logits that the model was trained with (CLIP: about 100)."""

    def images(self, images: Sequence[RGB]) -> Floats:
        """Embeddings float32 [N, D] of length 1 for uint8 [H, W, 3] sRGB pictures of any sizes."""

    def texts(self, texts: Sequence[str]) -> Floats:
        """Embeddings float32 [N, D] of length 1; each distinct text is encoded once and kept."""


ENCODERS: Registry[Encoder] = Registry("encoder", "encoders")


def open_encoder(
    name: str = "embedded", device: str = "auto", *, precision: Precision = "auto", online: bool = False
) -> Encoder:
    """Load the encoder `name` onto `device`.

    name: "embedded"; an open_clip model with its pretrained tag, "ViT-L-14/openai"; "hf-hub:owner/model";
    "local-dir:folder" with open_clip_config.json and open_clip_model.safetensors; or the name of an
    encoder that another package registers in the entry point group `nonesuch.encoders`, where what follows
    the first colon is handed to it. Such a factory takes (rest, device=, precision=, online=).
    device: "auto" (CUDA when there is one), or a torch device. precision: "auto" is bfloat16 autocast on
    CUDA devices that have it and float32 elsewhere.
    Unless `online`, nothing is fetched and only weights already on this machine are used.
    Raises InputError for an unknown name, DependencyError for weights that aren't here, ScoringError when
    they can't be loaded.
    """
    scheme, _, rest = name.partition(":")
    if ":" not in name and "/" in name:
        scheme, rest = "open_clip", name
    return ENCODERS.get(scheme)(rest, device=device, precision=precision, online=online)


def _embedded(rest: str, *, device: str, precision: Precision, online: bool) -> Encoder:
    from nonesuch.scoring.clip import load
    from nonesuch.scoring.weights import local_source

    if rest:
        raise InputError(f"the embedded encoder takes nothing after its name, not {rest!r}")
    if not (EMBEDDED / "open_clip_config.json").is_file():
        raise DependencyError(
            "the embedded CLIP's files are missing",
            where=str(EMBEDDED),
            hint="Install nonesuch again, or train them with the command in training/README.md.",
        )
    return load(local_source(EMBEDDED, name="embedded"), device=device, precision=precision, online=False)


def _local_dir(rest: str, *, device: str, precision: Precision, online: bool) -> Encoder:
    from nonesuch.scoring.clip import load
    from nonesuch.scoring.weights import local_source

    folder = Path(rest)
    source = local_source(folder, name=f"local-dir:{folder.resolve().name}")
    return load(source, device=device, precision=precision, online=online)


def _hub(rest: str, *, device: str, precision: Precision, online: bool) -> Encoder:
    from nonesuch.scoring.clip import load
    from nonesuch.scoring.weights import hub_source

    return load(hub_source(rest, online=online), device=device, precision=precision, online=online)


def _open_clip(rest: str, *, device: str, precision: Precision, online: bool) -> Encoder:
    from nonesuch.scoring.clip import load
    from nonesuch.scoring.weights import tag_source

    return load(tag_source(rest, online=online), device=device, precision=precision, online=online)


ENCODERS.register("embedded", _embedded)
ENCODERS.register("local-dir", _local_dir)
ENCODERS.register("hf-hub", _hub)
ENCODERS.register("open_clip", _open_clip)
