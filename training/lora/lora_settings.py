"""What a LoRA is trained on and how, checked before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import InputError
from nonesuch.generators.models import ModelFacts

# Pipelines that the training knows: a UNet conditioned by one or two CLIP text encoders.
FAMILIES: Final = {
    "StableDiffusionPipeline": "stable-diffusion-v1",
    "StableDiffusionXLPipeline": "stable-diffusion-xl-v1-base",
}
# Layers of the UNet that get low-rank additions: attention alone, or convolutions and feed-forward too.
ATTENTION: Final = ("to_q", "to_k", "to_v", "to_out.0")
EVERYTHING: Final = (
    *ATTENTION,
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
)
# Prior preservation: the class images themselves (Ruiz et al. 2023), or what the base says of them when noisy, which a
# model that has learnt nothing yet says too (learning without forgetting, Li & Hoiem 2016), or none.
PRIORS: Final = ("base", "images", "none")
TEXT_LAYERS: Final = ("q_proj", "k_proj", "v_proj", "out_proj")
MAX_STEPS: Final = 1_000_000
# Folders and names of this machine, and what a person sees on the way.
_NOT_TOLD: Final = frozenset({"images", "base", "checkpoint_every", "samples", "sample_seeds"})


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """One training. What changes its result is in `digest`."""

    subject: str  # the words that will stand for what the images show: a rare word and a class, "sks person"
    images: Path  # folder of images, with a caption beside each where there is NAME.txt
    base: str  # model: embedded, a folder or a hub id
    prompt: str = "a photo of {subject}"  # of images without a caption
    prior: str = "base"  # what class images hold the model to: one of PRIORS
    class_prompts: tuple[str, ...] = ()  # what the base draws of itself, so that it keeps it; () for no prior
    class_images: int = 100  # of all class prompts together
    prior_weight: float = 1.0  # of the class images' loss
    rank: int = 16
    layers: str = "attention"  # of the UNet: "attention" or "all"
    text_encoder: bool = False  # train the text encoders as well
    steps: int = 1000
    batch: int = 1  # images of the subject in a step; as many class images go with them
    rate: float = 1e-4  # learning rate
    text_rate: float = 5e-5  # of the text encoders
    warmup: int = 50  # steps until the rate is reached
    flip: bool = True  # mirror every other image
    resolution: int | None = None  # px per side; the model's own when left out
    seed: int = 0
    checkpoint_every: int = 200  # steps
    samples: tuple[str, ...] = ()  # prompts drawn at each checkpoint; the subject's own when empty
    sample_seeds: int = 4  # images of each

    def check(self, facts: ModelFacts) -> None:
        """Raise InputError for what can't be trained, or not on this base."""
        if facts.pipeline is not None and facts.pipeline not in FAMILIES:
            raise InputError(
                f"a {facts.pipeline} can't be trained here",
                where="--base",
                hint=f"Trained are: {', '.join(FAMILIES)} (SD 1.x, SD 2.x, SDXL, embedded).",
            )
        limits = {
            "--rank": (self.rank, 1, 1024), "--steps": (self.steps, 1, MAX_STEPS), "--batch": (self.batch, 1, 256),
            "--class-images": (self.class_images, 1, 100_000), "--checkpoint-every": (self.checkpoint_every, 1, MAX_STEPS),
        }  # fmt: skip
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise InputError(f"{value} is not between {low} and {high}", where=name)
        for name, rate in (("--rate", self.rate), ("--text-rate", self.text_rate)):
            if not 0 < rate <= 1:
                raise InputError(f"{rate:g} is not above 0 and at most 1", where=name)
        if self.prior_weight < 0:
            raise InputError(f"{self.prior_weight:g} is below 0", where="--prior-weight")
        if self.layers not in ("attention", "all"):
            raise InputError(f"{self.layers!r} is neither attention nor all", where="--layers")
        if self.prior not in PRIORS:
            raise InputError(f"{self.prior!r} is none of {', '.join(PRIORS)}", where="--prior")
        if not self.subject.strip():
            raise InputError("the subject is empty", where="--subject", hint='For example "sks person".')
        if "{subject}" not in self.prompt:
            raise InputError("the prompt does not hold {subject}", where="--prompt")
        side = self.side(facts)
        facts.check_size(side, side, where="--resolution")

    def side(self, facts: ModelFacts) -> int:
        """Pixels a side that images are trained at."""
        return self.resolution or min(facts.defaults.width, facts.defaults.height)

    @property
    def name(self) -> str:
        """The subject as a file's name: "sks person" is sks-person."""
        letters = "".join(letter if letter.isalnum() else "-" for letter in self.subject.lower())
        return "-".join(part for part in letters.split("-") if part)[:60] or "lora"

    @property
    def sample_prompts(self) -> tuple[str, ...]:
        """What is drawn at each checkpoint."""
        return self.samples or (self.prompt.replace("{subject}", self.subject),)

    def told(self) -> dict[str, Any]:
        """The settings as JSON, without folders of this machine."""
        told = dataclasses.asdict(self)
        return {name: value for name, value in told.items() if name not in _NOT_TOLD}

    def digest(self, base_digest: str, pictures: tuple[str, ...]) -> str:
        """SHA-256 over what decides each step: a checkpoint is gone on from only where it is the same.

        The number of steps is not part of it: a finished training can be made longer.
        """
        told = {key: value for key, value in self.told().items() if key != "steps"}
        return canonical_digest({**told, "base": base_digest, "pictures": list(pictures)})


def class_prompt(prompt: str, subject: str) -> str | None:
    """The prompt for the subject's class: its words without the first, rare one. None when it has only one word.

    >>> class_prompt("a photo of {subject}", "sks person")
    'a photo of person'
    """
    words = subject.split()
    return prompt.replace("{subject}", " ".join(words[1:])) if len(words) > 1 else None
