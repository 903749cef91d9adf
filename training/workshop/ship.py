"""Stage ``export``: the two shipped folders, weights in half precision."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from nonesuch.training.workshop.cards import generator_card, scoring_card
from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.convert import load_clip, text_encoder
from nonesuch.training.workshop.stages.aesthetic import HIDDEN, load_head
from nonesuch.training.workshop.stages.autoencoder import load_autoencoder
from nonesuch.training.workshop.stages.unet import NOISE
from nonesuch.training.workshop.world.pairs import HELD_OUT, SUBJECTS
from nonesuch.training.workshop.world.wordings import DOCUMENTED_ARTISTS

DEFAULTS: dict[str, Any] = {
    "width": 128,
    "height": 128,
    "steps": 12,
    "guidance": 3.0,
    "scheduler": "dpmpp_2m",
    "dtype": "float32",
}
_KEPT = ("README.md",)


def sampler() -> DPMSolverMultistepScheduler:
    """DPM-Solver++ 2M (Lu et al. 2022) on the training's noise schedule."""
    return DPMSolverMultistepScheduler(
        **NOISE,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        steps_offset=1,
        lower_order_final=True,
    )


def assemble(run: Path, device: torch.device) -> StableDiffusionPipeline:
    """The trained parts as one pipeline."""
    tokenizer = CLIPTokenizer.from_pretrained(run / "clip")
    unet = UNet2DConditionModel.from_pretrained(run / "unet")
    pipeline = StableDiffusionPipeline(
        vae=load_autoencoder(run, device),
        text_encoder=text_encoder(load_clip(run / "clip", torch.device("cpu")), tokenizer),
        tokenizer=tokenizer,
        unet=unet.eval().requires_grad_(False),
        scheduler=sampler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def export_pipeline(run: Path, out: Path) -> None:
    """Write the pipeline folder, its defaults and word lists."""
    pipeline = assemble(run, torch.device("cpu")).to(torch.float16)
    _clear(out)
    pipeline.save_pretrained(out, safe_serialization=True)
    for name in ("unet", "vae"):
        config = out / name / "config.json"
        described = json.loads(config.read_text(encoding="utf-8"))
        described.pop("_name_or_path", None)  # a folder of the machine that trained it
        config.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    for name in ("vocab.json", "merges.txt"):  # transformers 4 reads these, not tokenizer.json
        shutil.copyfile(run / "clip" / name, out / "tokenizer" / name)
    described = {
        **DEFAULTS,
        "subjects": list(SUBJECTS),
        "artists": list(DOCUMENTED_ARTISTS),
        "held_out": HELD_OUT,
    }
    (out / "defaults.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def export_scoring(run: Path, out: Path, config: Config) -> None:
    """Write the open_clip folder and the aesthetic head."""
    _clear(out)
    for name in (
        "vocab.json",
        "merges.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "open_clip_config.json",
    ):
        if (run / "clip" / name).is_file():
            shutil.copyfile(run / "clip" / name, out / name)
    state = load_clip(run / "clip", torch.device("cpu")).state_dict()
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in half.items()}, out / "open_clip_model.safetensors")
    head = load_head(run, config, torch.device("cpu")).state_dict()
    save_file({k: v.half().contiguous() for k, v in head.items()}, out / "aesthetic.safetensors")
    shape = {
        "layers": [config.clip_embed, HIDDEN, 1],
        "activation": "gelu",
        "input": "open_clip picture embedding, divided by its Euclidean norm",
        "range": [0, 10],
        "weights": "aesthetic.safetensors",
        "keys": ["0.weight", "0.bias", "2.weight", "2.bias"],
    }
    (out / "aesthetic.json").write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")


def export_all(run: Path, root: Path, config: Config, machine: str) -> None:
    """Write what is shipped below ``root``: both model folders, their cards, the figures."""
    measured = run / "figures.json"
    if not measured.is_file():
        raise FileNotFoundError(f"{measured} is missing; run the stage 'evaluate' first")
    figures = json.loads(measured.read_text(encoding="utf-8"))
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    drawing, scoring = root / "generators" / "embedded", root / "scoring" / "embedded"
    export_pipeline(run, drawing)
    export_scoring(run, scoring, config)
    (drawing / "README.md").write_text(generator_card(figures, machine, date), encoding="utf-8")
    (scoring / "README.md").write_text(scoring_card(figures, machine, date), encoding="utf-8")
    (root / "training").mkdir(exist_ok=True)
    shutil.copyfile(measured, root / "training" / "figures.json")


def _clear(folder: Path) -> None:
    """Empty the folder but for its card."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.name in _KEPT:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
