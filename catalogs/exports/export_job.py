"""An export's request, an exporter's input, and its result: plain data and one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa

if TYPE_CHECKING:
    from nonesuch.catalogs.exports.selection import Selection
    from nonesuch.catalogs.exports.stage import Stage

Progress = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """How a choice of images is to be written; the choice itself is a Selection."""

    format: str  # name in EXPORTERS
    title: str = ""  # of the data set; "" takes the folder's name
    license: str | None = None  # of the images: an SPDX identifier or a name; None: nothing is claimed
    model_licenses: Mapping[str, str] = field(default_factory=dict)  # model as the catalog names it → licence
    split_by: str | None = None  # column whose values become splits; None: one split, "train"
    images_per_file: int = 1000  # at most, in one Parquet file or tar shard
    names: str = "{recipe_id}"  # `plain`: file name template over the columns
    number_names: bool = False  # `plain`: number equal names instead of refusing them
    embeddings: bool = False  # with the image embeddings, where the format has room for them
    jsonl: bool = False  # `hf-imagefolder`: metadata.jsonl instead of metadata.parquet
    raw: bool = False  # `csv`, `plain`: cells that a spreadsheet would run are left as they are
    asked: Mapping[str, Any] = field(default_factory=dict)  # the query's options, for the data card


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that could not be exported."""

    recipe_id: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Values that an export has otherwise than the catalog: null, cut, changed or left out."""

    what: str  # column, or what else it is about
    count: int
    how: str  # what became of them and why: "values became null (…)"

    def __str__(self) -> str:
        return f"{self.what}: {self.count:,} {self.how}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found equal when an export was read back."""

    readers: Sequence[str]  # what read it, with versions
    rows: int  # all of them were counted
    columns: int  # whose names were compared
    images: int  # compared byte for byte


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    out: Path
    format: str
    images: int  # rows written, with their image unless the format is a bare table
    bytes: int  # of all files of the export
    left_out: Sequence[LeftOut]  # rows whose image is missing or was changed
    losses: Sequence[Loss] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)  # column of the catalog → its name in the export
    checked: Checked | None = None  # None: the exporter has no `check`


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Everything an exporter works on."""

    request: ExportRequest
    selection: Selection
    title: str
    count: Callable[[], None]  # called once for each image that has been written


@dataclass(frozen=True, slots=True)
class Layout:
    """What an exporter wrote, as the data card describes it."""

    files: Sequence[tuple[str, str]]  # (path or pattern, what it holds)
    loading: str  # Python or shell that reads it back
    language: str = "python"  # of `loading`
    data_files: Mapping[str, Sequence[str]] = field(default_factory=dict)  # split → patterns, for `datasets`
    features: pa.Schema | None = None  # what `datasets` sees; fields of IMAGE type are images
    columns: Mapping[str, str] | None = None  # column of the catalog → its name here; None: left out
    losses: Sequence[Loss] = ()


class Exporter(Protocol):
    """One format. The registry's factory takes no arguments."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        """Write every file but the data card into the stage. What the stage already has may be kept.

        Raises CatalogError when an image is no longer the one that was catalogued.
        """
        ...


@runtime_checkable
class SelfChecking(Protocol):
    """An exporter that reads back what it wrote; every format of this package does."""

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """Read the finished stage, data card and all, by other code than wrote it, and compare it with the job:
        the number of rows, the names of the columns, and some rows with the bytes of their images.

        Raises CatalogError with what differs.
        """
        ...
