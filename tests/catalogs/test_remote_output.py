"""Drawing into a URL, without a flow: what is taken in, what is refused. Whole runs on S3: tests/flows/test_bucket.py.

fsspec's memory storage stands for those that offer no conditions on what is put.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage import lease
from nonesuch.catalogs.storage.part_list import LIST, read_list
from nonesuch.catalogs.storage.remote_output import join_output, publish_remotely, remote_output, staging
from nonesuch.catalogs.storage.store import Store
from nonesuch.foundation.errors import InputError, StorageError

URL = "memory://drawn/out"


@pytest.fixture(autouse=True)
def empty_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))
    yield
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def publish(holder: str, name: str, numbers: range, folder: Path | None = None) -> None:
    folder = folder or staging(URL)
    picture = folder / "images" / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(name.encode())
    rows = [make_row(number) for number in numbers]
    publish_remotely(URL, folder, holder, name, rows, SCHEMA, [f"images/{name}.png"])


def catalogued() -> list[str]:
    return sorted(Catalog(URL).query(columns=["recipe_id"])["recipe_id"])


def ids(numbers: range) -> list[str]:
    return sorted(str(make_row(number)["recipe_id"]) for number in numbers)


def test_what_was_published_but_not_told_is_listed_at_the_end() -> None:
    def interrupted() -> None:
        with remote_output(URL, staging(URL)) as output:
            publish(output.holder, "demo-a", range(5))
            output.arrived("demo-a")
            publish(output.holder, "demo-b", range(5, 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert catalogued() == ids(range(10))
    assert Store(URL).read("images/demo-b.png") == b"demo-b"
    assert not list(staging(URL).rglob("*.png"))
    assert Store(URL).read(lease.LEASE) is None


def test_rows_that_are_known_are_taken_out_of_parts_that_nobody_listed(tmp_path: Path) -> None:
    store = Store(URL)
    with remote_output(URL, staging(URL)) as output:
        publish(output.holder, "demo-a", range(5))
        output.arrived("demo-a")
        listed = store.read(LIST) or b""
        publish(output.holder, "demo-b", range(3, 8))
        publish(output.holder, "demo-c", range(4))
    store.write("catalog/demo-d.parquet", b"half a part")
    assert sorted(read_list(store).parts) == ["0-schema.parquet", "demo-a.parquet", "demo-b.parquet"]
    store.write(LIST, listed)  # as a run leaves it that is killed before the next list
    with remote_output(URL, tmp_path / "another machine"):
        pass
    assert catalogued() == ids(range(8))
    assert not {"catalog/demo-c.parquet", "catalog/demo-d.parquet"} & store.sizes(["catalog"]).keys()


def test_a_part_is_never_put_by_a_run_that_lost_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "WATCH", 0.5)
    monkeypatch.setattr(lease, "RENEW", 60.0)  # as if the first run were frozen
    run = remote_output(URL, staging(URL))
    first = run.__enter__()
    with remote_output(URL, tmp_path / "another machine") as second:
        publish(second.holder, "demo-a", range(5), tmp_path / "another machine")
        second.arrived("demo-a")
        with pytest.raises(StorageError, match="taken over this output"):
            publish(first.holder, "demo-b", range(5))
    with pytest.raises(StorageError, match="taken over this output"):
        run.__exit__(None, None, None)
    assert catalogued() == ids(range(5))


def test_a_live_run_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.1)
    with (
        remote_output(URL, staging(URL)),
        pytest.raises(StorageError, match="another run is writing here"),
        remote_output(URL, tmp_path / "another machine"),
    ):
        pass


def test_a_worker_on_another_machine_knows_the_columns(tmp_path: Path) -> None:
    with remote_output(URL, staging(URL)) as output:
        publish(output.holder, "demo-a", range(5))
        output.arrived("demo-a")
        join_output(URL, tmp_path / "worker", output.holder)
        score = SCHEMA.get_field_index("aesthetic")
        clashing = SCHEMA.set(score, SCHEMA.field(score).with_type(pa.bool_()))
        rows = [make_row(9) | {"aesthetic": True}]
        with pytest.raises(InputError, match="aesthetic"):
            publish_remotely(URL, tmp_path / "worker", output.holder, "demo-z", rows, clashing, [])
    assert catalogued() == ids(range(5))
