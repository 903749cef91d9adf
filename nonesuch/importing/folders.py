"""Importing folders of other programs' images into a catalog: read, scored, hashed, never changed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.storage.parts import (
    check_part_name,
    part_files,
    prepare_catalog,
    publish_shard,
    published_ids,
    recipe_key,
)
from nonesuch.catalogs.thumbnails import write_thumbnail
from nonesuch.flows.run.output_folder import SCRATCH, hold, image_path
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write, flush_files
from nonesuch.foundation.images import RGB, read_limited
from nonesuch.importing.foreign_rows import read_foreign
from nonesuch.importing.import_scores import import_schema, open_scoring, score_rows
from nonesuch.importing.imported_marks import SearchFor, Tracer
from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials.reading import sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.sidecar import write_pack
from nonesuch.provenance.verifying.worker_pool import expand_paths

SWEEP = "imported"  # default for the catalog's `sweep` column
SCORERS = ("alignment", "aesthetic", "technical", "safety")  # facets have no values to be recognised among
PART = 500  # rows published together
BATCH = 32  # images scored together, at most
BATCH_PIXELS = 64_000_000  # of one batch: a bound on memory
_SUFFIX = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/avif": ".avif", "image/gif": ".gif",
    "image/tiff": ".tiff",
}  # fmt: skip

Status = Literal["imported", "known", "broken"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a folder is imported."""

    name: str = SWEEP  # the rows' sweep
    copy: bool = False  # copy the files into the output folder, bit for bit, instead of referring to them
    source_type: str | None = None  # IPTC name of what they are, when the user gives one
    scorers: tuple[str, ...] = SCORERS  # () scores and embeds nothing
    encoder: str | None = None  # None: that of the catalog's embeddings, else "embedded"
    online: bool = False  # whether the encoder's weights may be downloaded
    search: SearchFor = "full"  # for watermarks: any scale and angle, the image's own, or none
    watermark_key: bytes | None = field(default=None, repr=False)  # a secret one, besides the public key


@dataclass(frozen=True, slots=True)
class Imported:
    """The result for one file."""

    path: str
    status: Status  # known: the catalog already has a row of this file
    recipe_id: str | None  # SHA-256 of the file; None when it can't be read
    kind: str  # where its recipe was read: automatic1111, credential, file name, …; "" when there is none
    error: str | None  # why it is broken
    watermark: str | None = None  # in its pixels: 16 hex digits, or the name of another program's watermark
    watermark_of: str | None = None  # recipe id of the catalog's image that the watermark was made for
    watermark_shows_it: bool | None = None  # whether it shows that image; False: the watermark was copied


@dataclass(frozen=True, slots=True)
class _Read:
    path: Path
    image: RGB  # uint8 [H, W, 3]
    data: bytes | None  # the file, when it is to be copied
    row: dict[str, Any]
    kind: str
    manifest: bytes | None
    watermark: str | None


def import_folders(
    paths: Iterable[str | Path],
    out: Path,
    options: ImportOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Imported]:
    """Import the images that `paths` name (files, folders, globs) into the catalog in `out`.

    One row per file, whose id is the file's SHA-256; files that the catalog has are skipped, so an import may be
    stopped and run again. A broken file is an Imported with an error. Memory is bounded by a batch of images and
    the rows of one part. Raises InputError for an unknown source type, scorer or encoder and for a catalog
    whose columns don't fit; StorageError for a full disk and while another run writes there.
    """
    chosen = options or ImportOptions()
    check_part_name(chosen.name)
    if chosen.source_type is not None:
        uri = vocabulary.source_type_uri(chosen.source_type)
        chosen = replace(chosen, source_type=uri.rsplit("/", 1)[-1])
    work = _Importer(out, chosen, load_trust(), progress or (lambda done: None))
    with hold(out):
        yield from work.run(_outside(expand_paths(paths), out))


