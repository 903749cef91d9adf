"""Training a LoRA from Python or the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nonesuch.running.sweeps import leave_errors_to_the_caller

if TYPE_CHECKING:
    from nonesuch.training.lora.loop import Trained
    from nonesuch.training.lora.lora_settings import LoraSettings


def train_subject(
    settings: LoraSettings,
    out: Path,
    *,
    revision: str | None = None,
    online: bool = True,
    restart: bool = False,
) -> Trained:
    """Run the flow `train` on Prefect's embedded server, or on the one that PREFECT_API_URL names.

    The arguments are nonesuch.flows.train.train's, and so is what is raised; what is wrong with the settings, the base or
    the images is reported before the server starts.
    """
    from nonesuch.flows.train import check_training, train

    check_training(settings, revision=revision, online=online)
    leave_errors_to_the_caller()
    done: Trained = train(settings, out, revision=revision, online=online, restart=restart)
    return done


def class_prompt(prompt: str, subject: str) -> str | None:
    """The prompt for the subject's class: its words without the first, rare one. None when it has only one word.

    >>> class_prompt("a photo of {subject}", "sks person")
    'a photo of person'
    """
    words = subject.split()
    return prompt.replace("{subject}", " ".join(words[1:])) if len(words) > 1 else None
