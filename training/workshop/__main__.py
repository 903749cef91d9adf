"""Command line of the training: ``python -m nonesuch.training.workshop STAGE --out DIR``."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from nonesuch.training.workshop.config import PRESETS, Config, pick_device
from nonesuch.training.workshop.data import run_draw
from nonesuch.training.workshop.evaluate import run_evaluation
from nonesuch.training.workshop.ship import export_all
from nonesuch.training.workshop.stages.aesthetic import train_aesthetic
from nonesuch.training.workshop.stages.autoencoder import train_autoencoder
from nonesuch.training.workshop.stages.clip import train_clip
from nonesuch.training.workshop.stages.decoder import train_decoder
from nonesuch.training.workshop.stages.judge import train_judge
from nonesuch.training.workshop.stages.latents import encode_captions, encode_pictures
from nonesuch.training.workshop.stages.unet import train_unet
from nonesuch.training.workshop.stages.vision import train_vision
from nonesuch.training.workshop.world.pairs import FontMissing

STAGES = (
    "draw",
    "autoencoder",
    "clip",
    "vision",
    "encode",
    "decoder",
    "unet",
    "judge",
    "aesthetic",
    "evaluate",
    "export",
)


def run_stage(stage: str, run: Path, config: Config, options: argparse.Namespace) -> None:
    """Run one stage over the working folder ``run``."""
    device, workers = pick_device(options.device), options.workers
    given: float | None = options.minutes
    if stage == "draw":
        run_draw(run / "drawn", config.pictures_per_pair, config.seed, workers)
    elif stage == "autoencoder":
        train_autoencoder(run, config, given or config.ae_minutes, device)
    elif stage == "clip":
        train_clip(run, config, given or config.clip_minutes, device)
    elif stage == "vision":
        train_vision(run, config, given or config.vision_minutes, device)
    elif stage == "encode":
        encode_pictures(run, config, device)
        encode_captions(run, config, device)
    elif stage == "decoder":
        train_decoder(run, config, given or config.decoder_minutes, device)
    elif stage == "unet":
        train_unet(run, config, given or config.unet_minutes, device)
    elif stage == "judge":
        train_judge(run, config, given or config.judge_minutes, device, workers)
    elif stage == "aesthetic":
        train_aesthetic(run, config, given or config.aesthetic_minutes, device)
    elif stage == "evaluate":
        print(json.dumps(run_evaluation(run, config, device, workers, options.prompts), indent=2))
    elif stage == "export":
        export_all(run, options.root or run / "export", config, options.machine)


def main(arguments: list[str] | None = None) -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nonesuch.training.workshop", description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument(
        "--out", type=Path, required=True, help="working folder; checkpoints and exports go there"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu", help="model sizes and budgets")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--minutes", type=float, help="budget of this stage in minutes, instead of the preset's"
    )
    parser.add_argument("--threads", type=int, help="CPU threads that torch may use")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw pictures")
    parser.add_argument("--machine", default=platform.machine(), help="how the model cards name the machine")
    parser.add_argument(
        "--root", type=Path, help="checkout that 'export' writes the models into (default: OUT/export)"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=400,
        help="prompts that 'evaluate' draws; held-out ones: a fifth, at most 80",
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.prompts <= 440:
        parser.error("--prompts must lie between 1 and 440, the number of trained pairs")
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.stage == "all" and options.minutes is not None:
        parser.error("--minutes belongs to one stage; the preset holds every stage's budget")
    config = PRESETS[options.preset]
    stages: tuple[str, ...] = STAGES if options.stage == "all" else (options.stage,)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        for stage in stages:
            run_stage(stage, options.out, config, options)
    except (FontMissing, FileNotFoundError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
