"""Catalogs in object storage: pushed to and read from a real S3 API server on loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.mirror import LIST, local_file, located, push, url_of
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import InputError, StorageError
from tests.command_line import nonesuch
from tests.s3_server import s3_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket on a server of its own."""
    with s3_server("pictures") as (url, _):
        yield url


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3:/bucket/a/", "s3://bucket/a"),  # what pathlib makes of it
        ("gs://bucket", "gs://bucket"),
        ("/data/out", None),
        ("out", None),
        ("file:///data/out", None),
        ("C:/out", None),
    ],
)
def test_urls_are_told_from_paths(path: str, url: str | None) -> None:
    assert url_of(path) == url
    assert url_of(Path(path)) == url


def test_a_pushed_catalog_answers_as_the_local_one(demo: Callable[..., Path], bucket: str) -> None:
    out = demo()
    first = push(out, f"{bucket}/one")
    assert first.parts == 3
    asked = {"where": "subject = 'fox'", "order": "aesthetic", "top": 5}
    here, there = Catalog(out).query(**asked), Catalog(f"{bucket}/one").query(**asked)
    pd.testing.assert_frame_equal(here, there)
    there = pd.read_parquet("pictures/one/catalog", filesystem=fsspec.filesystem("s3"))
    assert len(there) == 60  # what lies there is an ordinary catalog
    again = push(out, f"{bucket}/one")
    assert (again.uploaded, again.bytes) == (0, 0)


def test_a_grown_and_compacted_catalog_is_followed(demo: Callable[..., Path], bucket: str) -> None:
    out = demo(20, 10)
    push(out, f"{bucket}/two")
    assert Catalog(f"{bucket}/two").count() == 20
    for start in (20, 30):
        rows = [make_row(i) for i in range(start, start + 10)]
        publish_shard(out, f"demo-{start // 10:05d}", rows, SCHEMA)
    push(out, f"{bucket}/two")
    assert Catalog(f"{bucket}/two").count() == 40
    compact(out, everything=True)
    pushed = push(out, f"{bucket}/two")
    assert pushed.removed == 4
    assert Catalog(f"{bucket}/two").count() == 40


def test_images_come_when_they_are_asked_for(demo: Callable[..., Path], bucket: str) -> None:
    out = demo(10, 10)
    picture = out / "images" / "demo" / "0003.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"the bytes of a picture")
    push(out, f"{bucket}/three")
    mirror = located(f"{bucket}/three")
    assert not (mirror / "images").exists()
    assert local_file(mirror, "images/demo/0003.png").read_bytes() == b"the bytes of a picture"
    with pytest.raises(StorageError, match="not in the object storage"):
        local_file(mirror, "images/demo/0004.png")


def test_a_reader_beside_a_writer_sees_the_old_state_or_the_new_one(
    demo: Callable[..., Path], bucket: str
) -> None:
    out = demo(20, 10)
    push(out, f"{bucket}/four")
    files = fsspec.filesystem("s3")
    # a writer that was stopped after its first new part: the list does not know it yet
    stray = next((out / "catalog").glob("demo-*.parquet"))
    files.put_file(str(stray), "pictures/four/catalog/demo-99999.parquet")
    assert Catalog(f"{bucket}/four").count() == 20
    # a part that is not the one in the list is never believed
    listed = json.loads(files.cat_file(f"pictures/four/{LIST}"))
    name = sorted(listed["parts"])[-1]
    files.pipe_file(f"pictures/four/catalog/{name}", b"half a part")
    shutil.rmtree(os.environ["NONESUCH_CACHE"])
    with pytest.raises(Exception, match="kept changing"):
        Catalog(f"{bucket}/four")


def test_what_is_not_there_is_told(demo: Callable[..., Path], bucket: str) -> None:
    with pytest.raises(InputError, match="no catalog here"):
        Catalog(f"{bucket}/nowhere")
    out = demo(10, 10)
    with pytest.raises(StorageError, match="bucket"):
        push(out, "s3://no-such-bucket/x")
    with pytest.raises(InputError, match="not a URL"):
        push(out, "/local/path")


def test_the_command_line_takes_urls(demo: Callable[..., Path], bucket: str) -> None:
    out = demo(20, 10)
    pushed = nonesuch("push", out, f"{bucket}/five", "--json")
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["parts"] == 2
    told = nonesuch("query", f"{bucket}/five", "--where", "subject = 'panda'", "--json", "--top", "3")
    assert told.returncode == 0, told.stderr
    assert [json.loads(line)["subject"] for line in told.stdout.splitlines()] == ["panda"] * 3


def test_a_folder_is_pushed_to_a_file_url_and_read_there(demo: Callable[..., Path], tmp_path: Path) -> None:
    out, there = demo(20, 10), tmp_path / "back up"
    url = there.as_uri()
    assert push(out, url).parts == 2
    assert push(out, url).uploaded == 0
    assert Catalog(url).count("subject = 'fox'") == Catalog(out).count("subject = 'fox'")
    told = nonesuch("query", url, "--csv", "--columns", "plan_index", "--top", "3")
    assert told.stdout.split() == ["plan_index", "0", "1", "2"]
    compact(out, everything=True)
    push(out, url)
    assert len(pd.read_parquet(there / "catalog")) == 20
    for wrong, message in ((out.as_uri(), "the folder itself"), ("file://server/x", "another machine")):
        with pytest.raises(InputError, match=message):
            push(out, wrong)
    publish_shard(there, "drawn-0", [make_row(99)], SCHEMA)
    with pytest.raises(InputError, match="was not pushed"):
        push(out, url)


def test_what_would_be_gone_at_once_is_refused(demo: Callable[..., Path]) -> None:
    out = demo(20, 10)
    for command in (["push", out, "memory://x"], ["query", "memory://x"]):
        told = nonesuch(*command)
        assert told.returncode == 2
        assert "is lost when this command ends" in " ".join(told.stderr.split())
