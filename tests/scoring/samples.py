"""What the scoring tests look at: random pictures and a tiny random open_clip model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nonesuch.foundation.images import RGB


def model_config(image_size: int | list[int] = 32) -> dict[str, Any]:
    """An open_clip model configuration of 1.7 M parameters, nearly all of them the token table."""
    return {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": image_size,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }


def write_model(folder: Path, image_size: int | list[int] = 32, seed: int = 0, **preprocessing: Any) -> Path:
    """Write an open_clip folder with random weights and the given preprocessing."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {"model_cfg": model_config(image_size), "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    with torch.no_grad():
        # a fresh CLIP answers nearly the same for every picture; larger patch weights spread them out
        model.visual.conv1.weight.mul_(20)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def picture(seed: int, height: int = 48, width: int = 48) -> RGB:
    """A random picture with detail at several scales, uint8 [height, width, 3]."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float64,
        )
        for cells in (3, 9, 27)
    ]
    mixed = 0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]
    return np.clip(mixed, 0, 255).astype(np.uint8)