class _Importer:
    """One import: what the catalog already has, what waits to be scored and published."""

    def __init__(
        self, out: Path, options: ImportOptions, trust: TrustSet, progress: Callable[[int], None]
    ) -> None:
        self._out = out
        self._options = options
        self._trust = trust
        self._progress = progress
        self._known = _known_keys(out)
        self._scoring = open_scoring(out, options.scorers, options.encoder, online=options.online)
        self._schema = import_schema(self._scoring)
        prepare_catalog(out, self._schema)
        self._tracer = Tracer(out)
        self._waiting: list[_Read] = []
        self._rows: list[tuple[dict[str, Any], bytes | None]] = []
        self._done = 0

    def run(self, paths: Iterator[Path]) -> Iterator[Imported]:
        try:
            yield from self._import(paths)
        except (KeyboardInterrupt, GeneratorExit):
            self._publish()  # what is scored is not lost when the user stops it
            raise

    def _import(self, paths: Iterator[Path]) -> Iterator[Imported]:
        workers = max(1, min(4, os.cpu_count() or 1))
        with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
            for read in _ahead(pool, self._read, paths, workers):
                self._done += 1
                self._progress(self._done)
                if isinstance(read, Imported):
                    yield read
                    continue
                recipe_id = read.row["recipe_id"]
                if recipe_key(recipe_id) in self._known:  # the same bytes under two names
                    yield Imported(str(read.path), "known", recipe_id, "", None)
                    continue
                self._known.add(recipe_key(recipe_id))
                self._waiting.append(read)
                pixels = sum(one.image.shape[0] * one.image.shape[1] for one in self._waiting)
                if len(self._waiting) >= BATCH or pixels >= BATCH_PIXELS:
                    yield from self._finish_batch()
                if len(self._rows) >= PART:
                    self._publish()
            yield from self._finish_batch()
            self._publish()

    def _read(self, path: Path) -> _Read | Imported:
        """One file, decoded and its metadata read; runs in a thread."""
        try:
            data = read_limited(path)
            digest = hashlib.sha256(data).hexdigest()
            if recipe_key(digest) in self._known:
                return Imported(str(path), "known", digest, "", None)
            pixels = Pixels(data, str(path))
            image = _on_white(pixels)
            file = self._place(path, digest, suffix := _SUFFIX.get(sniff_mime(data), path.suffix.lower()))
        except InputError as error:
            return Imported(str(path), "broken", None, "", error.message)
        search, key = self._options.search, self._options.watermark_key
        foreign = read_foreign(data, path, pixels, self._trust, search=search, watermark_key=key)
        write_thumbnail(self._out, digest, image, scratch=self._out / SCRATCH)
        manifest = foreign.manifest
        row: dict[str, Any] = {
            "recipe_id": digest,
            "sweep": self._options.name,
            **foreign.columns,
            "width": image.shape[1],
            "height": image.shape[0],
            "status": "ok",
            **perceptual_hashes(image),
            "credential_digest": None if manifest is None else hashlib.sha256(manifest).hexdigest(),
            "file": file,
            "format": {".jpg": "jpeg"}.get(suffix, suffix.lstrip(".")),
            "bytes": len(data),
            "sha256": digest,
            "drawn_at": _written(path),
        }
        if self._options.source_type is not None:
            row["source_type"] = self._options.source_type
        kept = data if self._options.copy else None
        return _Read(path, image, kept, row, foreign.kind, manifest, foreign.watermark)

    def _place(self, path: Path, digest: str, suffix: str) -> str:
        """The `file` column: a path inside the output folder for copies, the path to the original for the others."""
        if self._options.copy:
            return image_path(self._options.name, digest, suffix)
        file = os.path.relpath(path.resolve(), self._out.resolve()).replace(os.sep, "/")
        try:
            file.encode()
        except UnicodeEncodeError as error:
            raise InputError("its name is not UTF-8; rename it, or use --copy") from error
        return file

    def _finish_batch(self) -> Iterator[Imported]:
        batch, self._waiting = self._waiting, []
        scored = score_rows(
            self._scoring, [read.image for read in batch], [read.row["prompt"] for read in batch]
        )
        for read, scores in zip(batch, scored, strict=True):
            if read.data is not None:
                target = self._out / read.row["file"]
                atomic_write(target, read.data, scratch=self._out / SCRATCH, flush=False)
            trace = self._tracer.trace(read.row["watermark_id"], read.image)
            row = read.row if trace is None else read.row | {"options": trace.into(read.row["options"])}
            self._rows.append((row | scores, read.manifest))
            of, shows_it = (None, None) if trace is None else (trace.recipe_id, trace.same_image)
            told = read.kind, None, read.watermark, of, shows_it
            yield Imported(str(read.path), "imported", row["recipe_id"], *told)

    def _publish(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        ids = "".join(row["recipe_id"] for row, _ in rows)
        name = f"{self._options.name}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
        manifests = [manifest for _, manifest in rows if manifest is not None]
        if manifests:
            write_pack(self._out, name, manifests)
        if self._options.copy:
            flush_files(self._out, [self._out / row["file"] for row, _ in rows])
        publish_shard(self._out, name, [row for row, _ in rows], self._schema)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Path], _Read | Imported], paths: Iterator[Path], ahead: int
) -> Iterator[_Read | Imported]:
    """The results of `work` in the order of the paths, a few of them computed in advance."""
    running: deque[Future[_Read | Imported]] = deque()
    for path in paths:
        running.append(pool.submit(work, path))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _on_white(pixels: Pixels) -> RGB:
    """The image, with transparency on white. Raises InputError when it can't be decoded."""
    rgba = pixels.rgba()
    if rgba is None:
        raise InputError(pixels.error or "can't be decoded")
    if rgba[..., 3].min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    image = Image.fromarray(rgba)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def _written(path: Path) -> datetime | None:
    """When the file was last written: the closest to its drawing time that every file system records."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def _outside(paths: Iterator[Path], out: Path) -> Iterator[Path]:
    """The paths outside the output folder's own folders."""
    own = [(out / name).resolve() for name in ("images", "thumbnails", "catalog", SCRATCH)]
    for path in paths:
        if not any(path.resolve().is_relative_to(folder) for folder in own):
            yield path


def _known_keys(out: Path) -> set[int]:
    """The first 64 bits of each recipe id and of each file's digest in the catalog."""
    if not part_files(out):
        return set()
    digests = Catalog(out).query("sha256 is not null", columns=["sha256"], as_arrow=True)["sha256"]
    return {int(key) for key in published_ids(out)} | {recipe_key(digest) for digest in digests.to_pylist()}
