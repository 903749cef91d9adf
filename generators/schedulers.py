"""Schedulers by short name: a table, so that a sweep is checked without importing diffusers."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from nonesuch.foundation.errors import InputError

DEFAULT: Final = "default"  # the scheduler that the model's folder names, as it is configured there


@dataclass(frozen=True, slots=True)
class SchedulerChoice:
    """A diffusers scheduler class and what is changed in its configuration."""

    cls: str  # class name in diffusers
    config: dict[str, Any] = field(default_factory=dict)


_KARRAS: Final = {"use_karras_sigmas": True}
_SDE: Final = {"algorithm_type": "sde-dpmsolver++"}

SCHEDULERS: Final[dict[str, SchedulerChoice]] = {
    "ddim": SchedulerChoice("DDIMScheduler"),
    "ddpm": SchedulerChoice("DDPMScheduler"),
    "deis": SchedulerChoice("DEISMultistepScheduler"),
    "dpmpp_2m": SchedulerChoice("DPMSolverMultistepScheduler"),
    "dpmpp_2m_karras": SchedulerChoice("DPMSolverMultistepScheduler", _KARRAS),
    "dpmpp_2m_sde": SchedulerChoice("DPMSolverMultistepScheduler", _SDE),
    "dpmpp_2m_sde_karras": SchedulerChoice("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "dpmpp_2s": SchedulerChoice("DPMSolverSinglestepScheduler"),
    "euler": SchedulerChoice("EulerDiscreteScheduler"),
    "euler_karras": SchedulerChoice("EulerDiscreteScheduler", _KARRAS),
    "euler_a": SchedulerChoice("EulerAncestralDiscreteScheduler"),
    "heun": SchedulerChoice("HeunDiscreteScheduler"),
    "kdpm2": SchedulerChoice("KDPM2DiscreteScheduler"),
    "kdpm2_a": SchedulerChoice("KDPM2AncestralDiscreteScheduler"),
    "lcm": SchedulerChoice("LCMScheduler"),
    "lms": SchedulerChoice("LMSDiscreteScheduler"),
    "pndm": SchedulerChoice("PNDMScheduler"),
    "tcd": SchedulerChoice("TCDScheduler"),
    "unipc": SchedulerChoice("UniPCMultistepScheduler"),
    "flow_euler": SchedulerChoice("FlowMatchEulerDiscreteScheduler"),
    "flow_heun": SchedulerChoice("FlowMatchHeunDiscreteScheduler"),
}


def check_scheduler(name: str, *, where: str | None = None) -> None:
    """Raise InputError naming the known schedulers when `name` is none of them."""
    if name == DEFAULT or name in SCHEDULERS:
        return
    close = get_close_matches(name, SCHEDULERS, n=1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"unknown scheduler {name!r}",
        where=where,
        hint=f"{meant}Known: {DEFAULT}, {', '.join(sorted(SCHEDULERS))}.",
    )
