"""Every command that starts processes, in a folder full of somebody else's code and settings: none of it runs."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from tests.descendants import descendants
from tests.hostile_folder import HostileFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WAIT = 900.0  # seconds at most; a busy machine may need them


@pytest.fixture(scope="module", params=["command", pytest.param("module", marks=pytest.mark.long)])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HostileFolder:
    return HostileFolder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("hostile", ["command", "module"], indirect=True)
def test_verifying_a_file(hostile: HostileFolder) -> None:
    assert json.loads(hostile.run("verify", "a.png", "--json"))["verdict"] == "no-evidence"


def test_verifying_a_folder_on_a_prefect_server(hostile: HostileFolder, prefect_server: str) -> None:
    hostile.environment["PREFECT_API_URL"] = prefect_server
    try:
        hostile.run("verify", "pictures", "--out", "verdicts/")
    finally:
        del hostile.environment["PREFECT_API_URL"]
    assert list(pd.read_parquet(hostile.path / "verdicts")["verdict"]) == ["no-evidence"]


def test_a_run_with_workers_on_its_own_prefect_server(hostile: HostileFolder) -> None:
    hostile.run("run", "s.yaml", "--out", "out", "--engine", "processes", "--devices", "1")
    assert list(pd.read_parquet(hostile.path / "out" / "catalog")["status"]) == ["ok"] * 4


@pytest.mark.long
@pytest.mark.parametrize("hostile", ["module"], indirect=True)  # Ray knows nothing of the way
def test_a_run_on_a_ray_cluster_of_its_own(hostile: HostileFolder, prefect_server: str) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    hostile.environment["PREFECT_API_URL"] = prefect_server
    try:
        hostile.run("run", "s.yaml", "--out", "ray", "--engine", "ray")
    finally:
        del hostile.environment["PREFECT_API_URL"]
    assert list(pd.read_parquet(hostile.path / "ray" / "catalog")["status"]) == ["ok"] * 4


def test_the_server(hostile: HostileFolder) -> None:
    serving = hostile.start("serve", "--port", "0")
    assert serving.stderr is not None
    try:
        address = re.search(r"http://\S+/", first := serving.stderr.readline())
        assert address is not None, first + serving.stderr.read()
        upload = urllib.request.Request(
            f"{address[0]}api/verify",
            (hostile.path / "a.png").read_bytes(),
            {"Content-Type": "image/png"},
        )
        with urllib.request.urlopen(upload) as answer:
            assert json.load(answer)["verdict"] == "no-evidence"
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate()
    assert hostile.ran() == {}


@pytest.mark.long
def test_a_schedule_and_that_nothing_outlives_it(hostile: HostileFolder, tmp_path: Path) -> None:
    """Its shared server and its runs; SIGKILL comes while it serves."""
    hostile.environment["PREFECT_RUNNER_POLL_FREQUENCY"] = "2"
    hostile.environment["PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS"] = "5"
    with descendants() as marked:
        hostile.environment |= marked.environment
        serving = hostile.start("schedule", "s.yaml", "--out", "nights", "--interval", "30")
        end = time.monotonic() + WAIT
        while not list((hostile.path / "nights" / "catalog").glob("night-*.parquet")):
            assert serving.poll() is None, serving.communicate()
            assert time.monotonic() < end
            time.sleep(0.2)
        assert len(marked.alive()) >= 2
        serving.kill()
        serving.communicate()
        assert marked.left() == {}
    assert hostile.ran() == {}
