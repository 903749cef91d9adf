"""A shard into the catalog, in one step: the folder's, or the one at a URL that the run draws into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from nonesuch.catalogs.storage.mending import replace_rows
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.catalogs.storage.remote_output import publish_remotely
from nonesuch.catalogs.thumbnails import thumbnail_path
from nonesuch.flows.run.job import Job
from nonesuch.provenance.sidecar import write_pack

REPAIRED: Final = "-repaired"  # how the packs of manifests end that a repair writes


def publish(
    job: Job,
    name: str,
    rows: Sequence[dict[str, Any]],
    manifests: Sequence[bytes],
    schema: pa.Schema,
    *,
    again: bool = False,
) -> None:
    """Publish the rows of a shard, whose files lie in the job's folder, with the manifests of its images.

    With `again` they take the place of the rows that the catalog has; the old one of a failed recipe stays.
    Raises StorageError when folder or storage can't be written, CatalogError when the rows don't fit.
    """
    if again:
        # in a pack of its own: the manifests of the lost files still tell copies of these apart
        if manifests:
            write_pack(job.out, f"{name}{REPAIRED}", manifests)
        replace_rows(job.out, [row for row in rows if row["status"] != "failed"], schema)
        return
    packs = [write_pack(job.out, name, manifests)] if manifests else []
    if job.url is None:
        publish_shard(job.out, name, rows, schema)
        return
    thumbnails = [path for row in rows if (path := thumbnail_path(job.out, row["recipe_id"])).is_file()]
    beside = [path.relative_to(job.out).as_posix() for path in (*thumbnails, *packs)]
    files = [row["file"] for row in rows if row.get("file")]
    publish_remotely(job.url, job.out, job.holder, name, rows, schema, [*files, *beside])
