"""Which ways each diffusers pipeline supports, as far as its class shows before it is loaded.

A class that is not listed is asked when it is loaded. tests/generators/test_ways_planning.py holds this table
against the installed diffusers.
"""

from __future__ import annotations

from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.models import ModelFacts

# What each class can do: start from an image ("image"), be guided by ControlNets ("control") or an image prompt
# ("image_prompt"), and hand its latents to a refiner ("refiner").
ABILITIES: Final[dict[str, frozenset[str]]] = {
    "StableDiffusionPipeline": frozenset({"image", "control", "image_prompt"}),
    "StableDiffusionXLPipeline": frozenset({"image", "control", "image_prompt", "refiner"}),
    "StableDiffusion3Pipeline": frozenset({"image", "control"}),
    "FluxPipeline": frozenset({"image", "control"}),
    "QwenImagePipeline": frozenset({"image", "control"}),
    "PixArtAlphaPipeline": frozenset(),
    "PixArtSigmaPipeline": frozenset(),
    "SanaPipeline": frozenset(),
    "Lumina2Pipeline": frozenset(),
    "CogView4Pipeline": frozenset(),
}

_WORDS: Final = {
    "image": "can't start from an image",
    "control": "takes no ControlNet",
    "image_prompt": "takes no image prompt",
    "refiner": "can't pass its latents to a refiner",
}


def check_way(facts: ModelFacts, way: str, *, where: str) -> None:
    """Raise InputError when a model is not drawn by diffusers, which alone goes these ways. Noise goes any."""
    if facts.backend not in ("diffusers", "noise"):
        raise InputError(
            f"{way} goes with models that diffusers draws, not with {facts.model}",
            where=where,
            hint="Let the engine do it in its own workflow or options.",
        )


def check_ability(facts: ModelFacts, ability: str, *, where: str) -> None:
    """Raise InputError when the model's pipeline is known to lack an ability."""
    if facts.backend != "diffusers" or facts.pipeline is None:
        return
    known = ABILITIES.get(facts.pipeline)
    if known is not None and ability not in known:
        can = sorted(name for name, abilities in ABILITIES.items() if ability in abilities)
        raise InputError(
            f"{facts.pipeline} {_WORDS[ability]}", where=where, hint=f"Known to: {', '.join(can)}."
        )
