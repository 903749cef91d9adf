"""From uint8 images to an encoder's input, in batches of tensors, as open_clip's own transform does it.

open_clip's transform works on one Pillow image at a time; this one takes arrays that are already in
memory and agrees with it to the rounding of the resized bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nonesuch.foundation.errors import ScoringError
from nonesuch.foundation.images import RGB

if TYPE_CHECKING:
    import torch


def describe(config: Any) -> str:
    """One line that names everything in an open_clip PreprocessCfg that changes an embedding."""
    height, width = _size(config)
    mean = ",".join(f"{value:.8g}" for value in config.mean)
    std = ",".join(f"{value:.8g}" for value in config.std)
    return f"{height}x{width} {config.resize_mode} {config.interpolation} mean {mean} std {std}"


def same_sized(images: Sequence[RGB], limit: int) -> Iterator[tuple[list[int], RGB]]:
    """Positions and the stacked uint8 [n, H, W, 3] of images of one size, at most `limit` at a time.

    Raises ScoringError for an image that is not uint8 [H, W, 3].
    """
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ScoringError(
                f"image {place} is {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]"
            )
        by_size[image.shape].append(place)
    for places in by_size.values():
        for start in range(0, len(places), limit):
            part = places[start : start + limit]
            yield part, np.stack([images[place] for place in part])


def prepare(pictures: RGB, config: Any, device: torch.device) -> torch.Tensor:
    """float32 [n, 3, h, w] for the encoder from uint8 [n, H, W, 3], resized, cropped and normalised."""
    import torch

    # Without a copy this is a channels-last view, for which torch resizes bytes with its fastest kernel.
    batch = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    batch = _resize(batch, config).float()
    mean = torch.tensor(config.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(config.std, device=device).view(1, 3, 1, 1)
    return ((batch / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _resize(batch: torch.Tensor, config: Any) -> torch.Tensor:
    from open_clip.transform import center_crop_or_pad
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = _size(config)
    mode = InterpolationMode.BILINEAR if config.interpolation == "bilinear" else InterpolationMode.BICUBIC
    if config.resize_mode == "squash":
        squashed: torch.Tensor = functional.resize(batch, [height, width], interpolation=mode, antialias=True)
        return squashed
    if config.resize_mode == "longest":
        fitted = _keep_ratio(batch, height, width, longest=1.0)
        resized = functional.resize(batch, fitted, interpolation=mode, antialias=True)
        padded: torch.Tensor = center_crop_or_pad(resized, [height, width], fill=config.fill_color)
        return padded
    if height == width:
        resized = functional.resize(batch, [height], interpolation=mode, antialias=True)
    else:
        # open_clip ignores the configured interpolation here and always takes bicubic
        fitted = _keep_ratio(batch, height, width, longest=0.0)
        resized = functional.resize(batch, fitted, interpolation=InterpolationMode.BICUBIC, antialias=True)
    cropped: torch.Tensor = functional.center_crop(resized, [height, width])
    return cropped


def _keep_ratio(batch: torch.Tensor, height: int, width: int, *, longest: float) -> list[int]:
    """Size at which the image covers (longest 0) or fits into (longest 1) height × width."""
    ratios = (batch.shape[-2] / height, batch.shape[-1] / width)
    ratio = max(ratios) * longest + min(ratios) * (1.0 - longest)
    return [round(side / ratio) for side in batch.shape[-2:]]


def _size(config: Any) -> tuple[int, int]:
    if isinstance(config.size, int):
        return config.size, config.size
    height, width = config.size
    return int(height), int(width)
