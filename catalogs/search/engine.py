"""The query engine: an in-memory DuckDB connection that can read one catalog's folder and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from nonesuch.catalogs.search.expressions import identifier, literal, unknown_column
from nonesuch.catalogs.search.joined_columns import KEY, Beside, names_any
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, check_parts, read_schema
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.files import storage_error

T = TypeVar("T")
Stamp = tuple[int, int, int]  # inode, time of change, size: another one is another file
_ATTEMPTS = 5  # how often a reader starts anew because parts it read were replaced meanwhile


class Engine:
    """Runs SQL over a catalog; keeps the connection, so that footers are read once.

    `beside` are columns that do not lie in the parts. Raises InputError when there is no catalog at `path`.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        beside: Callable[[Path], Sequence[Beside]] = lambda folder: (),
    ) -> None:
        self.folder = catalog_folder(path).resolve()
        self._beside = beside(self.folder.parent)
        self._connection = _connect(self.folder, threads)
        self._schema: tuple[Stamp, pa.Schema] | None = None
        self.schema  # noqa: B018  a missing catalog is reported at once

    @property
    def schema(self) -> pa.Schema:
        """Every column of the catalog as it is now."""
        stamp = _stamp(self.folder / SCHEMA_FILE)
        if stamp is not None and self._schema is not None and self._schema[0] == stamp:
            return self._schema[1]
        schema = read_schema(self.folder)
        if schema is None or stamp is None:
            raise InputError(
                "there is no catalog here",
                where=str(self.folder),
                hint="Name the folder that `nonesuch run` wrote with --out.",
            )
        self._schema = (stamp, schema)
        return schema

    @property
    def fields(self) -> pa.Schema:
        """Every column that a query may name: the catalog's and those beside it."""
        return with_beside(self.schema, self._beside)

    @property
    def parser(self) -> Any:
        """A connection for parsing expressions."""
        return self._cursor()

    def close(self) -> None:
        """Let go of the connection and of what lies beside the catalog; nothing can be read afterwards."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for side in self._beside:
            side.close()

    def _cursor(self) -> Any:
        if self._connection is None:
            raise InputError(
                "this catalog was closed", where=str(self.folder), hint="Open it again with Catalog(path)."
            )
        return self._connection.cursor()

    def read(self, work: Callable[[Session], T]) -> T:
        """What `work` returns for one unchanging view of the catalog; several statements may belong together.

        When a part that was read is replaced meanwhile (compaction, failed rows dropped), `work` is
        called again. Raises InputError for what a person's expressions got wrong, CatalogError for
        damaged parts.
        """
        import duckdb

        schema = self.schema
        for _ in range(_ATTEMPTS):
            before = self._parts()
            files = [f"{self.folder}/{name}" for name in before]
            session = Session(self._cursor(), schema, files, self._beside)
            failure: duckdb.Error | None = None
            try:
                result = work(session)
            except duckdb.Error as error:
                failure = error
            now = self._parts()
            if any(now.get(name) != stamp for name, stamp in before.items()):
                continue
            if failure is None:
                return result
            raise self._told(failure, self.fields.names) from failure
        raise CatalogError("kept changing while it was read", where=str(self.folder), hint="Try again.")

    def _parts(self) -> dict[str, Stamp]:
        """The parts by name, the schema file first; names, not paths, since every look-up asks for them."""
        stamps: dict[str, Stamp] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".parquet") and entry.name[0] not in "._":
                        with suppress(FileNotFoundError):
                            stat = entry.stat()
                            stamps[entry.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_error(error, self.folder) from error
        return {name: stamps[name] for name in sorted(stamps, key=lambda name: (name != SCHEMA_FILE, name))}

    def _told(self, error: Exception, names: Sequence[str]) -> Exception:
        import duckdb

        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = lines[0].partition("Error: ")[2] or lines[0]
        _, _, after = message.partition('Referenced column "')
        if after:
            return unknown_column(after.partition('"')[0], names, where="query")
        check_parts(self.folder)
        of_person = (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ConversionException,
            duckdb.InvalidInputException,
            duckdb.OutOfRangeException,
            duckdb.PermissionException,
        )
        return (
            InputError(message, where="query")
            if isinstance(error, of_person)
            else CatalogError(message, where=str(self.folder))
        )


class Session:
    """One view of the catalog: its columns, and SQL over its parts and what lies beside them."""

    def __init__(
        self, connection: Any, schema: pa.Schema, files: list[str], beside: Sequence[Beside] = ()
    ) -> None:
        self._connection = connection
        self._beside = [(f"beside_{number}", side) for number, side in enumerate(beside)]
        self._registered: set[str] = set()
        self.schema = schema
        self.fields = with_beside(schema, beside)
        self.files = files

    def sql(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The answer as an Arrow table; `{catalog}` stands for the rows with `filename` and `file_row_number`.

        parameters  the value of each $name in the text
        """
        source = parquet_source(self.files)
        columns, joins = self._joined(text)
        if joins:
            source = f"(SELECT part.*, part.file_index, {columns} FROM {source} AS part {joins})"
        whole = text.replace("{catalog}", source)
        return self._connection.sql(whole, params=dict(parameters) if parameters else None).to_arrow_table()

    def interrupt(self) -> None:
        """Break off the statement that another thread is running here; that thread's `sql` raises."""
        self._connection.interrupt()

    def names_beside(self, text: str) -> bool:
        """Whether an SQL text may name a column that lies beside the catalog."""
        names = [name for name in self.fields.names if name not in self.schema.names]
        return bool(names) and names_any(text, names)

    def beside(self, keys: pa.Table, names: Sequence[str]) -> pa.Table:
        """Columns beside the catalog for rows with those file_index and file_row_number, in their order."""
        columns, joins = self._joined(" ".join(names))
        self._connection.register(
            "wanted", keys.append_column("place", pa.array(range(len(keys)), pa.int64()))
        )
        table = self._connection.sql(f"SELECT {columns} FROM wanted AS part {joins} ORDER BY place")
        return table.to_arrow_table().select(list(names))

    def _joined(self, text: str) -> tuple[str, str]:
        columns, joins = [], ""
        for alias, side in self._beside:
            names = [
                name
                for name in side.fields.names
                if name in self.fields.names and name not in self.schema.names
            ]
            if not names or not names_any(text, names):
                continue
            if alias not in self._registered:
                self._connection.register(alias, side.table(self.files))
                self._registered.add(alias)
            columns += [f"{alias}.{identifier(name)}" for name in names]
            same = " AND ".join(f"part.{key} = {alias}.{key}" for key in KEY)
            joins += f" LEFT JOIN {alias} ON {same}"
        return ", ".join(columns), joins


def with_beside(schema: pa.Schema, beside: Sequence[Beside]) -> pa.Schema:
    """The schema and the columns beside the catalog; a column of the parts hides one of its name."""
    taken = {name.lower() for name in schema.names}
    more = [field for side in beside for field in side.fields if field.name not in taken]
    return pa.schema([*schema, *more], metadata=schema.metadata)


def parquet_source(files: Sequence[str]) -> str:
    """The SQL table function that reads those part files as one table."""
    listed = ", ".join(literal(file) for file in files)
    return f"read_parquet([{listed}], union_by_name=true, file_row_number=true, filename=true)"


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _connect(folder: Path, threads: int | None) -> Any:
    import duckdb

    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False})
    connection.execute("SET GLOBAL parquet_metadata_cache = true; SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    if threads is not None:
        connection.execute(f"SET threads = {int(threads)}")
    connection.execute(f"SET allowed_directories = [{literal(str(folder) + '/')}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection
