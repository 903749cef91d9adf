"""Tiny random pipelines of several families and what goes beside them, made on the fly and saved as ordinary folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

_LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789,.-'")


def sd1(folder: Path, **unet: Any) -> Path:
    """StableDiffusionPipeline at 64 px."""
    torch.manual_seed(0)
    pipe = diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        unet=diffusers.UNet2DConditionModel(**_unet(cross_attention_dim=32) | unet),
        scheduler=_pndm(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    return folder


def sdxl(folder: Path) -> Path:
    """StableDiffusionXLPipeline at 64 px, with both text encoders."""
    torch.manual_seed(0)
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(_clip_config()),
        text_encoder_2=transformers.CLIPTextModelWithProjection(_clip_config()),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=diffusers.UNet2DConditionModel(
            **_unet(cross_attention_dim=64),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
    )
    pipe.save_pretrained(folder)
    return folder


def pixart(folder: Path) -> Path:
    """PixArtAlphaPipeline at 16 px: a transformer behind T5."""
    torch.manual_seed(0)
    pipe = diffusers.PixArtAlphaPipeline(
        vae=_vae(),
        text_encoder=transformers.T5EncoderModel(_t5_config()),
        tokenizer=_t5_tokenizer(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3,
            caption_channels=32, in_channels=4, cross_attention_dim=24, out_channels=8,
            attention_bias=True, activation_fn="gelu-approximate", num_embeds_ada_norm=1000,
            norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
            use_additional_conditions=False,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flux(folder: Path) -> Path:
    """FluxPipeline at 32 px: flow matching, CLIP and T5, no classifier-free guidance by default."""
    torch.manual_seed(0)
    pipe = diffusers.FluxPipeline(
        vae=_vae(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=transformers.CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=transformers.T5EncoderModel(_t5_config()),
        tokenizer_2=_t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def _vae(**changes: Any) -> diffusers.AutoencoderKL:
    sizes = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "sample_size": 64,
    }
    blocks = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    }
    return diffusers.AutoencoderKL(**sizes | blocks | changes)


def _unet(cross_attention_dim: int) -> dict[str, Any]:
    return {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": cross_attention_dim,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }


def _pndm() -> diffusers.PNDMScheduler:
    return diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


def _clip_config() -> transformers.CLIPTextConfig:
    vocabulary = len(_clip_vocabulary())
    return transformers.CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=37, projection_dim=32, num_attention_heads=4,
        num_hidden_layers=2, max_position_embeddings=77, bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1, hidden_act="gelu",
    )  # fmt: skip


def _clip_vocabulary() -> dict[str, int]:
    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def _clip_tokenizer() -> transformers.CLIPTokenizer:
    return transformers.CLIPTokenizer(vocab=_clip_vocabulary(), merges=[], model_max_length=77)


def _t5_pieces() -> list[tuple[str, float]]:
    return [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((letter, -3.0) for letter in _LETTERS),
    ]


def _t5_config() -> transformers.T5Config:
    return transformers.T5Config(
        vocab_size=len(_t5_pieces()), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        dropout_rate=0.0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip


def _t5_tokenizer() -> transformers.T5Tokenizer:
    return transformers.T5Tokenizer(vocab=_t5_pieces(), extra_ids=0, model_max_length=120)


def sdxl_refiner(folder: Path) -> Path:
    """StableDiffusionXLImg2ImgPipeline at 64 px with the second text encoder alone, as SDXL's refiner."""
    torch.manual_seed(1)
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=_vae(),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=transformers.CLIPTextModelWithProjection(_clip_config()),
        tokenizer_2=_clip_tokenizer(),
        unet=diffusers.UNet2DConditionModel(
            **_unet(cross_attention_dim=32),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=5 * 8 + 32,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
        requires_aesthetics_score=True,
    )
    pipe.save_pretrained(folder)
    return folder


def controlnet(folder: Path, **changes: Any) -> Path:
    """A ControlNet for `sd1` whose last layers are random, not zero, so that it says something."""
    torch.manual_seed(2)
    unet = _unet(cross_attention_dim=32)
    names = (
        "block_out_channels", "layers_per_block", "in_channels", "down_block_types", "cross_attention_dim",
        "attention_head_dim", "norm_num_groups",
    )  # fmt: skip
    kept = {name: unet[name] for name in names}
    net = diffusers.ControlNetModel(**kept | changes, conditioning_embedding_out_channels=(8, 16))
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.5)
    net.save_pretrained(folder)
    return folder


def controlnet_xl(folder: Path) -> Path:
    """As `controlnet`, for text embeddings of another model."""
    return controlnet(folder, cross_attention_dim=64)


def ip_adapter(folder: Path) -> Path:
    """A folder with an IP-Adapter for `sd1` (`adapter.safetensors`) and its image encoder (`encoder`)."""
    from safetensors.torch import save_file

    torch.manual_seed(3)
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32,
            patch_size=8, projection_dim=32,
        )
    )  # fmt: skip
    encoder.save_pretrained(folder / "encoder")
    unet = diffusers.UNet2DConditionModel(**_unet(cross_attention_dim=32))
    weights = {
        "image_proj.proj.weight": torch.randn(4 * 32, 32),
        "image_proj.proj.bias": torch.randn(4 * 32),
        "image_proj.norm.weight": torch.ones(32),
        "image_proj.norm.bias": torch.zeros(32),
    }
    place = 1
    for name, processor in unet.attn_processors.items():
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
            for key in ("to_k_ip", "to_v_ip"):
                weights[f"ip_adapter.{place}.{key}.weight"] = torch.randn(width, 32)
            place += 2
        assert processor is not None
    save_file(weights, folder / "adapter.safetensors")
    return folder


def x4_upscaler(folder: Path) -> Path:
    """StableDiffusionUpscalePipeline, four times as large."""
    torch.manual_seed(4)
    pipe = diffusers.StableDiffusionUpscalePipeline(
        vae=_vae(
            block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
        ),
        text_encoder=transformers.CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        unet=diffusers.UNet2DConditionModel(
            **_unet(cross_attention_dim=32) | {"in_channels": 7, "num_class_embeds": 100}
        ),
        low_res_scheduler=diffusers.DDPMScheduler(),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction"),
        max_noise_level=50,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def esrgan(path: Path) -> Path:
    """A file of a small ESRGAN network, twice as large, with random weights."""
    from safetensors.torch import save_file
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(5)
    net = RRDBNet(num_filters=8, num_blocks=1, scale=2)
    save_file(net.state_dict(), path)
    return path
