"""The Prefect flow `train`: a LoRA of a subject, as one task that can be run again to continue.

How far a training is, its folder's checkpoint says, never Prefect's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from nonesuch.flows.run.output_folder import hold
from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import model_facts
from nonesuch.generators.models import ModelFacts
from nonesuch.training.lora.lora_settings import LoraSettings
from nonesuch.training.lora.training_images import Found, read_pictures

if TYPE_CHECKING:
    from nonesuch.training.lora.loop import Trained, TrainingWatcher

_PROGRESS_EVERY = 5.0  # seconds between two updates of the progress artifact


_watchers: list[TrainingWatcher] = []


@contextmanager
def training_watched_by(watcher: TrainingWatcher) -> Iterator[None]:
    """Tell `watcher` of every training that this process runs inside the block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def check_training(settings: LoraSettings, *, revision: str | None, online: bool) -> tuple[ModelFacts, Found]:
    """The base's facts and the images, before anything heavy is loaded.

    Raises InputError for a base that is not known or can't be trained, for settings out of their range and for a
    folder without images.
    """
    facts = model_facts(settings.base, revision, network=online)
    if not facts.resolved:
        raise InputError(
            "is not on this machine", where=f"--base {settings.base}", hint="Leave --offline out to fetch it."
        )
    if facts.backend != "diffusers":
        raise InputError(f"{settings.base} is no diffusers pipeline", where="--base")
    settings.check(facts)
    return facts, read_pictures(settings.images, settings.side(facts))


@task(name="train", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def train_task(name: str, work: Any) -> Trained:
    """Train into a folder; `work` is a quoted (settings, facts, found, out, options)."""
    from nonesuch.training.lora.loop import train_lora

    settings, facts, found, out, options = work
    return train_lora(settings, facts, found, out, **options)


@flow(name="train", flow_run_name="{settings.name}", persist_result=False, validate_parameters=False)
def train(
    settings: LoraSettings,
    out: Path,
    revision: str | None = None,
    online: bool = True,
    restart: bool = False,
) -> Trained:
    """Train a LoRA into the folder `out`; what comes of it.

    Run it again to continue after a stop: the result is the same as without one. `restart` begins anew.
    Raises InputError as check_training and load_state do, StorageError when `out` can't be written or is held.
    """
    facts, found = check_training(settings, revision=revision, online=online)
    out = Path(out)
    with hold(out):
        artifact = _Progress(settings.name)
        options = {"watcher": artifact, "network": online, "restart": restart}
        done: Trained = train_task(settings.name, quote((settings, facts, found, out, options)))
    told = (
        f"{settings.subject}: {done.steps:,} steps on {len(found.pictures)} images, loss {done.loss:.4f}, "
        f"{done.seconds:.0f} s. {done.result.file.name} has the digest {done.result.digest}."
    )
    create_markdown_artifact(told, key=f"trained-{_slug(settings.name)}")
    return done


class _Progress:
    """The run's progress artifact, renewed at most every few seconds; passes on what it is given."""

    def __init__(self, name: str) -> None:
        created = create_progress_artifact(
            progress=0.0, key=f"train-{_slug(name)}", description=f"Training {name}"
        )
        self._id = cast(UUID, created)  # a coroutine only in async flows
        self._next = monotonic() + _PROGRESS_EVERY

    def advanced(self, what: str, done: int, total: int, loss: float | None) -> None:
        for watcher in _watchers:
            watcher.advanced(what, done, total, loss)
        if monotonic() >= self._next or done == total:
            self._next = monotonic() + _PROGRESS_EVERY
            told = f"{done:,} of {total:,} {what}" + (f", loss {loss:.4f}" if loss is not None else "")
            update_progress_artifact(self._id, 100.0 * done / total, description=told)


def _slug(name: str) -> str:
    """Prefect's artifact keys take lower-case ASCII letters, digits and dashes only."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
