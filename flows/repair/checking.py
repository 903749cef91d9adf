"""Checking an output, a folder or a URL, against its catalog: every recipe once, every file there, whole and signed.

What `nonesuch check` runs, and what the fault suite asks after each fault. Nothing is changed; what is wrong comes
with the command that heals it, or with the reason why none does.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nonesuch.catalogs.image_files import image_file
from nonesuch.catalogs.picks.log import picks_file
from nonesuch.catalogs.storage.mirror import located
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, part_files
from nonesuch.catalogs.storage.store import Store
from nonesuch.flows.catalog_folder import is_foreign
from nonesuch.flows.repair import damage_found
from nonesuch.flows.repair.healing import Healing, healing
from nonesuch.flows.run.output_folder import IMAGES, SWEEPS
from nonesuch.foundation.errors import CatalogError, InputError, NonesuchError
from nonesuch.foundation.images import read_limited
from nonesuch.foundation.urls import local_path, url_of
from nonesuch.provenance.credentials.reading import read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import load_trust

IMPORTED: Final = (
    "another program made it, so there is no recipe to draw it from: put the file back, or import it again"
)
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: (
        str  # part, schema, twice, missing, changed, unsigned, manifest, thumbnail, index, sweep file, picks
    )
    where: str  # a file, relative to the output folder, or a recipe id
    what: str  # in words
    sweep: str | None = None  # whose run with --repair heals it; None: the run of any sweep of the folder
    beyond: str | None = None  # why no run heals it, with what to do; None where one does


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    parts: int  # of the catalog
    rows: int  # recipes in it
    files: int  # image files that were read
    signatures: int  # credentials that were validated
    left_over: int  # image files that no row names: of a run that was stopped, or of rows that were lost
    findings: tuple[Finding, ...]
    kinds: Mapping[str, int]  # findings by kind
    commands: tuple[str, ...]  # what heals them, quoted for a shell, in this order
    notes: tuple[str, ...]  # what to know before running these


def check_output(out: Path, *, signatures: bool = True, told: Told | None = None) -> Checked:
    """Read everything in an output folder, or at a URL. Nothing is changed.

    `signatures` also validates every credential; `told` is called with (files read, files to read). At a URL, catalog and
    images are looked at. Raises InputError when there is no catalog, StorageError when the URL can't be reached.
    """
    files, place = _Files(out), out
    out = located(out)
    paths = part_files(out)
    if not paths and not (catalog_folder(out) / SCHEMA_FILE).exists():
        raise InputError("there is no catalog here", where=str(out), hint="Name the folder of a run.")
    findings: list[Finding] = []
    rows: list[dict[str, Any]] = []
    if paths and (problem := damage_found.schema_problem(out)) is not None:
        findings.append(Finding("schema", f"catalog/{SCHEMA_FILE}", problem))
    for path in paths:
        try:
            rows += damage_found.read_rows(path)
        except CatalogError as error:
            owner = path.stem.rpartition("-")[0]
            drawn = owner if (out / SWEEPS / f"{owner}.yaml").exists() else None
            findings.append(Finding("part", _shown(path, out), error.message, drawn))
    ids = Counter(row["recipe_id"] for row in rows)
    findings += [
        Finding("twice", recipe, f"{count} rows of the catalog hold this recipe")
        for recipe, count in ids.items()
        if count > 1
    ]
    named = [row for row in rows if row["file"]]
    validate = _validator() if signatures else None
    checked = 0
    for number, row in enumerate(named, 1):
        data = files.read(row)
        finding = _problem(row, data)
        if isinstance(data, bytes) and finding is None and validate and row["credential_digest"]:
            checked += 1
            if problem := validate(data):
                finding = _unsigned(row, problem)
        if finding:
            findings.append(finding)
        if told:
            told(number, len(named))
    here = {row["file"] for row in named}
    left = [name for name in files.names() if name not in here]
    if url_of(place) is None:
        findings += _beside(out, rows)
    found = tuple(findings)
    heal = _healing(place, found, rows, left)
    return Checked(
        parts=len(paths),
        rows=len(rows),
        files=len(named),
        signatures=checked,
        left_over=len(left),
        findings=found,
        kinds=dict(Counter(finding.kind for finding in found)),
        commands=heal.commands,
        notes=heal.notes,
    )


class _Files:
    """The image files of an output, read anew: never what a mirror of a URL has kept."""

    def __init__(self, out: Path) -> None:
        url = url_of(out)
        self._out = local_path(out)
        self._store = None if url is None else Store(url)

    def read(self, row: dict[str, Any]) -> bytes | str:
        """The bytes of a row's image, or in words why there are none."""
        try:
            if self._store is not None:
                data = self._store.read(row["file"])
            else:
                path = image_file(self._out, row)
                data = read_limited(path) if path.exists() else None
        except (NonesuchError, OSError) as error:
            return f"can't be read ({error})"
        return "the catalog names it, but it is not there" if data is None else data

    def names(self) -> Iterable[str]:
        """Of all image files, relative to the output."""
        if self._store is not None:
            return self._store.sizes([IMAGES])
        return (
            path.relative_to(self._out).as_posix()
            for path in (self._out / IMAGES).rglob("*")
            if path.is_file()
        )


