"""Pipelines of published architectures with random weights, which draw nothing to look at and are as fast as the real ones.

    python -m benchmarks.architectures sd15 FOLDER [--tiny] [--device cuda]

Nothing is fetched: the numbers below are those of the published configurations of Stable Diffusion 1.5, SDXL base 1.0
and Stable Diffusion 3 medium. One differs: SD3's T5 has one layer instead of 24, which saves 9 GB of a text encoder
whose arithmetic is less than 1 % of an image's. The tokenizers are the embedded model's: their ids are all below the
published vocabularies' sizes, and an encoder works through as many tokens whatever they are.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from accelerate import init_empty_weights

from nonesuch.generators.models import EMBEDDED_FOLDER

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a published pipeline is made of."""

    pipeline: type
    parts: Mapping[str, tuple[type, Config]]  # the pipeline's argument → class and published configuration
    tiny: Mapping[str, Config]  # what the scaled-down variant changes of them: widths and numbers of layers
    side: int  # px that it was made for
    guidance: float


def _clip(width: int, layers: int, heads: int, activation: str, projection: int) -> Config:
    return {
        "vocab_size": 49408,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": activation,
        "projection_dim": projection,
        "max_position_embeddings": 77,
    }


def _vae(**changes: Any) -> tuple[type, Config]:
    config = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
    }
    return diffusers.AutoencoderKL, config | changes


