"""A backend that fails when it is told to: the noise backend with faults, for the fault suite.

The model `faulty:FOLDER` draws noise. A file FOLDER/hang-SEED makes it hang at the recipe of that seed,
FOLDER/die-SEED makes its process die there; the file is taken away first, so that it happens once, unless its
text is `always`. FOLDER/slow holds the seconds that each image takes.

The model `crowded:FOLDER` is the embedded one on a device whose memory holds as many images as FOLDER/memory says:
its denoiser raises torch.OutOfMemoryError for a larger batch, and FOLDER/refused gets a line.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nonesuch.generators.backends import Backend, Drawing, open_backend
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe

KIND, CROWDED = "faulty", "crowded"


class Faulty:
    """The noise backend under a fault folder's control."""

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts
        self._noise: Backend = open_backend("noise")
        self._folder = Path(facts.model.removeprefix(f"{KIND}:"))

    def load(self) -> None:
        """There is nothing to load."""

    def check(self, recipe: Recipe) -> None:
        """Everything can be drawn."""

    def close(self) -> None:
        """There is nothing to give back."""

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """Noise, slowly, until a fault is due."""
        slow = self._folder / "slow"
        pause = float(slow.read_text()) if slow.exists() else 0.0
        for recipe in recipes:
            time.sleep(pause)
            if self._due("hang", recipe):
                while True:
                    time.sleep(3600)
            if self._due("die", recipe):
                os.kill(os.getpid(), signal.SIGKILL)
            yield from self._noise.draw([recipe])

    def _due(self, fault: str, recipe: Recipe) -> bool:
        path = self._folder / f"{fault}-{recipe.seed}"
        try:
            if path.read_text() != "always":
                path.unlink()
        except FileNotFoundError:
            return False
        return True


class FaultyKind:
    """Describes and opens it."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """The noise backend's facts under another name."""
        return replace(open_backend("noise").facts, model=model, backend=KIND, digest="faulty/1")

    def open(self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool) -> Faulty:
        """A faulty backend."""
        return Faulty(facts)


class CrowdedKind:
    """Describes and opens the embedded model with little memory."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """The embedded model's facts under another name."""
        return replace(open_backend("embedded").facts, model=model, backend=CROWDED, digest="crowded/1")

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> Backend:
        """The diffusers backend, whose denoiser counts what it is given."""
        import torch

        backend: Any = open_backend("embedded", batch_size=4)
        backend.load()
        folder = Path(facts.model.removeprefix(f"{CROWDED}:"))
        (folder / "refused").touch()
        pipe = backend._pipe
        denoiser = getattr(pipe, "unet", None) or pipe.transformer

        def refuse(module: Any, args: Any, kwargs: Any) -> None:
            sample = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
            if len(sample) > 2 * int((folder / "memory").read_text()):  # guidance doubles the batch
                with (folder / "refused").open("a") as file:
                    file.write(f"{len(sample)}\n")
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        denoiser.register_forward_pre_hook(refuse, with_kwargs=True)
        return backend  # type: ignore[no-any-return]


def install(folder: Path) -> str:
    """Make `folder` a place on PYTHONPATH from which every process finds this backend; returns the PYTHONPATH."""
    info = folder / "faulty-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[nonesuch.backends]\n{KIND} = {__name__}:FaultyKind\n{CROWDED} = {__name__}:CrowdedKind\n"
    )
    return os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