def _problem(row: dict[str, Any], data: bytes | str) -> Finding | None:
    beyond = IMPORTED if is_foreign(row) else None
    if isinstance(data, str):
        return Finding("missing", row["file"], data, row["sweep"], beyond)
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        what = "it is empty" if not data else "its bytes are not those that the catalog knows"
        return Finding("changed", row["file"], what, row["sweep"], beyond)
    return None


def _unsigned(row: dict[str, Any], problem: str) -> Finding:
    # The bytes are the catalogued ones: drawing again would not bring them back.
    why = "the file is as it was catalogued: it was signed so, or the trust settings have changed"
    return Finding("unsigned", row["file"], problem, row["sweep"], why)


def _beside(out: Path, rows: Sequence[dict[str, Any]]) -> list[Finding]:
    """What is wrong besides parts and images."""
    found: list[Finding] = []
    sweeps = sorted({row["sweep"] for row in rows if not is_foreign(row)}, key=len, reverse=True)
    kept, problems = damage_found.manifests_kept(out)
    for path, problem in problems.items():
        owner = next((sweep for sweep in sweeps if path.name.startswith(f"{sweep}-")), None)
        found.append(Finding("manifest", _shown(path, out), f"damaged pack of manifests: {problem}", owner))
    unkept = [row for row in rows if row["credential_digest"] and row["credential_digest"] not in kept]
    for (sweep, gone), count in Counter((row["sweep"], row["file"] is None) for row in unkept).items():
        beyond = "their image files are gone, too" if gone else None
        found.append(
            Finding("manifest", "manifests", f"{count} manifests of {sweep} are not kept", sweep, beyond)
        )
    owners = {row["recipe_id"]: row["sweep"] for row in rows}
    found += [
        Finding("thumbnail", _shown(path, out), "can't be decoded", owners.get(path.stem))
        for path in damage_found.damaged_thumbnails(out)
    ]
    found += [
        Finding("index", _shown(path, out), "does not say what its part says")
        for path in damage_found.damaged_indexes(out)
    ]
    for sweep in sorted(sweeps):
        if (wrong := damage_found.sweep_file_problem(out, sweep)) is not None:
            found.append(Finding("sweep file", f"{SWEEPS}/{sweep}.yaml", wrong, sweep))
    if (wrong := damage_found.picks_problem(out)) is not None:
        beyond = "picks are kept nowhere else: put a backup in its place, or move the file away to begin anew"
        found.append(Finding("picks", picks_file(out).name, wrong, None, beyond))
    return found


def _healing(
    out: Path, findings: Sequence[Finding], rows: Sequence[dict[str, Any]], left: Sequence[str]
) -> Healing:
    healed = [finding for finding in findings if finding.beyond is None]
    sweeps = {finding.sweep for finding in healed if finding.sweep is not None}
    owners = {row["file"]: row["recipe_id"] for row in rows}
    lost: dict[str, set[int]] = {}
    for finding in healed:
        if finding.kind in ("missing", "changed") and finding.sweep is not None:
            lost.setdefault(finding.sweep, set()).add(int(owners[finding.where][:16], 16))
    # of a stopped run, or of a part that was damaged or deleted: rows are made of them either way
    sweeps |= {name.split("/")[1] for name in left if name.count("/") > 1}
    known = {row["sweep"] for row in rows if not is_foreign(row)}
    return healing(out, sweeps, known, lost, any_sweep=any(finding.sweep is None for finding in healed))


def _validator() -> Callable[[bytes], str | None]:
    """Says what is wrong with a file's credential, None when it validates."""
    trust = load_trust()

    def validate(data: bytes) -> str | None:
        report = read_credentials(data, sniff_mime(data), trust)
        if report.integrity == "intact":
            return None
        return f"its credential is {report.integrity}" + (f" ({report.detail})" if report.detail else "")

    return validate


def _shown(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)
