"""Backends by model name: which kind a name belongs to, its facts, and opening it. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from foundation.errors import InputError
from foundation.registry import Registry
from generators.backends.base import Backend, BackendKind, Drawing
from generators.models import ModelFacts, is_hub_id

__all__ = ["BACKENDS", "Backend", "BackendKind", "Drawing", "model_facts", "open_backend"]

_PLANNED: Final = ("a1111", "comfyui", "google", "openai", "stability")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9_]+):(.*)", re.DOTALL)


def _diffusers() -> BackendKind:
    from generators.backends.diffusers_kind import DiffusersKind

    return DiffusersKind()


def _noise() -> BackendKind:
    from generators.backends.noise import NoiseKind

    return NoiseKind()


BACKENDS: Final[Registry[BackendKind]] = Registry("backend", "backends")
BACKENDS.register("diffusers", _diffusers)
BACKENDS.register("noise", _noise)


def model_facts(
    model: str, revision: str | None = None, *, folder: Path = Path(), network: bool = False
) -> ModelFacts:
    """What is known of a model without loading it: "embedded", "noise", a folder (relative ones start
    from `folder`), a hub id, or `kind:name` for a backend from another package.

    The network is used only where `network` allows it; without it a hub id that is not in the local
    cache gives facts that are not `resolved`. Raises InputError for a name that is none of these.
    """
    kind = _kind_of(model, folder)
    return BACKENDS.get(kind)().describe(model, revision, folder=folder, network=network)


def open_backend(
    model: str | ModelFacts,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    network: bool = False,
) -> Backend:
    """A backend for a model, named or described; its weights are loaded at the first drawing.

    `device` is torch's name of one ("cpu", "cuda:1"), by default the best there is; `batch_size` is
    the largest batch, by default what suits the device and the image size.
    """
    facts = model_facts(model, network=network) if isinstance(model, str) else model
    return BACKENDS.get(facts.backend)().open(facts, device=device, batch_size=batch_size, network=network)


def _kind_of(model: str, folder: Path) -> str:
    if model == "noise":
        return "noise"
    if model == "embedded" or (folder / Path(model).expanduser()).is_dir():
        return "diffusers"
    scheme = _SCHEME.fullmatch(model)
    if scheme:
        if scheme[1] in _PLANNED and scheme[1] not in BACKENDS:
            raise InputError(
                f"{model!r}: drawing through {scheme[1]} is not there yet",
                where="model",
                hint=f"Use embedded, noise, a folder, a hub id, or one of: {', '.join(BACKENDS)}.",
            )
        return scheme[1]
    if is_hub_id(model) and not model.startswith("."):
        return "diffusers"
    raise InputError(
        f"{model!r} is neither embedded, noise, a folder with a diffusers pipeline, nor a hub id (owner/name)",
        where="model",
    )
