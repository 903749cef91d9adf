"""Sweeps drawn straight into object storage: a real S3 API server on loopback (moto), a real Prefect server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pandas as pd
import pytest
from moody_backend import Moody, MoodyKind
from moto.server import ThreadedMotoServer
from prefect.settings import PREFECT_API_URL
from typer.testing import CliRunner

from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage import lease
from nonesuch.catalogs.storage.mirror import LIST, located, push
from nonesuch.catalogs.storage.remote_output import staging
from nonesuch.catalogs.storage.store import Store
from nonesuch.cli.app import app
from nonesuch.flows.repair.checking import check_output
from nonesuch.flows.reporting.progress import Tally, watched_by
from nonesuch.flows.reporting.status_file import read_status
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.generators.backends import BACKENDS
from tests.s3_server import s3_server
from tools.faulty_backend import KIND, FaultyKind, install

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

SWEEP = """\
name: afar
model: "{model}"
prompt: "a {{subject}}"
facets:
  subject: [panda, fox]
seeds: {{count: {seeds}}}
settings: {{width: {width}, height: 64, steps: 1}}
scoring: {{scorers: [technical]}}
shard_size: 5
"""


class Unplugging:
    """A watcher that stops the storage's server when so many images are drawn."""

    def __init__(self, server: ThreadedMotoServer, after: int) -> None:
        self._server, self._after = server, after

    def planned(self, total: int, already: int) -> None:
        pass

    def advanced(self, tally: Tally) -> None:
        if tally.done == self._after:
            self._server.stop()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server("drawn") as (url, _):
        yield url


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another machine: nothing of an earlier run is here."""
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))


def sweep_file(folder: Path, seeds: int, *, width: int = 64, model: str = "noise") -> Path:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.format(seeds=seeds, width=width, model=model))
    return path


def run(path: Path, out: str, **options: Any) -> Any:
    from nonesuch.flows.sweep import sweep

    return sweep(path, out, **options)


def started(path: Path, url: str) -> subprocess.Popen[str]:
    api = str(PREFECT_API_URL.value())
    return subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "run", str(path), "--out", url],
        env={**os.environ, "PREFECT_API_URL": api},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parts(url: str) -> int:
    return sum(name.startswith("catalog/afar-") for name in Store(url).sizes(["catalog"]))


def await_parts(url: str, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and parts(url) < count:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]


def objects(url: str) -> dict[str, int]:
    return Store(url).sizes([""])


def is_whole(url: str, recipes: int) -> bool:
    """Every recipe once, for nonesuch's readers and for others, every file there with its digest and credential."""
    checked = check_output(Path(url))
    table = pd.read_parquet(f"{url.removeprefix('s3://')}/catalog", filesystem=fsspec.filesystem("s3"))
    return (
        checked.rows == checked.files == checked.signatures == recipes == len(table)
        and set(table["recipe_id"]) == set(Catalog(url).query()["recipe_id"])
        and checked.findings == ()
        and checked.left_over == 0
    )


def test_a_sweep_lies_in_the_bucket_as_it_would_in_a_folder(tmp_path: Path, bucket: str) -> None:
    url = f"{bucket}/whole"
    path = sweep_file(tmp_path, 4, width=352)
    summary = run(path, url)
    assert (summary.done, summary.failed, summary.out) == (8, 0, url)
    assert is_whole(url, 8)
    there = objects(url)
    kinds = {name.split("/")[0] for name in there}
    assert kinds == {"catalog", "images", "manifests", "thumbnails", "sweeps", "reports", ".progress.json"}
    assert sum(name.startswith("thumbnails/") for name in there) == 8
    assert "data:image" in (Store(url).read(summary.page) or b"").decode()  # the report page has its pictures
    assert read_status(Path(url)).state == "ended"
    assert not list(staging(url).rglob("*.png"))  # nothing stays but the catalog
    assert run(path, url).planned == 0
    grown = run(sweep_file(tmp_path, 6, width=352), url)
    assert (grown.planned, grown.done) == (4, 4)
    assert is_whole(url, 12)
    for command, told in ((["check", url], "0 faults"), (["status", url], "ended, 4 of 4")):
        assert told in CliRunner().invoke(app, command).stdout


def test_failed_recipes_are_drawn_again(tmp_path: Path, bucket: str) -> None:
    BACKENDS.register("moody", MoodyKind)
    Moody.failing = True
    url = f"{bucket}/again"
    path = sweep_file(tmp_path, 4, model="moody:1")
    assert run(path, url).failed == 2
    Moody.failing = False
    again = run(path, url, retry_failed=True)
    assert (again.planned, again.failed) == (2, 0)
    assert is_whole(url, 8)


