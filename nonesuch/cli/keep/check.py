"""`nonesuch check`: whether an output folder holds what its catalog says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(check)


def check(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    signatures: Annotated[
        bool, typer.Option("--signatures/--no-signatures", help="Validate every credential too.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that catalog, files and signatures are complete. Changes nothing.

    Every recipe must be catalogued once, and every file present, complete and validly signed.
    Lists what is wrong, and the command that repairs it. Exit code 1 when something is wrong.
    """
    import json
    from collections import Counter
    from dataclasses import asdict

    from nonesuch.cli.progress_bars import counting
    from nonesuch.flows.repair.checking import check_output

    with counting("checking") as told:
        checked = check_output(out, signatures=signatures, told=told)
    if as_json:
        print(json.dumps(asdict(checked)))
    else:
        for finding in checked.findings:
            print(f"{finding.kind}: {finding.where}: {finding.what}")
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in checked.kinds.items())
        print(
            f"{checked.rows:,} recipes in {checked.parts:,} parts, {checked.files:,} files, "
            f"{checked.signatures:,} signatures: {len(checked.findings):,} faults"
            + (f" ({kinds})" if kinds else "")
        )
        if checked.left_over:
            print(
                f"{checked.left_over:,} image files are in no part: a stopped run left them, or their part was lost"
            )
        reasons = Counter(finding.beyond for finding in checked.findings if finding.beyond)
        for reason, count in reasons.items():
            print(f"no run can repair {count:,} of these: {reason}")
        for note in checked.notes:
            print(note)
        if checked.commands:
            print("to repair it, run:" if checked.findings else "to add rows for them, run:")
        for command in checked.commands:
            print(command)
    if checked.findings:
        raise typer.Exit(1)
