"""The sweep file's marking section as provenance takes it: whose key signs, which watermark key.

Relative paths start from the sweep file's folder. The watermark's secret key is read where it is needed and
never becomes part of a job, a recipe or a row.
"""

from __future__ import annotations

import shlex

from nonesuch.generators.sweepfile.sweep import Sweep
from nonesuch.provenance.request import SignerChoice
from nonesuch.provenance.watermark.chosen import OWN, open_algorithm
from nonesuch.provenance.watermark.secret_key import read_watermark_key


def signer_choice(sweep: Sweep) -> SignerChoice:
    """Whose key signs the sweep's images, and who timestamps them."""
    marking, folder = sweep.marking, sweep.source.folder
    command = tuple(shlex.split(marking.signer_command or ""))
    if command and "/" in command[0]:
        command = (str((folder / command[0]).resolve()), *command[1:])
    stamp = marking.timestamp
    return SignerChoice(
        certificate=None if marking.certificate is None else folder / marking.certificate,
        private_key=None if marking.key is None else folder / marking.key,
        command=command,
        plugin=marking.signer_plugin,
        algorithm=marking.algorithm,
        timestamp_url=None if stamp is None else stamp.url,
        timestamp_policy="fail" if stamp is None else stamp.policy,
    )


def watermark_key(sweep: Sweep) -> bytes | None:
    """The sweep's secret watermark key, None for the public one. Raises InputError when it can't be read."""
    named = sweep.marking.watermark_key
    if named is None:
        return None
    where = sweep.source.where(("marking", "watermark_key"))
    return read_watermark_key(named, folder=sweep.source.folder, where=where)


def check_marking(sweep: Sweep) -> None:
    """Refuse a watermark, certificate, key, signer or watermark key that can't be used, before anything is drawn.

    The local authority is left alone: it is made, and checked, when a run first signs. Raises InputError with
    the reason, DependencyError for a watermark whose package or weights are missing.
    """
    watermark_key(sweep)
    name = sweep.marking.watermark_name
    if name not in (None, OWN):
        open_algorithm(name)
    choice = signer_choice(sweep)
    if choice.certificate is not None:
        from nonesuch.provenance.signing.signer import open_chosen

        open_chosen(choice)
