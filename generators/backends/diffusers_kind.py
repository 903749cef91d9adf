"""How diffusers pipelines are found: the embedded one, a local folder, or a hub id."""

from __future__ import annotations

from pathlib import Path

from nonesuch.foundation.errors import DependencyError
from nonesuch.generators.backends.base import Backend
from nonesuch.generators.models import EMBEDDED_FOLDER, ModelFacts, folder_facts, hub_facts


class DiffusersKind:
    """Describes and opens diffusers pipelines."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """Facts of the embedded model, of a folder (under its absolute path), or of a hub id."""
        if model == "embedded":
            if not (EMBEDDED_FOLDER / "model_index.json").is_file():
                raise DependencyError(
                    "the embedded model's weights are missing", where=str(EMBEDDED_FOLDER),
                    hint="Install nonesuch again, or train them: see training/.",
                )  # fmt: skip
            return folder_facts("embedded", EMBEDDED_FOLDER)
        path = (folder / Path(model).expanduser()).resolve()
        if path.is_dir():
            return folder_facts(str(path), path)
        return hub_facts(model, revision, network=network)

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> Backend:
        """A backend for the pipeline; torch is imported when it loads."""
        from nonesuch.generators.backends.diffusers_backend import DiffusersBackend

        return DiffusersBackend(facts, device=device, batch_size=batch_size, network=network)