_CLIP_L: Final = _clip(768, 12, 12, "quick_gelu", 768)
_CLIP_G: Final = _clip(1280, 32, 20, "gelu", 1280)
_T5: Final = {
    "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 1,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
_BETAS: Final = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
_TINY_CLIP: Final = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "projection_dim": 32,
}  # fmt: skip
_TINY_VAE: Final = {"block_out_channels": (16, 16, 32, 32), "layers_per_block": 1, "norm_num_groups": 8}

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "sd15": Architecture(
        diffusers.StableDiffusionPipeline,
        {
            "unet": (
                diffusers.UNet2DConditionModel,
                {
                    "sample_size": 64,
                    "block_out_channels": (320, 640, 1280, 1280),
                    "cross_attention_dim": 768,
                    "attention_head_dim": 8,
                },
            ),
            "vae": _vae(sample_size=512, scaling_factor=0.18215),
            "text_encoder": (transformers.CLIPTextModel, _CLIP_L),
            "scheduler": (
                diffusers.PNDMScheduler,
                {**_BETAS, "skip_prk_steps": True, "set_alpha_to_one": False},
            ),
        },
        {
            "unet": {"block_out_channels": (32, 64, 64, 64), "cross_attention_dim": 32, "layers_per_block": 1},
            "vae": _TINY_VAE,
            "text_encoder": _TINY_CLIP,
        },
        side=512,
        guidance=7.5,
    ),
    "sdxl": Architecture(
        diffusers.StableDiffusionXLPipeline,
        {
            "unet": (
                diffusers.UNet2DConditionModel,
                {
                    "sample_size": 128,
                    "block_out_channels": (320, 640, 1280),
                    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                    "transformer_layers_per_block": (1, 2, 10),
                    "attention_head_dim": (5, 10, 20),
                    "cross_attention_dim": 2048,
                    "use_linear_projection": True,
                    "addition_embed_type": "text_time",
                    "addition_time_embed_dim": 256,
                    "projection_class_embeddings_input_dim": 6 * 256 + 1280,
                },
            ),
            "vae": _vae(sample_size=1024, scaling_factor=0.13025),
            "text_encoder": (transformers.CLIPTextModel, _CLIP_L),
            "text_encoder_2": (transformers.CLIPTextModelWithProjection, _CLIP_G),
            "scheduler": (diffusers.EulerDiscreteScheduler, {**_BETAS, "timestep_spacing": "leading"}),
        },
        {
            "unet": {
                "block_out_channels": (32, 64, 64),
                "transformer_layers_per_block": (1, 1, 2),
                "attention_head_dim": (2, 4, 4),
                "cross_attention_dim": 64,
                "layers_per_block": 1,
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 6 * 8 + 32,
            },
            "vae": _TINY_VAE,
            "text_encoder": _TINY_CLIP,
            "text_encoder_2": _TINY_CLIP,
        },
        side=1024,
        guidance=5.0,
    ),
    "sd3": Architecture(
        diffusers.StableDiffusion3Pipeline,
        {
            "transformer": (
                diffusers.SD3Transformer2DModel,
                {
                    "sample_size": 128,
                    "patch_size": 2,
                    "in_channels": 16,
                    "out_channels": 16,
                    "num_layers": 24,
                    "attention_head_dim": 64,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 4096,
                    "caption_projection_dim": 1536,
                    "pooled_projection_dim": 2048,
                    "pos_embed_max_size": 192,
                },
            ),
            "vae": _vae(
                sample_size=1024, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609,
                use_quant_conv=False, use_post_quant_conv=False,
            ),
            "text_encoder": (transformers.CLIPTextModelWithProjection, _CLIP_L),
            "text_encoder_2": (transformers.CLIPTextModelWithProjection, _CLIP_G),
            "text_encoder_3": (transformers.T5EncoderModel, _T5),
            "scheduler": (diffusers.FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
        },
        {
            "transformer": {
                "num_layers": 2,
                "attention_head_dim": 16,
                "num_attention_heads": 2,
                "joint_attention_dim": 64,
                "caption_projection_dim": 32,
                "pooled_projection_dim": 64,
                "pos_embed_max_size": 16,
                "sample_size": 16,
            },
            "vae": _TINY_VAE,
            "text_encoder": _TINY_CLIP,
            "text_encoder_2": _TINY_CLIP,
            "text_encoder_3": {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_heads": 4},
        },
        side=1024,
        guidance=7.0,
    ),
}  # fmt: skip


def module(name: str, part: str, *, tiny: bool = False) -> torch.nn.Module:
    """One part of an architecture with its parameters on the meta device: shapes, no memory."""
    architecture = ARCHITECTURES[name]
    cls, config = architecture.parts[part]
    config = {**config, **(architecture.tiny.get(part, {}) if tiny else {})}
    with init_empty_weights(include_buffers=False):
        if cls is transformers.T5EncoderModel:
            return cls(transformers.T5Config(**config))
        if issubclass(cls, transformers.PreTrainedModel):
            ends = _tokenizer()  # where a text ends, by the ids that it will have
            names = ("bos_token_id", "eos_token_id", "pad_token_id")
            return cls(transformers.CLIPTextConfig(**config, **{name: getattr(ends, name) for name in names}))
        return cls(**config)


def build(name: str, folder: Path, *, tiny: bool = False, device: str = "cpu", seed: int = 0) -> Path:
    """Write the pipeline with random weights (safetensors, bfloat16) into a folder; returns it.

    The weights are drawn on `device`: SDXL's 3.5 billion take seconds on a GPU and a minute or two on a CPU.
    """
    architecture = ARCHITECTURES[name]
    generator = torch.Generator(device).manual_seed(seed)
    made: dict[str, Any] = {}
    for part, (cls, config) in architecture.parts.items():
        if part == "scheduler":
            made[part] = cls(**config)
            continue
        made[part] = filled(module(name, part, tiny=tiny), generator)
        if part.startswith("text_encoder"):
            made[part.replace("text_encoder", "tokenizer")] = _tokenizer()
    if name == "sd15":
        made |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    architecture.pipeline(**made).save_pretrained(folder, safe_serialization=True)
    return folder


def filled(empty: torch.nn.Module, generator: torch.Generator) -> torch.nn.Module:
    """Give a module random bfloat16 weights of the size that torch starts layers with, so that nothing overflows.

    Biases are 0, and the scales of normalisations 1.
    """
    for path, parameter in list(empty.named_parameters()):
        owner, _, name = path.rpartition(".")
        full = torch.empty(parameter.shape, dtype=torch.bfloat16, device=generator.device)
        if parameter.dim() > 1:
            full.normal_(0.0, 1 / math.sqrt(3 * parameter[0].numel()), generator=generator)
        else:
            full.fill_(0.0 if name == "bias" else 1.0)
        setattr(empty.get_submodule(owner), name, torch.nn.Parameter(full, requires_grad=False))
    for buffer in empty.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.to(torch.bfloat16)
    if hasattr(empty, "tie_weights"):
        empty.tie_weights()
    return empty.to(generator.device).eval()


def _tokenizer() -> Any:
    return transformers.CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=ARCHITECTURES)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tiny", action="store_true", help="scaled down: the same kinds of layers, few and narrow"
    )
    parser.add_argument("--device", default="cpu", help="where the random numbers are drawn")
    options = parser.parse_args()
    build(options.name, options.folder, tiny=options.tiny, device=options.device)


if __name__ == "__main__":
    main()
