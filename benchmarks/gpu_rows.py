"""What a figure on a GPU is read beside: the chip's peak arithmetic and what others have published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Dense bfloat16 in TFLOP/s from NVIDIA's data sheets (half of a figure that is given "with sparsity"), by how torch
# names the chip: the first entry whose words the chip's name begins with counts.
PEAKS: Final[Mapping[str, float]] = {
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA H200": 989.4,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA H100": 989.4,
    "NVIDIA GH200": 989.4,
    "NVIDIA B200": 2250.0,
    "NVIDIA A100": 312.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA L4": 121.0,
    "NVIDIA A10": 125.0,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA GeForce RTX 3090": 71.0,
}


@dataclass(frozen=True, slots=True)
class Published:
    """What others measured at 20 steps, or as steps a second at 20 steps an image."""

    model: str
    side: int  # px
    chip: str
    images_per_second: float
    how: str  # and where it was read


PUBLISHED: Final = (
    Published("sdxl", 1024, "H200", 2.18, "NVIDIA in MLPerf Inference v4.1: 17.42 on eight, TensorRT"),
    Published("sd15", 512, "A100", 37 / 20, "37 steps/s of one image, torch.compile; without decoding"),
    Published("sd15", 512, "A100", 47 / 20, "47 steps/s of one image, channels last too; without decoding"),
    Published("sd15", 512, "A100", 61 / 20, "61 steps/s of one image, TensorRT; without decoding"),
)


def peak_of(chip: str | None) -> float | None:
    """Operations a second that the chip can do at most in bfloat16; None for an unknown one."""
    words = re.split(r"[ -]", chip or "")
    for name, peak in PEAKS.items():
        if words[: len(name.split())] == name.split():
            return 1e12 * peak
    return None


def published_for(model: str, side: int) -> list[Published]:
    """Others' figures for this model and size."""
    return [one for one in PUBLISHED if (one.model, one.side) == (model, side)]
