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
    str | None, typer.Option(metavar="NAME", help="Hub id or folder, in place of the model it names.")
]
InputsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--inputs", metavar="DIR", help="Look for the pictures and weights it was made from here; repeatable."
    ),
]
SweepOption = Annotated[
    Path | None,
    typer.Option(
        "--sweep",
        metavar="SWEEP.yaml",
        help="Reach its engine or service as the connections of this sweep file say.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(recipe)
    app.command()(refine)
    app.command()(reproduce)


def recipe(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image of any program.")],
    catalog: CatalogOption = None,
    model: ModelOption = None,
    inputs: InputsOption = None,
    sweep: SweepOption = None,
    watermark_key: WatermarkKey = None,
) -> None:
    """Print the sweep file that draws an image again: from its credential, a catalog, or other programs' metadata."""
    from nonesuch.redrawing.refining import sweep_of_image

    secret = chosen_watermark_key(watermark_key)
    made = sweep_of_image(
        path, catalog=catalog, model=model, inputs=inputs or (), watermark_key=secret, sweep=sweep
    )
    for line in made.left_out[1:]:  # after where the recipe comes from
        typer.echo(f"note: {line}", err=True)
    print(made.text(), end="")


def refine(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Recipe ids or their beginnings.")
    ] = None,
    picks: Annotated[bool, typer.Option("--picks", help="The picked images.")] = False,
    where: Where = None,
    order: Annotated[str | None, typer.Option(metavar="KEY", help="The best first, for --top.")] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many at most.")] = None,
    scale: Annotated[float, typer.Option(min=0.1, max=8, help="Of the side, in pixels.")] = 1.0,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Default: twice the image's.")] = None,
    strength: Annotated[float, typer.Option(min=0.01, max=1, help="How far to leave the image.")] = 0.4,
    seeds: Annotated[int, typer.Option(min=1, help="New images for each.")] = 1,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Another model than the image's.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the new sweep.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Run it at once into this folder (DIR itself is fine)."
        ),
    ] = None,
) -> None:
    """Turn picked images into a sweep that starts from them with more steps, and larger; print it, or run it with --out."""
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

    # In the output folder, where the paths of its pictures stay right and the run's own copy goes too.
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
        Path | None, typer.Option("--out", metavar="FILE.png", help="Keep the new drawing.")
    ] = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Fetch the model, or ask an engine or service, where it is not here."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw an image again from its recipe and say: bit-identical, visually identical, or different. Exit code 1: different.

    The report says how it is known that it was drawn. Exit code 3: the same picture came back, and that is not known.
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
        outcome = f"the same picture came back, {told.outcome}" if unsure else told.outcome
        print(f"{path}: {outcome} (fingerprints {told.hash_distance} of 64 bits apart{close})")
        print(f"  {told.evidence}")
        for line in told.changed:
            print(f"  {line}")
    if told.outcome == "different":
        raise typer.Exit(1)
    if told.drawn is not True:
        raise typer.Exit(3)
