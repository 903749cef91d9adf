"""The state of a training on disk: one safetensors file, renamed whole, from which it continues bit for bit.

No state of a random generator is kept: each step draws from a generator seeded by the training's seed and the
step's number, so a step is the same whether or not the process was stopped before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write

CHECKPOINT: Final = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """A training after a step."""

    step: int  # steps done
    digest: str  # LoraSettings.digest
    losses: tuple[float, ...]  # of each step done, of the subject's images
    prior_losses: tuple[float, ...]  # of each step done, of the class images
    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, torch.Tensor]  # AdamW's, by "m1.NAME" and "m2.NAME"


def save_state(out: Path, state: State) -> None:
    """Write the checkpoint of the folder `out`. Raises StorageError for a full disk."""
    tensors = {f"w.{name}": value.detach().cpu().contiguous() for name, value in state.weights.items()}
    tensors |= {name: value.detach().cpu().contiguous() for name, value in state.moments.items()}
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    tensors["prior_losses"] = torch.tensor(state.prior_losses, dtype=torch.float64)
    facts = json.dumps({"step": state.step, "digest": state.digest})
    atomic_write(out / CHECKPOINT, save(tensors, {"nonesuch.training": facts}))


def load_state(out: Path, digest: str) -> State | None:
    """The checkpoint of the folder `out`; None when there is none.

    Raises InputError for one of a training with other settings, another base or other images, and for a broken file.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["nonesuch.training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step, told = int(facts["step"]), str(facts["digest"])
        losses, prior = tensors.pop("losses").tolist(), tensors.pop("prior_losses").tolist()
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"is no checkpoint ({error})", where=str(path), hint="Begin anew with --restart."
        ) from error
    if told != digest:
        raise InputError(
            "is the checkpoint of a training with other settings, another base or other images",
            where=str(path),
            hint="Give this training another --out, or begin anew with --restart.",
        )
    weights = {name[2:]: value for name, value in tensors.items() if name.startswith("w.")}
    moments = {name: value for name, value in tensors.items() if name.startswith(("m1.", "m2."))}
    return State(step, digest, tuple(losses), tuple(prior), weights, moments)
