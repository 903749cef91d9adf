"""Verdicts as Parquet: the same content as the JSON, whole or not at all, bounded memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.provenance.marking.drawn_image import MarkedFile
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verdict_table import NESTED, verdict_schema, write_table, writing


def test_a_row_says_what_the_json_says(
    tmp_path: Path, marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    verdicts = [ask(marked["png"].data), ask(b"no picture")]
    write_table(verdicts, tmp_path / "v.parquet")
    rows = pq.read_table(tmp_path / "v.parquet").to_pylist()
    for row, verdict in zip(rows, verdicts, strict=True):
        back = {**row, **{name: row[name] and json.loads(row[name]) for name in NESTED}}
        assert back == verdict.to_json()
    assert pd.read_parquet(tmp_path / "v.parquet")["verdict"].tolist() == ["ai-generated", "no-evidence"]


def test_names_that_are_no_unicode_are_written(tmp_path: Path, ask: Callable[..., Verdict]) -> None:
    odd = Verdict.from_json(
        {**ask(b"x").to_json(), "path": b"caf\xe9.png".decode("utf-8", "surrogateescape")}
    )
    write_table([odd], tmp_path / "v.parquet")
    assert pq.read_table(tmp_path / "v.parquet")["path"].to_pylist() == ["caf?.png"]


def test_a_stopped_run_leaves_nothing(tmp_path: Path, ask: Callable[..., Verdict]) -> None:
    verdict = ask(b"x")

    def broken() -> Iterator[Verdict]:
        yield verdict
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(broken(), tmp_path / "v.parquet")
    started = writing(iter([verdict, verdict]), tmp_path / "w.parquet")
    next(started)
    started.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_many_rows_come_in_groups(tmp_path: Path, ask: Callable[..., Verdict]) -> None:
    verdict = ask(b"x")
    write_table((verdict for _ in range(9000)), tmp_path / "v.parquet")
    file = pq.ParquetFile(tmp_path / "v.parquet")
    assert file.metadata.num_rows == 9000
    assert file.metadata.num_row_groups == 3
    assert file.schema_arrow == verdict_schema()


def test_unwritable_places_are_said(tmp_path: Path, ask: Callable[..., Verdict]) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write_table([ask(b"x")], tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_table([ask(b"x")], tmp_path / "file" / "v.parquet")
