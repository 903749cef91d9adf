"""`nonesuch recipe`, `refine` and `reproduce`: from images back to sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.choose.query_sheet import Where
from nonesuch.cli.prove.signing_options import WatermarkKey, chosen_watermark_key

CatalogOption = Annotated[
    Path | None, typer.Option("--catalog", metavar="DIR", help="Look a stripped image up in this catalog.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Hub id or folder, instead of the model that the image names."),
]
InputsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--inputs",
        metavar="DIR",
        help="Folder with the images and weights it was made from; may be repeated.",
    ),
]
SweepOption = Annotated[
    Path | None,
    typer.Option(
        "--sweep",
        metavar="SWEEP.yaml",
        help="Connect to its engine or service as this sweep file's connections say.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(recipe)
    app.command()(refine)
    app.command()(reproduce)


def recipe(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image that any program drew.")],
    catalog: CatalogOption = None,
    model: ModelOption = None,
    inputs: InputsOption = None,
    sweep: SweepOption = None,
    watermark_key: WatermarkKey = None,
) -> None:
    """Print the sweep file that draws an image again. Reads its credential, a catalog, or other programs' metadata."""
    from nonesuch.redrawing.refining import sweep_of_image

    secret = chosen_watermark_key(watermark_key)
    made = sweep_of_image(
        path, catalog=catalog, model=model, inputs=inputs or (), watermark_key=secret, sweep=sweep
    )
    for line in made.left_out[1:]:  # after the line that says where the recipe comes from
        typer.echo(f"note: {line}", err=True)
    print(made.text(), end="")


def refine(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Recipe ids, or their first digits.")
    ] = None,
    picks: Annotated[bool, typer.Option("--picks", help="The picked images.")] = False,
    where: Where = None,
    order: Annotated[str | None, typer.Option(metavar="KEY", help="Order for --top, best first.")] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N images.")] = None,
    scale: Annotated[float, typer.Option(min=0.1, max=8, help="Factor for width and height.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Steps; default: twice the image's.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0.01, max=1, help="How far to depart from the image, 0 to 1.")
    ] = 0.4,
    seeds: Annotated[int, typer.Option(min=1, help="New images per picked image.")] = 1,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model to use instead of the image's.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new sweep.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Run it now, into this folder (DIR itself is fine)."),
    ] = None,
) -> None:
    """Redraw your picks larger, with more steps. Prints the sweep, or runs it with --out."""
    from nonesuch.redrawing.refining import refine_catalog

    made = refine_catalog(
        catalog, where=where, ids=ids or (), picks=picks, order=order, top=top, name=name,
        scale=scale, steps=steps, strength=strength, seeds=seeds, model=model,
    )  # fmt: skip
    if out is None:
        print(made.text(), end="")
        return
    from nonesuch.cli.draw.plan_run import run
    from nonesuch.foundation.files import atomic_write

    # In the output folder, where the paths of its images stay valid and the run's own copy goes too.
    file = out / "sweeps" / f"{made.data['name']}.yaml"
    atomic_write(file, made.text().encode())
    run(file, out)


def reproduce(
    path: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="An image that nonesuch, or another program, drew.")
    ],
    catalog: CatalogOption = None,
    model: ModelOption = None,
    inputs: InputsOption = None,
    sweep: SweepOption = None,
    watermark_key: WatermarkKey = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Save the new drawing here.")
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Download the model, or use its engine or service, when it is not on this machine.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw an image again from its recipe and compare. The result is bit-identical, visually identical or different.

    Exit code 1: different. The report names the evidence that the image was drawn again.
    Exit code 3: the same image came back, but nothing proves that it was drawn again.
    """
    import json
    from dataclasses import asdict

    from nonesuch.redrawing.reproducing import reproduce as draw_again

    told = draw_again(
        path, catalog=catalog, model=model, out=out, online=online, inputs=inputs or (),
        watermark_key=chosen_watermark_key(watermark_key), sweep=sweep,
    )  # fmt: skip
    if as_json:
        print(json.dumps(asdict(told), ensure_ascii=False))
    else:
        close = "" if told.psnr is None else f", {told.psnr:.1f} dB"
        unsure = told.outcome == "not known to be drawn again"
        outcome = f"the same image came back, {told.outcome}" if unsure else told.outcome
        print(f"{path}: {outcome} (fingerprints {told.hash_distance} of 64 bits apart{close})")
        print(f"  {told.evidence}")
        for line in told.changed:
            print(f"  {line}")
    if told.outcome == "different":
        raise typer.Exit(1)
    if told.drawn is not True:
        raise typer.Exit(3)
