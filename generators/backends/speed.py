"""What makes a pipeline draw faster: compiled blocks, memory layout, step caches, quantised weights.

They are options of the sweep file (`settings: {options: {step_cache: "pyramid:2"}}`), so what changes pixels is part
of the recipe's identity, and recipes without them keep their ids. What changes pixels by rounding only is on by
default where it pays: compiled blocks on a GPU, channels last there and on the processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from nonesuch.foundation.errors import DependencyError, InputError

OPTIONS: Final = frozenset({"compile", "channels_last", "step_cache", "quantise"})
_GRAPHS: Final = 64  # compiled graphs of one block: four shapes in SD 1.5 for each of a sweep's sizes
_QUANTISED: Final = ("fp8", "int8")
_CACHES: Final = {"pyramid": "a whole number from 2", "first_block": "a threshold above 0"}


@dataclass(frozen=True, slots=True)
class Speed:
    """How a loaded pipeline is made fast; another choice needs it loaded anew."""

    compile: bool  # the repeated blocks, through torch.compile (regional compilation)
    channels_last: bool  # layout of the denoiser's and the VAE's convolutions
    step_cache: tuple[str, float] | None = None  # kind and strength; approximate
    quantise: str | None = None  # "fp8" storage or "int8" weights of the denoiser; approximate


def speed_of(options: Iterable[tuple[str, Any]], device: str) -> Speed:
    """What a recipe's options ask for; compiling and channels last by default where they pay.

    Raises InputError for a value that there is none of.
    """
    asked = {name: value for name, value in options if name in OPTIONS}
    kind = device.split(":")[0]
    # Measured on two AVX-512 cores: channels last draws the embedded model 1.14 times as fast.
    usual = {"compile": kind == "cuda", "channels_last": kind in ("cuda", "cpu")}
    for name, on in usual.items():
        if not isinstance(asked.get(name, on), bool):
            raise InputError(f"{name} is true or false, not {asked[name]!r}", where=f"options.{name}")
    quantise = asked.get("quantise")
    if quantise is not None and quantise not in _QUANTISED:
        raise InputError(f"quantise is {' or '.join(_QUANTISED)}, not {quantise!r}", where="options.quantise")
    return Speed(
        compile=asked.get("compile", usual["compile"]),
        channels_last=asked.get("channels_last", usual["channels_last"]),
        step_cache=_step_cache(asked.get("step_cache")),
        quantise=quantise,
    )


def pipeline_options(options: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A recipe's options without those of this module: the arguments of the pipeline's call."""
    return {name: value for name, value in options if name not in OPTIONS}


class Accelerated:
    """A pipeline that was made fast; `begin` before each drawing."""

    def __init__(self, pipe: Any, speed: Speed, dtype: torch.dtype) -> None:
        """Raises InputError for what this model can't do and DependencyError for a package that is missing."""
        self._denoiser: Any = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        if self._denoiser is None:
            if speed.step_cache or speed.quantise:
                raise InputError(f"{type(pipe).__name__} has neither unet nor transformer", where="options")
            return
        if speed.channels_last:
            for part in (self._denoiser, getattr(pipe, "vae", None)):
                if part is not None:
                    part.to(memory_format=torch.channels_last)
        if speed.quantise is not None:
            _quantise(self._denoiser, speed.quantise, dtype)
        if speed.step_cache is not None:
            self._cache(*speed.step_cache)
        self._cached = speed.step_cache is not None
        if speed.compile:
            _compile(self._denoiser)

    _cached = False

    def begin(self) -> None:
        """Forget what a step cache holds of the last drawing."""
        if self._cached:
            from diffusers.hooks import HookRegistry

            HookRegistry.check_if_exists_or_initialize(self._denoiser).reset_stateful_hooks(recurse=True)
            self._timestep = float("inf")

    def _cache(self, kind: str, strength: float) -> None:
        from diffusers import hooks

        self._timestep = float("inf")
        self._denoiser.register_forward_pre_hook(self._see_timestep, with_kwargs=True)
        try:
            if kind == "pyramid":
                # Zhao et al., Pyramid Attention Broadcast, ICLR 2025: attention is computed every n-th step
                config = hooks.PyramidAttentionBroadcastConfig(
                    spatial_attention_block_skip_range=int(strength),
                    cross_attention_block_skip_range=int(strength),
                    current_timestep_callback=lambda: self._timestep,
                )
                hooks.apply_pyramid_attention_broadcast(self._denoiser, config)
            else:
                # what TeaCache and ParaAttention do: all but the first block are skipped while it hardly changes
                hooks.apply_first_block_cache(self._denoiser, hooks.FirstBlockCacheConfig(threshold=strength))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            name = type(self._denoiser).__name__
            raise InputError(
                f"{name} takes no step cache {kind} ({error})", where="options.step_cache"
            ) from error

    def _see_timestep(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        found = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        now = float(found.flatten()[0]) if isinstance(found, torch.Tensor) else float(found or 0.0)
        if now > self._timestep:  # a second pass over the same image
            self.begin()
        self._timestep = now


def _step_cache(text: Any) -> tuple[str, float] | None:
    if text is None:
        return None
    kind, _, strength = str(text).partition(":")
    try:
        value = float(strength)
    except ValueError:
        value = 0.0
    whole = kind != "pyramid" or (value >= 2 and value == int(value))
    if kind not in _CACHES or value <= 0 or not whole:
        known = ", ".join(f"{name}:N ({what})" for name, what in _CACHES.items())
        raise InputError(
            f"there is no step cache {text!r}", where="options.step_cache", hint=f"Known: {known}."
        )
    return kind, value


def _quantise(denoiser: Any, kind: str, dtype: torch.dtype) -> None:
    if kind == "fp8":
        denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
        return
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise DependencyError(
            f"quantise: int8 needs the package torchao ({error})", hint="Install nonesuch[quantise]."
        ) from error
    quantize_(denoiser, Int8WeightOnlyConfig())


def _compile(denoiser: Any) -> None:
    import torch._dynamo

    # A block that can't be compiled here (no compiler, an odd shape) runs as it is.
    torch._dynamo.config.suppress_errors = True
    # Each size of image and batch has its own graphs; past torch's limit of 8 a block would run uncompiled, unsaid.
    torch._dynamo.config.recompile_limit = max(_GRAPHS, torch._dynamo.config.recompile_limit)
    if getattr(denoiser, "_repeated_blocks", None):
        denoiser.compile_repeated_blocks(dynamic=False)
    else:
        for block in _largest_list(denoiser):
            block.compile(dynamic=False)


def _largest_list(denoiser: Any) -> list[Any]:
    """The longest ModuleList right below a model that does not name its repeated blocks."""
    lists = [list(part) for part in denoiser.children() if isinstance(part, torch.nn.ModuleList)]
    return max(lists, key=len, default=[])
