"""The Prefect flow `rescore`: scorers over an existing catalog, without drawing; one task per few hundred images.

Each task's scores are kept in OUT/.rescore until all are there; then the catalog with the new columns takes
the old one's place in one step. So a stopped run can continue, and readers never see half of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from nonesuch.catalogs.storage.parts import UNREADABLE, catalog_folder, part_files, read_schema
from nonesuch.catalogs.storage.rewrite import ROW, part_stamp, rewrite_parts
from nonesuch.flows.reporting.progress import Counter, tell_planned
from nonesuch.flows.rescore_setup import open_rescoring
from nonesuch.flows.rescoring import Rescoring
from nonesuch.flows.run.output_folder import hold
from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import CatalogError, InputError

CHUNK = 500  # rows that one task scores
FOLDER = ".rescore"
_SHOWN = 100  # images that a summary names


@dataclass(frozen=True, slots=True)
class RescoreSummary:
    """What a rescoring did, over all runs that it took."""

    out: str
    encoder: str  # as the catalog's `encoder` column says it
    scorers: tuple[str, ...]  # that were run: those asked for, and those that another encoder made necessary
    images: int  # rows that have new scores now
    already: int  # rows that had these very scores before
    unreadable: tuple[tuple[str, str], ...]  # (file, reason) of images that could not be scored; at most 100
    unread: int  # how many those are in all
    seconds: float  # of this run

    def markdown(self) -> str:
        """The summary for Prefect's page of the run."""
        text = (
            f"{self.images:,} images scored by {', '.join(self.scorers)}, {self.already:,} had these scores, "
            f"{self.unread:,} could not be read."
        )
        return "\n".join([text, "", *(f"- {file}: {reason}" for file, reason in self.unreadable)])


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one part that one task scores."""

    part: Path
    rows: tuple[int, ...]  # their numbers in the part, ascending
    result: Path  # where their scores are kept


@task(name="rescore", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def chunk_task(name: str, work: Any) -> None:
    """Score one chunk and keep the scores; `work` is a quoted (Chunk, Rescoring, Counter)."""
    chunk, rescoring, counter = work
    table = _rows_of(chunk.part, rescoring.columns_needed).take(pa.array(chunk.rows, pa.int64()))
    found = rescoring.score(table.to_pylist(), chunk.rows, counter)
    chunk.result.parent.mkdir(parents=True, exist_ok=True)
    temporary = chunk.result.with_suffix(".temporary")
    pq.write_table(found, temporary, compression="zstd")
    temporary.replace(chunk.result)


@flow(name="rescore", flow_run_name="{out}", persist_result=False, validate_parameters=False)
def rescore(
    out: Path,
    scorers: Sequence[str],
    encoder: str | None = None,
    aesthetic: str | None = None,
    safety_threshold: float | None = None,
    again: bool = False,
    online: bool = False,
) -> RescoreSummary:
    """Run `scorers` over every image of the catalog in `out` that lacks their scores.

    encoder           another encoder than the catalog's: then the embeddings change too, and with them the
                      scores of every other scorer the catalog has; None: the catalog's own
    aesthetic         an aesthetic head; safety_threshold: below it an image is flagged; both as in a sweep file
    again             also rows that have these very scores, for a scorer whose code has changed
    online            whether weights may be fetched

    The files are read, never changed. Rows whose file is missing or altered keep their scores, or lose them
    when the encoder changes, and are reported. Raises InputError for unknown scorers and encoders, ScoringError
    for a scorer that fails, StorageError for a full disk or while another run writes here; run it again to continue.
    """
    out = catalog_folder(Path(out)).parent
    begun = monotonic()
    schema = read_schema(out)
    if schema is None:
        raise InputError("there is no catalog here", where=str(out))
    with hold(out):
        rescoring = open_rescoring(
            out,
            schema,
            tuple(scorers),
            encoder=encoder,
            aesthetic=aesthetic,
            safety_threshold=safety_threshold,
            again=again,
            online=online,
        )
        kept = out / FOLDER / canonical_digest([rescoring.key, again])[:32]
        _forget_others(kept)
        chunks, already = _plan(out, rescoring, kept)
        waiting = [chunk for chunk in chunks if not chunk.result.exists()]
        total = sum(len(chunk.rows) for chunk in waiting)
        tell_planned(total, already + sum(len(chunk.rows) for chunk in chunks) - total)
        counter = Counter(total)
        for chunk in waiting:
            name = f"{chunk.part.stem} {chunk.rows[0]}-{chunk.rows[-1]}"
            # quoted, so that Prefect does not search thousands of rows for futures
            chunk_task(name, quote((chunk, rescoring, counter)))
        scored, unread = _put_in_place(out, rescoring, chunks)
        shutil.rmtree(out / FOLDER, ignore_errors=True)
        summary = RescoreSummary(
            out=str(out),
            encoder=rescoring.encoder_text,
            scorers=rescoring.names,
            images=scored,
            already=already,
            unreadable=tuple(unread[:_SHOWN]),
            unread=len(unread),
            seconds=monotonic() - begun,
        )
        create_markdown_artifact(summary.markdown(), key="rescored")
        return summary


def _plan(out: Path, rescoring: Rescoring, kept: Path) -> tuple[list[Chunk], int]:
    """The chunks of rows that need scores, and how many rows have them."""
    chunks: list[Chunk] = []
    already = 0
    for part in part_files(out):
        needed: list[int] = []
        table = _rows_of(part, rescoring.columns_needed)
        for number, row in enumerate(_plain_rows(table)):
            if row["file"] is None:
                continue
            if rescoring.is_done(row):
                already += 1
            else:
                needed.append(number)
        stem = f"{part.stem}-{part_stamp(part)}"
        for start in range(0, len(needed), CHUNK):
            rows = tuple(needed[start : start + CHUNK])
            chunks.append(Chunk(part, rows, kept / f"{stem}-{rows[0]}.parquet"))
    return chunks, already


def _plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def _rows_of(part: Path, columns: Sequence[str]) -> pa.Table:
    """Those columns of a part, null where it has none."""
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            table = file.read(columns=[name for name in columns if name in file.schema_arrow.names])
    except UNREADABLE as error:
        raise CatalogError(f"this part of the catalog is damaged ({error})", where=str(part)) from error
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows))
    return table


def _put_in_place(
    out: Path, rescoring: Rescoring, chunks: Sequence[Chunk]
) -> tuple[int, list[tuple[str, str]]]:
    """Write the scores into the catalog; how many rows were scored, and the files that could not be read."""
    by_part: dict[str, list[Path]] = {}
    for chunk in chunks:
        by_part.setdefault(chunk.part.name, []).append(chunk.result)
    if not chunks:
        return 0, []
    unread: list[tuple[str, str]] = []
    scored = 0
    for chunk in chunks:
        facts = pq.read_schema(chunk.result).metadata
        unread += [(file, reason) for file, reason in json.loads(facts[b"unread"])]
        scored += int(facts[b"scored"])

    def update(part: Path) -> pa.Table | None:
        paths = by_part.get(part.name)
        if paths is None:
            return None
        tables = [pq.read_table(path).replace_schema_metadata(None) for path in paths]
        return pa.concat_tables(tables).sort_by(ROW)

    rewrite_parts(out, rescoring.schema, update)
    return scored, unread


def _forget_others(kept: Path) -> None:
    """Remove what is left of rescorings that were asked for otherwise."""
    if kept.parent.is_dir():
        for path in kept.parent.iterdir():
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)
