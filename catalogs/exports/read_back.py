"""Reading an export back with other code than wrote it (DuckDB, `datasets`), and comparing rows and bytes."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from nonesuch.catalogs.exports.column_words import IMAGE
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout
from nonesuch.catalogs.exports.selection import Picture
from nonesuch.catalogs.search.expressions import literal
from nonesuch.foundation.errors import CatalogError

SAMPLE = 8  # rows that are compared in full, spread over the export
_FIRST = 2  # rows of each split that `datasets` reads


def installed(package: str, major: int = 0) -> str | None:
    """ "PACKAGE VERSION" where it is installed, at least in that major version."""
    try:
        number = version(package)
    except PackageNotFoundError:
        return None
    return f"{package} {number}" if int(number.partition(".")[0]) >= major else None


def expect(true: bool, message: str) -> None:
    """Raise CatalogError with what differs unless it is true."""
    if not true:
        raise CatalogError(message)


def expect_names(found: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raise CatalogError unless the columns are those, in their order."""
    listed, asked = list(found), list(wanted)
    if listed != asked:
        odd = sorted(set(listed) ^ set(asked)) or ["their order"]
        raise CatalogError(f"{where} has other columns than were written: {', '.join(odd[:5])}")


def expect_rows(found: int, wanted: int, where: str) -> None:
    """Raise CatalogError unless there are so many rows."""
    expect(found == wanted, f"{where} has {found:,} rows instead of {wanted:,}")


def expect_values(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Raise CatalogError unless each wanted value is there; NaN equals NaN."""
    for name, value in wanted.items():
        same = found.get(name) == value or (
            isinstance(value, float) and math.isnan(value) and found.get(name) != found.get(name)
        )
        expect(
            same, f"{where}: {name} of {wanted.get('recipe_id', 'a row')} is {str(found.get(name))[:80]!r}"
        )


def expect_bytes(found: bytes | Path | None, picture: Picture, where: str) -> None:
    """Raise CatalogError unless the image is the catalog's, byte for byte."""
    try:
        data = found.read_bytes() if isinstance(found, Path) else found
    except OSError as error:
        raise CatalogError(f"{where}: {picture.name}: {error.strerror}") from error
    expect(data == picture.data, f"{where}: the bytes of {picture.name} are not the catalogued ones")


def sampled(numbers: Sequence[int], count: int = SAMPLE) -> list[int]:
    """At most `count` of the row numbers, spread evenly, the first and the last among them."""
    if len(numbers) <= count:
        return list(numbers)
    if count == 1:
        return [numbers[0]]
    return [numbers[place * (len(numbers) - 1) // (count - 1)] for place in range(count)]


def telling_ids(table: pa.Table) -> list[str | None]:
    """The recipe id of each row, None where another row has the same and it does not tell them apart."""
    ids = table["recipe_id"].to_pylist()
    often = Counter(ids)
    return [one if often[one] == 1 else None for one in ids]


def sampled_ids(ids: Sequence[str | None], numbers: Sequence[int], count: int) -> dict[int, str]:
    """Row number → recipe id of sampled rows, without those whose id does not tell them apart."""
    return {number: one for number in sampled(numbers, count) if (one := ids[number]) is not None}


class Tables:
    """Parquet files read by DuckDB, which shares no code with the Arrow that wrote them."""

    def __init__(self) -> None:
        import duckdb

        self.name = f"duckdb {duckdb.__version__}"
        self._error = duckdb.Error
        self._connection = duckdb.connect(
            ":memory:",
            config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 2},
        )
        self._connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")

    def count(self, files: Sequence[Path]) -> int:
        """How many rows the files have."""
        return int(self._asked("SELECT count(*) AS count", files).column("count")[0].as_py())

    def names(self, files: Sequence[Path]) -> list[str]:
        """The columns of the files. Names that differ in case only come back numbered, so as to be seen."""
        return list(self._asked("SELECT *", files, " LIMIT 0").column_names)

    def rows(self, files: Sequence[Path], key: str, values: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows whose `key` is one of the values, by it."""
        listed = ", ".join(literal(value) for value in values)
        found = self._asked("SELECT *", files, f' WHERE "{key}" IN ({listed})').to_pylist()
        return {row[key]: row for row in found}

    def _asked(self, select: str, files: Sequence[Path], rest: str = "") -> pa.Table:
        # DuckDB takes a path for a pattern; in brackets, a sign of patterns stands for itself
        paths = ["".join(f"[{c}]" if c in "*?[" else c for c in str(path)) for path in files]
        source = f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning=false)"
        try:
            return self._connection.sql(f"{select} FROM {source}{rest}").to_arrow_table()
        except self._error as error:
            raise CatalogError(f"{self.name} can't read it: {str(error).splitlines()[0][:300]}") from error


def check_with_datasets(
    job: ExportJob, root: Path, layout: Layout, *, inside: str | None = None
) -> str | None:
    """Load the export as `datasets.load_dataset` does and compare splits, columns and the first rows of each.

    `inside` names the column that holds the catalog's columns, when they are not columns themselves. Nothing
    is copied into its cache. Returns its name and version, None when it is not installed (or older than 4).
    Raises CatalogError when it can't load the export or finds something else in it.
    """
    name = installed("datasets", 4)
    if name is None or layout.features is None:
        return None
    import datasets

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(prefix="nonesuch-check-") as cache:
            found = datasets.load_dataset(str(root), streaming=True, cache_dir=cache)
            splits = job.selection.splits
            expect(list(found) == list(splits), f"{name} finds the splits {', '.join(map(str, found))}")
            for split, numbers in splits.items():
                _check_split(job, found[split], numbers[:_FIRST], layout, inside, f"{name}, split {split}")
    except CatalogError:
        raise
    except Exception as error:  # every kind of file raises its own
        deepest: BaseException = error
        while deepest.__cause__ is not None:
            deepest = deepest.__cause__
        line = (str(deepest).splitlines() or [""])[0]
        raise CatalogError(f"{name} can't load it: {type(deepest).__name__}: {line[:300]}") from error
    finally:
        if not bars:
            datasets.enable_progress_bars()
    return name


def _check_split(
    job: ExportJob, split: Any, numbers: Sequence[int], layout: Layout, inside: str | None, where: str
) -> None:
    import datasets

    features = layout.features or pa.schema([])
    pictures = [field.name for field in features if field.type == IMAGE]
    expect_names(split.features, features.names, where)
    for column in pictures:
        split = split.cast_column(column, datasets.Image(decode=False))
    rows = list(islice(split, len(numbers)))
    expect(len(rows) == len(numbers), f"{where} has fewer rows than were written")
    names = layout.columns or {}
    for row, picture in zip(rows, job.selection.pictures(numbers), strict=True):
        held = row if inside is None else row[inside]
        text = {name: picture.row[column] for column, name in names.items() if _is_text(picture.row, column)}
        expect_values(held, text, where)
        # of several columns of images (one for each kind of file), one has it
        image = next((row[column] for column in pictures if row[column] is not None), None)
        expect(image is not None, f"{where}: the image of {picture.name} is missing")
        expect_bytes(image["bytes"] or Path(image["path"]), picture, where)  # type: ignore[index]


def _is_text(row: Mapping[str, Any], column: str) -> bool:
    return isinstance(row.get(column), str | bool | int)


def checked(readers: Sequence[str | None], job: ExportJob, columns: int, images: int) -> Checked:
    """The result of a check that found everything as written."""
    return Checked([name for name in readers if name], job.selection.table.num_rows, columns, images)
