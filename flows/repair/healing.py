"""The command lines that repair a checked folder, one per sweep that has lost something, ready for a shell."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from nonesuch.flows.run.job import Job, prepare
from nonesuch.flows.run.output_folder import SWEEPS
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.urls import url_of


@dataclass(frozen=True, slots=True)
class Healing:
    """What to run, and what to know before."""

    commands: tuple[str, ...]
    notes: tuple[str, ...]


def healing(
    out: Path, sweeps: Set[str], known: Set[str], lost: Mapping[str, Set[int]], *, any_sweep: bool
) -> Healing:
    """The commands for `sweeps`; with `any_sweep` there is one at least.

    known  all sweeps that drew into the folder
    lost   keys of the recipes that have to be drawn again, by sweep: those that its file does not draw any more
           are told
    """
    wanted = sorted(sweeps)
    if not wanted and any_sweep:
        kept = sorted(path.stem for path in (out / SWEEPS).glob("*.yaml"))
        wanted = (sorted(known) or kept)[:1]
        if not wanted:
            return Healing((), ("No sweep has drawn here: nothing can be drawn again.",))
    if wanted and url_of(out) is not None:
        note = "Copy everything at the URL into a folder with the storage's own tool, check and heal that, and push it to another URL."
        return Healing((), (note,))
    commands, notes = [], []
    for sweep in wanted:
        copy = out / SWEEPS / f"{sweep}.yaml"
        try:
            job = prepare(copy, out, online=False)
            if job.sweep.name != sweep:
                raise InputError(f"it is the file of the sweep {job.sweep.name}")
            notes += _not_drawn(job, sweep, lost.get(sweep, set()))
        except InputError as error:
            notes.append(
                f"{sweep}.yaml stands for the sweep file that {sweep} was drawn from: its copy in {SWEEPS}/ can't be run "
                f"from there ({error.message})."
            )
            copy = Path(f"{sweep}.yaml")
        except NonesuchError:
            pass  # a model or service that is out of reach now; the run says so
        commands.append(f"nonesuch run {quote(str(copy))} --out {quote(str(out))} --repair")
    return Healing(tuple(commands), tuple(notes))


def _not_drawn(job: Job, sweep: str, lost: Set[int]) -> list[str]:
    """The message about lost recipes that the sweep's kept file does not hold."""
    left = set(lost)
    for recipe in job.matrix if left else ():
        left.discard(recipe.watermark_id)
        if not left:
            break
    if not left:
        return []
    return [
        f"{len(left)} lost images of {sweep} are not in its file as it was last run (the file or its model has changed): "
        "run the earlier file with --repair."
    ]
