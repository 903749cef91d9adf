"""Writing an export: from a selection to a finished folder with its data card."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from dataclasses import replace as replaced
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from nonesuch.catalogs.exports import EXPORTERS
from nonesuch.catalogs.exports.card import data_card
from nonesuch.catalogs.exports.column_words import PLACE
from nonesuch.catalogs.exports.export_job import (
    Checked,
    Exported,
    Exporter,
    ExportJob,
    ExportRequest,
    Layout,
    Loss,
    Progress,
    SelfChecking,
)
from nonesuch.catalogs.exports.selection import Selection
from nonesuch.catalogs.exports.stage import RECORD, Stage, check_target, staged
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import CatalogError, InputError, StorageError

CARD = "README.md"
_FOR_DATASETS = frozenset({"croissant", "hf-imagefolder", "hf-parquet", "webdataset"})
_PATTERN = re.compile(r"[*?\[\]]|::")


def export_catalog(
    selection: Selection,
    out: Path,
    request: ExportRequest,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the selection to the folder `out` in the request's format; it appears whole or not at all.

    Call it again with the same arguments to continue an interrupted export. Raises InputError for an
    unknown format, names that don't work, an `out` in an output folder or that the readers can't open, or one that holds anything (with
    `replace`: anything but an earlier export); CatalogError when an image file has changed, or what was
    written reads back otherwise; StorageError for a full disk.
    """
    exporter = EXPORTERS.get(request.format)()
    for option in ("title", "license", "names"):
        text = getattr(request, option) or ""
        if _sound(text) != text:
            raise InputError(f"{text!r} is not UTF-8 text", where=option)
    check_target(out, replace=replace)
    if request.format in _FOR_DATASETS and _PATTERN.search(str(out.resolve())):
        raise InputError(
            "the library `datasets` takes a path with any of * ? [ ] :: for a pattern and finds nothing there",
            where=str(out),
            hint="Choose another --out.",
        )
    total = selection.table.num_rows
    title = _sound(request.title or selection.root.resolve().name)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with staged(out, _key(selection, request), replace=replace) as stage:
        job = ExportJob(request, selection, title, count)
        layout = exporter.write(job, stage)
        losses = [*selection.losses, *layout.losses, *_left_out_columns(job, layout)]
        stage.put(CARD, data_card(job, layout, losses).encode("utf-8", "replace"))
        checked = _check(exporter, job, layout, stage)
        result = Exported(
            out, request.format, total, 0, selection.left_out, losses, _renamed(layout), checked
        )
        stage.put(RECORD, _record(job, result).encode("utf-8", "replace"))
        size = sum(path.stat().st_size for path in stage.files())
    return replaced(result, bytes=size)


def _sound(text: str) -> str:
    """Text with U+FFFD for the bytes of a name or an argument that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _check(exporter: Exporter, job: ExportJob, layout: Layout, stage: Stage) -> Checked | None:
    """What the exporter finds when it reads its files back; None when it can't."""
    if not isinstance(exporter, SelfChecking):
        return None
    try:
        return exporter.check(job, stage, layout)
    except StorageError:
        raise
    except Exception as error:  # a file that is not as it should be has its reader raise anything
        stage.spoil()
        message = error.message if isinstance(error, CatalogError) else f"{type(error).__name__}: {error}"
        raise CatalogError(
            f"the export was written but does not read back as it should: {message}",
            where=str(stage.root),
            hint="It stays there, unfinished, for you to look at; running the command again writes it anew.",
        ) from error


def _renamed(layout: Layout) -> dict[str, str]:
    return {column: name for column, name in (layout.columns or {}).items() if column != name}


def _left_out_columns(job: ExportJob, layout: Layout) -> list[Loss]:
    """Columns that the format has no place for; `file` means nothing outside the catalog's folder."""
    if layout.columns is None:
        return []
    table = job.selection.table
    losses = []
    if EMBEDDING in table.column_names and EMBEDDING not in layout.columns:
        losses.append(
            Loss(EMBEDDING, table.num_rows, "values left out (this format has no place for vectors)")
        )
    others = [c for c in table.column_names if c not in layout.columns and c not in (EMBEDDING, PLACE)]
    if others:
        losses.append(
            Loss("columns", len(others), "of the catalog left out (this format has no place for them)")
        )
    return losses


def _key(selection: Selection, request: ExportRequest) -> str:
    """A digest over all that decides the files, so that only the same export continues with a stage."""
    rows = [selection.table[name].to_pylist() for name in ("recipe_id", "sha256")]
    settings = {
        name: getattr(request, name) for name in request.__dataclass_fields__ if name != "model_licenses"
    }
    told = {
        "version": version("nonesuch"),
        "settings": json.dumps(settings, sort_keys=True, default=str),  # ASCII, whatever is in it
        "columns": str(selection.table.schema),
        "rows": rows,
    }
    return canonical_digest(told)


def _record(job: ExportJob, result: Exported) -> str:
    selection, request = job.selection, job.request
    told: dict[str, Any] = {
        "nonesuch_export": request.format,
        "nonesuch": version("nonesuch"),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "images": selection.table.num_rows,
        "asked": dict(request.asked),
        "left_out": [
            {"recipe_id": one.recipe_id, "file": PurePosixPath(one.file).name, "reason": one.reason}
            for one in selection.left_out
        ],
        "changed": [str(loss) for loss in result.losses],
        "renamed": dict(result.renamed),
        "splits": dict(selection.split_values),
        "read_back": None if result.checked is None else asdict(result.checked),
    }
    return json.dumps(told, ensure_ascii=False, indent=2, default=str) + "\n"
