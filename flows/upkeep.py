"""The Prefect flows `compaction` and `retention`: keeping a catalog small, for deployments and schedules."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from nonesuch.catalogs.storage.compact import Compaction, compact
from nonesuch.catalogs.storage.parts import catalog_folder
from nonesuch.catalogs.storage.retention import Policy, Retention, retain
from nonesuch.flows.run.output_folder import hold


@flow(name="compaction", flow_run_name="{out}", persist_result=False, validate_parameters=False)
def compaction(out: Path, everything: bool = False) -> Compaction:
    """Merge the small parts of the catalog in `out`, or with `everything` sort all of it anew.

    Publishing and reading continue meanwhile. Raises CatalogError for damaged parts, StorageError for a full disk.
    """
    done = compact(Path(out), everything=everything)
    create_markdown_artifact(
        f"{done.rows:,} rows merged; {done.parts_before:,} parts are {done.parts_after:,} now, "
        f"{done.bytes_before:,} bytes are {done.bytes_after:,}.",
        key="compacted",
    )
    return done


@flow(name="retention", flow_run_name="{out}", persist_result=False, validate_parameters=False)
def retention(
    out: Path,
    where: str | list[str] | None = None,
    older_than: float | None = None,
    keep_top: int | None = None,
    keep_per: str | None = None,
    order: str = "aesthetic",
    apply: bool = False,
) -> Retention:
    """Delete the files of images that meet every given condition; their rows stay as `removed`.

    where                   an SQL condition, for example "aesthetic < 4.5", or a list of which all hold
    older_than              days since an image was drawn
    keep_top, keep_per      the best so many by `order`, of all or of each value of a column, stay in any case
    apply                   without it only what would go is said

    Images that people picked, starred, tagged or noted always stay, as do those that others were drawn from.
    Raises InputError for a policy that says nothing, StorageError while another run writes here.
    """
    folder = catalog_folder(Path(out)).parent
    policy = Policy(where, older_than, keep_top, keep_per, order)
    policy.check()
    with hold(folder):
        done = retain(folder, policy, apply=apply)
    went = "went" if done.applied else "would go (a dry run: nothing was changed)"
    create_markdown_artifact(
        f"The files of {done.images:,} images, {done.bytes:,} bytes, {went}; {done.spared:,} stay because of a pick "
        f"or another image, {done.outside:,} lie elsewhere.",
        key="retained",
    )
    return done
