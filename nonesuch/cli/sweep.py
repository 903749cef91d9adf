"""`nonesuch plan` and `nonesuch run`: what a sweep would draw, and drawing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(plan)
    app.command()(run)


def plan(
    sweep_file: SweepFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    prompts: Annotated[int, typer.Option(min=0, help="How many of the first prompts to show.")] = 5,
) -> None:
    """Say what a sweep would draw: counts, first prompts, time and bytes. Loads no model."""
    import json
    from dataclasses import asdict

    from flows.job import check
    from generators.plan import plan as make_plan

    sweep, facts = check(sweep_file)
    made = make_plan(sweep, facts, prompts=prompts)
    if as_json:
        print(json.dumps(asdict(made), ensure_ascii=False))
    else:
        print(made.text())


def run(
    sweep_file: SweepFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")],
    retry_failed: Annotated[bool, typer.Option(help="Draw recipes again that failed before.")] = False,
    offline: Annotated[bool, typer.Option(help="Fetch nothing, also not a model the sweep names.")] = False,
    shard_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Recipes in a shard; default: the sweep file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Draw, score, mark and catalogue what DIR lacks of a sweep. Run it again to go on after a stop."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from flows.job import prepare
    from flows.progress import watched_by
    from nonesuch.cli.progress import Bar
    from nonesuch.sweeps import run_sweep

    console = Console(stderr=True)
    prepare(sweep_file, out, online=False)
    bar = Bar(console)
    try:
        with bar, watched_by(bar):
            summary = run_sweep(
                sweep_file, out, retry_failed=retry_failed, online=not offline, shard_size=shard_size
            )
    except KeyboardInterrupt:
        console.print(
            "interrupted: every published shard is safe; run the same command to go on", style="yellow"
        )
        raise
    if as_json:
        print(json.dumps(asdict(summary), ensure_ascii=False, default=str))
    else:
        console.print(
            f"{summary.done} drawn, {summary.failed} failed, {summary.flagged} flagged "
            f"in {summary.seconds:.1f} s ({summary.images_per_second:.2f} images/s)",
            highlight=False,
        )
        console.print(f"images   {out / 'images'}\ncatalog  {out / 'catalog'}", highlight=False)
    if summary.failed:
        raise typer.Exit(3 if summary.done or not summary.planned else 1)
