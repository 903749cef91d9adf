"""Backends by model name: which kind a name belongs to, its facts, and opening it. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.registry import Registry
from nonesuch.generators.backends.base import (
    DRAWN_HERE,
    Backend,
    BackendKind,
    BackendStopped,
    Drawing,
    Origin,
    RemoteKind,
    Spooling,
    draw_anew,
)
from nonesuch.generators.models import ModelFacts, is_hub_id
from nonesuch.generators.sweepfile.connections import Connection

__all__ = [
    "BACKENDS",
    "DRAWN_HERE",
    "REMOTE",
    "Backend",
    "BackendKind",
    "BackendStopped",
    "Drawing",
    "Origin",
    "Spooling",
    "draw_anew",
    "model_facts",
    "open_backend",
]  # fmt: skip

REMOTE: Final = {
    "a1111": "A1111Kind",
    "comfyui": "ComfyKind",
    "google": "GoogleKind",
    "openai": "OpenAIKind",
    "stability": "StabilityKind",
}  # engines and services, with their class in remote/kinds.py
_SCHEME: Final = re.compile(r"([a-z][a-z0-9_]+):(.*)", re.DOTALL)


BACKENDS: Final[Registry[BackendKind]] = Registry("backend", "backends")
BACKENDS.register("diffusers", f"{__name__}.diffusers_kind:DiffusersKind")
BACKENDS.register("noise", f"{__name__}.noise:NoiseKind")
for _name, _kind in REMOTE.items():
    BACKENDS.register(_name, f"{__name__}.remote.kinds:{_kind}")


def model_facts(
    model: str,
    revision: str | None = None,
    *,
    folder: Path = Path(),
    network: bool = False,
    connection: Connection | None = None,
) -> ModelFacts:
    """What is known of a model without loading it: "embedded", "noise", a folder (relative ones start
    from `folder`), a hub id, or `kind:name` for an engine, a service or a backend from another package.

    `connection` says how an engine or service is reached; others have no use for it.

    The network is used only where `network` allows it; without it a hub id that is not in the local
    cache gives facts that are not `resolved`. Raises InputError for a name that is none of these.
    """
    kind = BACKENDS.get(_kind_of(model, folder))()
    if isinstance(kind, RemoteKind):
        return kind.describe_remote(
            model, revision, folder=folder, network=network, connection=connection or Connection()
        )
    return kind.describe(model, revision, folder=folder, network=network)


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
        return scheme[1]
    if is_hub_id(model) and not model.startswith("."):
        return "diffusers"
    raise InputError(
        f"{model!r} is neither embedded, noise, a folder with a diffusers pipeline, nor a hub id (owner/name)",
        where="model",
    )
