"""The CLIP's text tower as a transformers ``CLIPTextModel``, and loading trained CLIPs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def load_clip(folder: Path, device: torch.device) -> torch.nn.Module:
    """The CLIP that the stage ``clip`` left in ``folder``, in evaluation mode."""
    weights = folder / "weights.pt"
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing; run the stage 'clip' first")
    described = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    model: torch.nn.Module = open_clip.CLIP(
        embed_dim=described["embed_dim"],
        vision_cfg=described["vision_cfg"],
        text_cfg=described["text_cfg"],
    )
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.to(device).eval().requires_grad_(False)


def text_encoder(clip: Any, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Copy the text tower, without its projection, into a ``CLIPTextModel``.

    ``last_hidden_state`` (after the final layer norm) equals the open_clip tower's.
    ``clip`` is an ``open_clip.CLIP``, untyped because torch types a module's parts as
    ``Tensor | Module``.
    """
    context, width = clip.positional_embedding.shape
    blocks = clip.transformer.resblocks
    config = CLIPTextConfig(
        vocab_size=clip.token_embedding.num_embeddings,
        hidden_size=width,
        intermediate_size=blocks[0].mlp.c_fc.out_features,
        projection_dim=clip.text_projection.shape[1],
        num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads,
        max_position_embeddings=context,
        hidden_act="gelu",
        layer_norm_eps=blocks[0].ln_1.eps,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config).eval().requires_grad_(False)
    state: dict[str, torch.Tensor] = {
        "embeddings.token_embedding.weight": clip.token_embedding.weight,
        "embeddings.position_embedding.weight": clip.positional_embedding,
        "final_layer_norm.weight": clip.ln_final.weight,
        "final_layer_norm.bias": clip.ln_final.bias,
    }
    for index, block in enumerate(blocks):
        at = f"encoder.layers.{index}."
        for part, weight, bias in zip(
            ("q_proj", "k_proj", "v_proj"),
            block.attn.in_proj_weight.chunk(3),
            block.attn.in_proj_bias.chunk(3),
            strict=True,
        ):
            state[f"{at}self_attn.{part}.weight"], state[f"{at}self_attn.{part}.bias"] = weight, bias
        pairs = {
            "self_attn.out_proj": block.attn.out_proj,
            "layer_norm1": block.ln_1,
            "layer_norm2": block.ln_2,
            "mlp.fc1": block.mlp.c_fc,
            "mlp.fc2": block.mlp.c_proj,
        }
        for name, module in pairs.items():
            state[f"{at}{name}.weight"], state[f"{at}{name}.bias"] = module.weight, module.bias
    # transformers 5 dropped the "text_model." prefix that version 4 has.
    prefix = "text_model." if any(key.startswith("text_model.") for key in model.state_dict()) else ""
    state = {prefix + key: value.detach().clone() for key, value in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [key for key in missing if "position_ids" not in key]:
        raise RuntimeError(
            f"text tower does not fit CLIPTextModel: missing {missing}, unexpected {unexpected}"
        )
    return model


@torch.no_grad()
def encode_prompts(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, prompts: list[str], device: torch.device
) -> torch.Tensor:
    """What the pipeline feeds the UNet for each prompt, ``float16 [n, 77, width]``."""
    encoder = encoder.to(device)
    parts = []
    for at in range(0, len(prompts), 64):
        tokens = tokenizer(
            prompts[at : at + 64], padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        parts.append(encoder(tokens.to(device))[0].half())
    return torch.cat(parts)
