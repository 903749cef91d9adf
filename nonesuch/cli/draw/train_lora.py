"""`nonesuch train`: a LoRA of a subject from a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(train)


def train(
    subject: Annotated[str, typer.Option(metavar="WORDS", help='A rare word and the class: "sks person".')],
    images: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The subject's images; NAME.txt beside an image is its caption."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for checkpoints, samples and the LoRA.")
    ],
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="Base model: embedded, a folder or a hub id.")
    ] = "embedded",
    revision: Annotated[str | None, typer.Option(metavar="REV", help="Revision, for a hub id.")] = None,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Caption of images without their own.")
    ] = "a photo of {subject}",
    class_prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="What the model must not forget; may be repeated. Default: the class."
        ),
    ] = None,
    prior: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Target for class images: the base model's prediction (base), the images (images), or none.",
        ),
    ] = "base",
    class_images: Annotated[
        int, typer.Option(metavar="N", help="Class images that the base model draws, over all class prompts.")
    ] = 100,
    prior_weight: Annotated[float, typer.Option(metavar="X", help="Weight of the class images' loss.")] = 1.0,
    rank: Annotated[int, typer.Option(metavar="N", help="Rank of the LoRA.")] = 16,
    layers: Annotated[
        str, typer.Option(metavar="NAME", help="Layers of the UNet: attention, or all.")
    ] = "attention",
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder", help="Train the text encoders as well.")
    ] = False,
    steps: Annotated[int, typer.Option(metavar="N")] = 1000,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Images per step; as many class images are added.")
    ] = 1,
    rate: Annotated[float, typer.Option(metavar="X", help="Learning rate.")] = 1e-4,
    text_rate: Annotated[float, typer.Option(metavar="X", help="Learning rate of the text encoders.")] = 5e-5,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Also train on mirrored images.")] = True,
    resolution: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Side of the square training images; default: the base model's."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
    checkpoint_every: Annotated[int, typer.Option(metavar="N", help="Steps.")] = 200,
    sample: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Prompt drawn at each checkpoint; may be repeated."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of continuing.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never download anything, not even the base model.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train a LoRA of a subject (DreamBooth with prior preservation). Run it again to continue after a stop.

    A sweep uses the LoRA with settings: {loras: [{path: DIR/sks-person.safetensors}]}.
    """
    import json

    from rich.console import Console

    from nonesuch.cli.progress_bars import TrainingBar
    from nonesuch.flows.train import check_training, training_watched_by
    from nonesuch.running.flow_runs import train_subject
    from nonesuch.training.lora.lora_settings import LoraSettings
    from nonesuch.training.lora.lora_settings import class_prompt as class_of

    own = class_of(prompt, subject)
    classes = tuple(class_prompt) if class_prompt else ((own,) if own else ())
    settings = LoraSettings(
        subject=subject, images=images, base=base, prompt=prompt, prior=prior, class_prompts=classes,
        class_images=class_images, prior_weight=prior_weight, rank=rank, layers=layers, text_encoder=text_encoder,
        steps=steps, batch=batch, rate=rate, text_rate=text_rate, flip=flip, resolution=resolution, seed=seed,
        checkpoint_every=checkpoint_every, samples=tuple(sample or ()),
    )  # fmt: skip
    console = Console(stderr=True, highlight=False)
    _, found = check_training(settings, revision=revision, online=not offline)
    for name, why in found.left_out:
        console.print(f"left out: {name}: {why}", style="yellow", markup=False)
    if prior != "none" and not classes:
        console.print(
            "no class images: the subject has only one word; give its class with --class-prompt",
            style="yellow",
        )
    try:
        with TrainingBar(console) as bar, training_watched_by(bar):
            done = train_subject(settings, out, revision=revision, online=not offline, restart=restart)
    except KeyboardInterrupt:
        console.print("interrupted: run it again to continue from the last checkpoint", style="yellow")
        raise
    if as_json:
        print(
            json.dumps(
                {
                    "lora": str(done.result.file), "card": str(done.result.card), "sha256": done.result.digest,
                    "pictures": len(found.pictures), "left_out": [name for name, _ in found.left_out],
                    "steps": done.steps, "resumed_at": done.resumed_at, "seconds": round(done.seconds, 1),
                    "loss": done.loss,
                }
            )
        )  # fmt: skip
        return
    went_on = f" (continued at {done.resumed_at:,})" if done.resumed_at else ""
    console.print(
        f"{done.steps:,} steps{went_on} on {len(found.pictures)} images in {done.seconds:.0f} s, "
        f"loss {done.loss:.4f}"
    )
    print(done.result.file)
