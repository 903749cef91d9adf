"""Writing an export: from a selection to a finished folder with its data card."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from catalogs.exports import EXPORTERS
from catalogs.exports.card import data_card
from catalogs.exports.job import Exported, ExportJob, ExportRequest, Progress
from catalogs.exports.selection import Selection
from catalogs.exports.stage import RECORD, check_target, staged
from foundation.canonical import canonical_digest

CARD = "README.md"


def export_catalog(
    selection: Selection,
    out: Path,
    request: ExportRequest,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the selection to the folder `out` in the request's format; it appears whole or not at all.

    An interrupted export goes on when it is called again with the same arguments. Raises InputError for an
    unknown format, names that don't work, or an `out` that holds anything (with `replace`: anything but an
    earlier export); CatalogError when an image file has changed; StorageError for a full disk.
    """
    exporter = EXPORTERS.get(request.format)()
    check_target(out, replace=replace)
    total = selection.table.num_rows
    title = request.title or selection.root.resolve().name
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with staged(out, _key(selection, request), replace=replace) as stage:
        job = ExportJob(request, selection, title, count)
        layout = exporter.write(job, stage)
        stage.put(CARD, data_card(job, layout).encode())
        stage.put(RECORD, _record(selection, request).encode())
        size = sum(path.stat().st_size for path in stage.files())
    return Exported(out, request.format, total, size, selection.left_out)


def _key(selection: Selection, request: ExportRequest) -> str:
    """A digest over all that decides the files, so that only the same export goes on with a stage."""
    rows = [selection.table[name].to_pylist() for name in ("recipe_id", "sha256")]
    settings = {
        name: getattr(request, name) for name in request.__dataclass_fields__ if name != "model_licenses"
    }
    told = {
        "version": version("nonesuch"),
        "settings": json.loads(json.dumps(settings, default=str)),
        "columns": str(selection.table.schema),
        "rows": rows,
    }
    return canonical_digest(told)


def _record(selection: Selection, request: ExportRequest) -> str:
    told = {
        "nonesuch_export": request.format,
        "nonesuch": version("nonesuch"),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "images": selection.table.num_rows,
        "asked": dict(request.asked),
        "left_out": [
            {"recipe_id": one.recipe_id, "file": PurePosixPath(one.file).name, "reason": one.reason}
            for one in selection.left_out
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=2, default=str) + "\n"
