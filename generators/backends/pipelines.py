"""Diffusers pipelines: loading one safely, changing its scheduler and its LoRAs."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import numpy as np
import torch
import transformers

from nonesuch.foundation.errors import DrawingError, InputError, NonesuchError
from nonesuch.foundation.images import RGB
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Lora
from nonesuch.generators.schedulers import DEFAULT, SCHEDULERS, check_scheduler

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# torch says out of memory in its own kind on accelerators, and in words on the CPU.
_MEMORY_WORDS: Final = re.compile(r"out of memory|can't allocate memory|alloc_cpu", re.IGNORECASE)


def best_device() -> str:
    """The accelerator that torch sees, "cpu" without one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def real_dtype(dtype: str, device: str) -> torch.dtype:
    """The type a recipe's dtype stands for: "auto" is half precision on accelerators, float32 on the CPU."""
    if dtype != "auto":
        return DTYPES[dtype]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.startswith("mps") else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the batch was too large for the device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _MEMORY_WORDS.search(str(error)) is not None


def load_pipeline(
    facts: ModelFacts, *, device: str, dtype: torch.dtype, network: bool, as_it_is: bool = False
) -> Any:
    """The text-to-image pipeline of a model, on the device; with `as_it_is`, in the form that its folder names.

    Weights come from safetensors only and no code from the model's folder is run; a hub id is
    pinned to the commit in the facts. Raises DrawingError when the pipeline can't be loaded, and
    InputError for a pipeline that draws from something else than text.
    """
    quieten()
    name = str(facts.folder or facts.hub_id)
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": not network,
    }
    if facts.hub_id is not None:
        options["revision"] = facts.revision
    pipeline_class = getattr(diffusers, facts.pipeline or "", None)
    if pipeline_class is not None and "safety_checker" in inspect.signature(pipeline_class).parameters:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        load = diffusers.DiffusionPipeline.from_pretrained if as_it_is else _text_to_image
        pipe = load(name, **options)
        _place(pipe, device)
    except NonesuchError:
        raise
    except Exception as error:  # diffusers, transformers, safetensors and the hub client each raise their own
        raise DrawingError(
            f"the model can't be loaded: {first_line(error)}",
            where=facts.model,
            hint=None if network else "A model that is not on this machine needs leave to use the network.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    if "prompt" not in inspect.signature(pipe.__call__).parameters:
        raise InputError(f"{type(pipe).__name__} does not draw from a prompt", where=facts.model)
    return pipe


def quieten() -> None:
    """Keep the libraries' progress bars and advice off stderr, which belongs to the sweep's own progress."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for library in ("diffusers", "transformers", "huggingface_hub", "peft"):
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


def use_scheduler(pipe: Any, name: str, original: Any) -> None:
    """Give the pipeline the scheduler of a friendly name, configured as the model's own.

    Raises InputError when the model's way of noising (flow matching, for example) does not go with it.
    """
    check_scheduler(name)
    if name == DEFAULT:
        pipe.scheduler = type(original).from_config(original.config)
        return
    choice = SCHEDULERS[name]
    if not _compatible(choice.cls, original):
        known = sorted(key for key, one in SCHEDULERS.items() if _compatible(one.cls, original))
        raise InputError(
            f"the scheduler {name} does not work with this model's {type(original).__name__}",
            where="scheduler",
            hint=f"Use one of: {', '.join([DEFAULT, *known])}.",
        )
    try:
        pipe.scheduler = getattr(diffusers, choice.cls).from_config(original.config, **choice.config)
    except ImportError as error:  # some schedulers need a further package
        raise InputError(
            f"the scheduler {name} can't be used: {first_line(error)}", where="scheduler"
        ) from error


def _compatible(cls: str, original: Any) -> bool:
    """Whether a scheduler noises as the model's own does: by a schedule of betas, or by flow matching.

    The schedulers' own lists of compatible ones are not mutual and leave out LCM and TCD, so what
    their constructors take decides.
    """
    own = type(original)
    if cls == own.__name__:
        return True
    if original.config.get("use_flow_sigmas"):
        return False  # a schedule of betas in name only
    return _noising(getattr(diffusers, cls)) == _noising(own)


def _noising(scheduler: type) -> str:
    parameters = inspect.signature(scheduler).parameters
    if "beta_schedule" in parameters:
        return "betas"
    return "flow" if "shift" in parameters else scheduler.__name__


def use_loras(pipe: Any, loras: Sequence[Lora]) -> None:
    """Give the pipeline these LoRAs and no others. Raises InputError for one that does not fit the model."""
    if hasattr(pipe, "unload_lora_weights"):
        pipe.unload_lora_weights()
    if not loras:
        return
    if not hasattr(pipe, "load_lora_weights"):
        raise InputError(f"{type(pipe).__name__} takes no LoRAs", where="loras")
    names = []
    for index, lora in enumerate(loras):
        path, name = Path(lora.path), f"lora{index}"
        try:
            pipe.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name,
                local_files_only=True, use_safetensors=True,
            )  # fmt: skip
        except Exception as error:  # shape mismatches and unknown formats come as several kinds
            raise InputError(f"does not fit the model: {first_line(error)}", where=lora.path) from error
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise InputError("holds no weights for this model", where=lora.path)
        names.append(name)
    pipe.set_adapters(names, [lora.weight for lora in loras])


def _text_to_image(name: str, **options: Any) -> Any:
    """The text-to-image form of the pipeline where AutoPipeline knows one, else the pipeline as it is."""
    try:
        return diffusers.AutoPipelineForText2Image.from_pretrained(name, **options)
    except ValueError as error:
        if "AutoPipeline" not in str(error):
            raise
    return diffusers.DiffusionPipeline.from_pretrained(name, **options)


def _place(pipe: Any, device: str) -> None:
    """Move the pipeline to the device; one that does not fit moves its parts there in turn."""
    try:
        pipe.to(device)
    except torch.OutOfMemoryError:
        pipe.to("cpu")
        torch.cuda.empty_cache()
        pipe.enable_model_cpu_offload(device=device)


def read_config(model: str, **options: Any) -> dict[str, Any]:
    """The config.json of one model: a folder, or a hub id with `revision`."""
    return dict(diffusers.ControlNetModel.load_config(model, **options))


def rgb_bytes(pixels: torch.Tensor) -> RGB | None:
    """uint8 [H, W, 3] of a float tensor [3, H, W] in 0 … 1; None when a value is not finite."""
    if not bool(torch.isfinite(pixels).all()):
        return None
    scaled = (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
