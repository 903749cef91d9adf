"""A shard into the catalog, in one step: the folder's, or the one at a URL that the run draws into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from catalogs.parts import publish_shard
from catalogs.remote_output import publish_remotely
from catalogs.thumbnails import thumbnail_path
from flows.job import Job
from provenance.sidecar import write_pack


def publish(
    job: Job, name: str, rows: Sequence[dict[str, Any]], manifests: Sequence[bytes], schema: pa.Schema
) -> None:
    """Publish the rows of a shard, whose files lie in the job's folder, with the manifests of its images.

    Raises StorageError when folder or storage can't be written, CatalogError when the rows don't fit.
    """
    packs = [write_pack(job.out, name, manifests)] if manifests else []
    if job.url is None:
        publish_shard(job.out, name, rows, schema)
        return
    thumbnails = [path for row in rows if (path := thumbnail_path(job.out, row["recipe_id"])).is_file()]
    beside = [path.relative_to(job.out).as_posix() for path in (*thumbnails, *packs)]
    files = [row["file"] for row in rows if row.get("file")]
    publish_remotely(job.url, job.out, job.holder, name, rows, schema, [*files, *beside])
