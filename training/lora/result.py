"""The result of a training: the LoRA as safetensors with metadata in the header, a card as JSON, the loss as SVG."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from nonesuch.foundation.files import atomic_write, file_digest
from nonesuch.foundation.images import RGB
from nonesuch.generators.models import ModelFacts
from nonesuch.training.lora.lora_settings import FAMILIES, LoraSettings
from nonesuch.training.lora.training_images import Found, folder_digest

LOSS_PLOT: Final = "loss.svg"
_WIDTH, _HEIGHT, _EDGE = 640, 320, 48  # px of the plot


@dataclass(frozen=True, slots=True)
class LoraResult:
    """The files of a finished LoRA."""

    file: Path  # safetensors, in diffusers' format
    card: Path  # JSON beside it
    digest: str  # SHA-256 of the file, as recipes name it


def write_result(
    out: Path,
    tensors: Mapping[str, torch.Tensor],
    settings: LoraSettings,
    facts: ModelFacts,
    found: Found,
    steps: int,
) -> LoraResult:
    """Write the LoRA and its card into `out`.

    Weights and header hold nothing of the time or the machine, so equal trainings give equal files. The header
    follows the Stability AI model metadata standard 1.0.0 (modelspec.*), which other programs show.
    """
    told = settings.told()
    header = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{FAMILIES[facts.pipeline or 'StableDiffusionPipeline']}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": settings.subject,
        "modelspec.trigger_phrase": settings.subject,
        "nonesuch.base": _base_name(facts),
        "nonesuch.base_digest": facts.digest,
        "nonesuch.training_images": folder_digest(found),
        "nonesuch.settings": json.dumps({**told, "steps": steps}, sort_keys=True),
    }
    file = out / f"{settings.name}.safetensors"
    atomic_write(file, _sorted(save({name: tensors[name] for name in sorted(tensors)}, header)))
    digest = file_digest(file)
    card = {
        "lora": file.name,
        "sha256": digest,
        "subject": settings.subject,
        "base": _base_name(facts),
        "base_digest": facts.digest,
        "settings": {**told, "steps": steps},
        "training_images": {
            "digest": folder_digest(found),
            "pictures": [
                {"name": one.name, "sha256": one.digest, "caption": one.caption} for one in found.pictures
            ],
            "left_out": [{"name": name, "why": why} for name, why in found.left_out],
        },
        "versions": {name: version(name) for name in ("nonesuch", "torch", "diffusers", "peft")},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = out / f"{settings.name}.json"
    atomic_write(path, (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return LoraResult(file, path, digest)


def _sorted(data: bytes) -> bytes:
    """A safetensors file with its header's keys in order: the library writes the metadata in a random one."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def write_loss_plot(out: Path, losses: Sequence[float], prior: Sequence[float]) -> None:
    """The losses over the steps, each point a mean of its neighbours, as loss.svg."""
    lines = [("subject", "#c2410c", losses)]
    if any(prior):
        lines.append(("class images", "#1d4ed8", prior))
    top = max(max(_smooth(values)) for _, _, values in lines) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        "<title>loss over steps</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<path d="M{_EDGE} 16V{_HEIGHT - _EDGE}H{_WIDTH - 16}" fill="none" stroke="#555"/>',
        f'<text x="{_EDGE - 6}" y="22" text-anchor="end">{top:.3g}</text>',
        f'<text x="{_EDGE - 6}" y="{_HEIGHT - _EDGE}" text-anchor="end">0</text>',
        f'<text x="{_WIDTH - 16}" y="{_HEIGHT - _EDGE + 18}" text-anchor="end">{len(losses):,} steps</text>',
    ]
    for place, (name, colour, values) in enumerate(lines):
        smooth = _smooth(values)
        across = np.linspace(_EDGE, _WIDTH - 16, len(smooth))
        down = (_HEIGHT - _EDGE) - np.asarray(smooth) / top * (_HEIGHT - _EDGE - 16)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_EDGE + 8 + 110 * place}" y="{_HEIGHT - 12}" fill="{colour}">{name}</text>')
    atomic_write(out / LOSS_PLOT, ("\n".join([*parts, "</svg>"]) + "\n").encode())


def png(pixels: RGB) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _smooth(values: Sequence[float]) -> list[float]:
    """At most 300 means of runs of neighbours."""
    runs = np.array_split(np.asarray(values, dtype=np.float64), min(300, len(values)))
    return [float(run.mean()) for run in runs]


def _base_name(facts: ModelFacts) -> str:
    """The base without folders of this machine."""
    return facts.model if facts.folder is None or facts.model == "embedded" else Path(facts.model).name
