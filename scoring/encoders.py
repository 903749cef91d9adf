"""The image and text encoder behind every score: its protocol, and opening one by name."""

from __future__ import annotations

from pathlib import Path

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.foundation.registry import Registry
from nonesuch.scoring.base import Encoder, Precision

EMBEDDED = Path(__file__).parent / "embedded"  # the shipped open_clip folder


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
        raise InputError(f"the embedded encoder takes no argument after its name, not {rest!r}")
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
