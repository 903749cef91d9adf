"""`nonesuch schedule`: a sweep every night on one machine, and what is scheduled there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nonesuch.cli.draw.plan_run import SweepFile

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _ServeByDefault(TyperGroup):
    """`schedule SWEEP.yaml` means `schedule serve SWEEP.yaml`."""

    default = "serve"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    group = typer.Typer(
        name="schedule",
        cls=_ServeByDefault,
        help="Run a sweep on schedule on this machine. Use: schedule SWEEP.yaml --out DIR --cron …; list; remove; notify.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("serve")(serve)
    group.command("list")(list_)
    group.command("remove")(remove)
    group.command("notify")(notify)
    app.add_typer(group)


def serve(
    sweep_file: SweepFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")],
    cron: Annotated[
        str | None,
        typer.Option(metavar="LINE", help='Five fields as in crontab: "0 2 * * *" is 2:00 every day.'),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Interval instead of --cron: 90 (seconds), 30m, 6h or 1d."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="IANA name such as Europe/Berlin; default: UTC.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the schedule; default: the sweep's.")
    ] = None,
) -> None:
    """Run a sweep on schedule until Ctrl-C or `nonesuch schedule remove`. The word `serve` is optional.

    Every run reads the sweep file again. A run that is due while the last one still draws is cancelled.
    """
    from datetime import UTC, datetime

    from nonesuch.flows import schedules
    from nonesuch.flows.run.job import prepare
    from nonesuch.foundation.urls import url_of

    schedules.times(cron, seconds := _seconds(interval), timezone)
    job = prepare(sweep_file, out, online=False)
    schedule = schedules.Nightly(
        name=_checked(name or job.sweep.name),
        sweep_file=str(sweep_file.resolve()),
        out=url_of(out) or str(out.resolve()),
        cron=cron,
        interval=seconds,
        timezone=timezone,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    schedules.serve(schedule, lambda line: typer.echo(f"nonesuch: {line}", err=True))


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Say what is scheduled on this machine, whether it is served now, its last and its next run.

    Names deployments on the Prefect server that an earlier nonesuch made and that must be made again.
    """
    from dataclasses import asdict

    from nonesuch.cli.printing import print_json_lines, print_table
    from nonesuch.flows import schedules

    found = schedules.schedules()
    _name_old_deployments()
    if as_json:
        print_json_lines(
            {**asdict(one.schedule), "served": one.served, "last_run": one.last_run, "next_run": one.next_run}
            for one in found
        )
        return
    print_table(
        [
            {
                "name": one.schedule.name,
                "when": schedules.told(one.schedule),
                "served": "yes" if one.served else "no",
                "last run": one.last_run,
                "next run": one.next_run if one.served else None,
                "sweep": one.schedule.sweep_file,
                "out": one.schedule.out,
            }
            for one in found
        ]
    )


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `nonesuch schedule list` shows it.")],
) -> None:
    """Remove a schedule. A run in progress and the process that serves the schedule end within seconds."""
    from nonesuch.flows import schedules

    served = schedules.remove(_checked(name))
    typer.echo(
        f"nonesuch: {name} is removed" + ("; the process that serves it ends" if served else ""), err=True
    )


def notify(
    block: Annotated[
        str, typer.Argument(metavar="TYPE/NAME", help="A Prefect block that sends: slack-webhook/alerts.")
    ],
    on: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="Run states to report: completed, failed, crashed, timedout, cancelled."
        ),
    ] = "failed,crashed",
) -> None:
    """Send a notification when runs end: creates an automation on the Prefect server that sends through a block."""
    from nonesuch.flows.reporting import notifications
    from nonesuch.flows.servers.local_server import prefect_server

    with prefect_server():
        made = notifications.notify(block, [end.strip() for end in on.split(",") if end.strip()])
    typer.echo(f"nonesuch: automation {made!r} sends a notification when a run ends as {on}", err=True)


def _name_old_deployments() -> None:
    """Say on stderr which deployments fail since modules have other names, and what to do."""
    from nonesuch.flows.schedules import TAG
    from nonesuch.flows.servers.old_deployments import old_deployments

    for one in old_deployments():
        again = (
            f"stop `nonesuch schedule` for {one.name.partition('/')[2]} and start it again"
            if TAG in one.tags
            else "run `prefect --no-prompt deploy --all` with this version's prefect.yaml"
        )
        typer.echo(
            f"nonesuch: the deployment {one.name} was made by an earlier version and fails in its workers: "
            f"there is no {one.entrypoint} any more; {again}",
            err=True,
        )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is not a time; use 90, 30m, 6h or 1d", param_hint="--interval")
    return float(found[1]) * _UNITS[found[2]]


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise typer.BadParameter(
            f"{name!r} can't name a schedule; use letters, digits, dots, dashes and underscores",
            param_hint="NAME",
        )
    return name