def test_a_killed_run_is_finished_by_the_next_one(tmp_path: Path, bucket: str) -> None:
    url = f"{bucket}/killed"
    path = sweep_file(tmp_path, 40)
    process = started(path, url)
    await_parts(url, 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    listed = json.loads(Store(url).read(LIST) or b"")["parts"]
    there = set(Store(url).sizes(["catalog"]))  # the list is written after the parts, every five seconds
    assert {f"catalog/{name}" for name in listed} <= there
    assert read_status(Path(url)).state in ("running", "stopped")
    went_on = run(path, url)
    assert 0 < went_on.planned <= 80 - 3 * 5
    assert is_whole(url, 80)


@pytest.mark.long
def test_a_second_run_is_refused_and_one_that_was_frozen_for_too_long_gives_up(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{bucket}/twice"
    monkeypatch.setenv("PYTHONPATH", install(tmp_path / "site"))
    BACKENDS.register(KIND, FaultyKind)
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "slow").write_text("0.8")
    path = sweep_file(tmp_path, 20, model=f"faulty:{faults}")
    first = started(path, url)
    await_parts(url, 2, first)
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "elsewhere"))  # another machine
    with pytest.raises(StorageError, match="another run is writing here"):
        run(path, url)
    assert first.poll() is None
    first.send_signal(signal.SIGSTOP)
    (faults / "slow").write_text("0")
    monkeypatch.setattr(lease, "WATCH", 2.0)
    second = run(path, url, shard_size=7)  # cut otherwise, so that their shards overlap
    assert 0 < second.planned < 40
    first.send_signal(signal.SIGCONT)
    _, errors = first.communicate()
    assert first.returncode == 1
    assert "another run has taken over this output" in errors
    assert "Traceback" not in errors
    assert run(path, url).planned == 0
    checked = check_output(Path(url))
    assert (checked.rows, checked.findings) == (40, ())


def test_worker_processes_draw_into_the_bucket(tmp_path: Path, bucket: str) -> None:
    """Workers that die there: test_ray.py, by the same code."""
    url = f"{bucket}/workers"
    summary = run(sweep_file(tmp_path, 5), url, engine={"name": "processes", "devices": 1})
    assert (summary.done, summary.failed) == (10, 0)
    assert is_whole(url, 10)


def test_what_the_storage_refuses_is_told(tmp_path: Path, bucket: str) -> None:
    path = sweep_file(tmp_path, 1)
    with pytest.raises(StorageError, match="bucket"):
        run(path, "s3://no-such-bucket/x")
    endpoint = os.environ["FSSPEC_S3_ENDPOINT_URL"]
    httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"0")  # from now on, only known keys
    try:
        with pytest.raises(StorageError, match="credentials in the environment"):
            run(path, f"{bucket}/refused")
    finally:
        httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"1000000000")


def test_a_network_that_goes_away_loses_nothing(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, 20)
    with s3_server("unsteady") as (url, server):
        watcher = Unplugging(server, after=15)
        with pytest.raises(StorageError, match="the storage answered"), watched_by(watcher):
            run(path, url)
        server.start()
        went_on = run(path, url)
        assert 0 < went_on.planned < 40
        assert is_whole(url, 40)


def test_what_works_on_folders_says_so(tmp_path: Path, bucket: str) -> None:
    url = f"{bucket}/folders"
    run(sweep_file(tmp_path, 1), url)
    local = tmp_path / "local"
    run(sweep_file(tmp_path, 1), str(local))
    with pytest.raises(InputError, match="would replace it"):
        push(local, url)
    for command in (
        ["compact", url],
        ["retain", url, "--where", "seed = 1", "--apply"],
        ["rescore", url, "--scorers", "technical"],
        ["pick", url, Catalog(url).query(top=1)["recipe_id"][0]],
        ["import", str(local), "--out", url],
        ["mark", str(local / "images"), "--out", str(tmp_path / "marked"), "--catalog", url],
    ):
        told = CliRunner().invoke(app, command)
        assert isinstance(told.exception, InputError), (command, told)
        assert "works on a folder" in str(told.exception), (command, told)
    with pytest.raises(InputError, match="works on a folder"):  # the gallery's folder is a mirror
        open_picks(located(url)).pick("a" * 64)
    assert not Path("s3:").exists()
