"""`nonesuch plan` and `nonesuch run`: previewing a sweep, and drawing it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nonesuch.flows.reporting.summary import Summary
    from nonesuch.generators.matrix.plan import Plan

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]


PolicyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Another policy that the sweep must satisfy.")
]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(plan)
    app.command()(run)


def plan(
    sweep_file: SweepFile,
    policy: PolicyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Preview a sweep: counts, first prompts, time and bytes. Loads no model."""
    import json
    from dataclasses import asdict

    from nonesuch.running.flow_runs import plan_sweep

    made = plan_sweep(sweep_file, policy=policy)
    print(json.dumps(asdict(made), ensure_ascii=False) if as_json else _told(made))


def run(
    sweep_file: SweepFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder, or its URL.")],
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Draw the recipes that failed before again.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair DIR first, and redraw this sweep's missing or altered images."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never download anything, not even the sweep's model.")
    ] = False,
    shard_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Recipes per shard; default: as in the sweep file.")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Serve Prometheus metrics on 127.0.0.1:PORT/metrics; 0: any free port.",
        ),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option("--otlp", metavar="URL", help="Push metrics to an OpenTelemetry collector (OTLP/HTTP)."),
    ] = None,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json", help="JSON lines on stderr instead of the progress bar, for log collectors."
        ),
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What draws: here, processes or ray; default: as in the sweep file, else here.",
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="N|NAMES", help="How many devices draw in parallel, or which: cuda:0,cuda:1."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Replace a worker that finishes no image for this long (default: 3600)."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address of a Ray cluster: auto, or ray://HOST:10001."),
    ] = None,
    policy: PolicyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Draw, score, mark and catalogue a sweep's missing images. Run it again to continue after a stop."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from nonesuch.cli.json_log import JsonLog, tell
    from nonesuch.cli.progress_bars import SweepBar
    from nonesuch.flows.reporting.progress import watched_by
    from nonesuch.foundation.errors import NonesuchError
    from nonesuch.foundation.urls import url_of
    from nonesuch.marking.late_timestamps import queued_images
    from nonesuch.running.flow_runs import run_sweep
    from nonesuch.running.monitoring import monitored

    console = Console(stderr=True, quiet=log_json)
    watcher = JsonLog() if log_json else SweepBar(console)
    try:
        with monitored(port=metrics_port, otlp=otlp) as listening, watcher, watched_by(watcher):
            if listening is not None:
                console.print(f"metrics at http://127.0.0.1:{listening}/metrics", highlight=False)
            if log_json:
                tell("started", sweep_file=str(sweep_file), out=str(out), metrics_port=listening)
            summary = run_sweep(
                sweep_file,
                out,
                retry_failed=retry_failed,
                online=not offline,
                shard_size=shard_size,
                engine={"name": engine, "devices": _devices(devices), "timeout": timeout, "address": address},
                policy=policy,
                repair=repair,
            )
    except KeyboardInterrupt:
        console.print("interrupted: every published shard is safe; run it again to continue", style="yellow")
        if log_json:
            tell("interrupted")
        raise
    except NonesuchError as error:
        if not log_json:
            raise
        tell("error", message=error.message, where=error.where, hint=error.hint)
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print(json.dumps(asdict(summary), ensure_ascii=False, default=str))
    elif not log_json:
        _tell_ended(console, summary, url_of(out) or str(out))
    if log_json:
        tell("ended", **asdict(summary))
    if url_of(out) is None and (queued := queued_images(out)):
        console.print(
            f"{queued} images wait for their timestamp; later run: nonesuch keys stamp {out} --timestamp URL"
        )
    if summary.failed:
        raise typer.Exit(3 if summary.done or not summary.planned else 1)


def _tell_ended(console: Console, summary: Summary, out: str) -> None:
    """A run's summary as text."""
    console.print(
        f"{summary.drawn} drawn{summary.fetched_told}, {summary.failed} failed, {summary.flagged} flagged "
        f"in {summary.seconds:.1f} s ({summary.images_per_second:.2f} images/s)",
        highlight=False,
    )
    for line in summary.repaired.told() if summary.repaired else ():
        console.print(f"repaired: {line}", markup=False, highlight=False)
    if summary.missing:
        console.print(
            f"{summary.missing} catalogued images are missing: see the notes above",
            style="yellow",
            highlight=False,
        )
    if summary.cost:
        console.print(f"services cost about ${summary.cost:.2f}", highlight=False)
    if summary.ended_by:
        console.print(f"ended early: {summary.ended_by}; run it again to continue", highlight=False)
    console.print(f"images   {out}/images\ncatalog  {out}/catalog", highlight=False)
    if summary.page:
        console.print(f"report   {out}/{summary.page}", highlight=False)


def _devices(given: str | None) -> int | list[str] | None:
    """`4` is a number of devices, `cuda:0,cuda:1` are their names."""
    if given is None:
        return None
    return int(given) if given.isdecimal() else [name.strip() for name in given.split(",")]


def _told(plan: Plan) -> str:
    """A plan as text."""
    facets = " × ".join(f"{count} {facet}" for facet, count in plan.facets)
    lines = [
        f"{plan.name}: {plan.cells:,} images" + (f" ({facets} × {plan.seeds} seeds)" if facets else ""),
        *(f"model    {model}" for model in plan.models),
        f"time     about {_duration(plan.seconds)} ({plan.seconds_basis})",
        f"disk     about {_size(plan.bytes)}",
        *_paid(plan),
        *(f"unused   {ignored}" for ignored in plan.ignored),
        *(f"prompt   {prompt}" for prompt in plan.first_prompts),
    ]
    return "\n".join(lines)


def _paid(plan: Plan) -> list[str]:
    if plan.cost is None:
        return ["cost     unknown: a price is missing (connections: {MODEL: {price: …}})"]
    return [f"cost     about ${plan.cost:,.2f} by list price"] if plan.cost else []


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
