"""prefect.yaml against a real Prefect server, and a real worker in another folder that runs what it deployed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import nonesuch_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
SWEEP = """\
name: deployed
model: noise
prompt: "x"
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""
NAMES = {"sweep/nightly", "rescore/rescore", "verify_folder/verify", "compaction/compact", "retention/retain"}


def prefect(arguments: list[str], folder: Path, server: str, **more: str) -> str:
    """The output of a prefect command, run in `folder`."""
    environment = {**os.environ, "PREFECT_API_URL": server, **more}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep file whose deployments the server has."""
    home = tmp_path_factory.mktemp("deployed")
    (home / "s.yaml").write_text(SWEEP)
    prefect(["work-pool", "create", "nonesuch", "--type", "process"], home, prefect_server)
    deploy(home, prefect_server)
    return home


def deploy(home: Path, server: str) -> None:
    """Deploy all of prefect.yaml for the sweep file in `home`."""
    said = prefect(
        ["deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml")],
        home,
        server,
        NONESUCH_SWEEP=str(home / "s.yaml"),
        NONESUCH_OUT=str(home / "out"),
    )
    assert "error" not in said.lower()


def test_every_deployment_has_its_times_and_never_overlaps(deployed: Path, prefect_server: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy

    with get_client(sync_client=True) as client:
        found = {name: client.read_deployment_by_name(name) for name in NAMES}
    for name, deployment in found.items():
        assert deployment.schedules, name
        assert deployment.pull_steps in (None, [])
        assert deployment.global_concurrency_limit is not None
        assert deployment.global_concurrency_limit.limit == 1
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
        assert str(deployment.parameters).count(str(deployed)) >= 1
    assert found["retention/retain"].parameters["apply"] is False


def test_a_worker_in_another_folder_runs_them(deployed: Path, prefect_server: str, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = [
            client.create_flow_run_from_deployment(client.read_deployment_by_name("sweep/nightly").id),
        ]
    prefect(["worker", "start", "--pool", "nonesuch", "--run-once"], tmp_path, prefect_server)
    assert len(pd.read_parquet(deployed / "out" / "catalog")) == 4
    with get_client(sync_client=True) as client:
        retained = client.read_deployment_by_name("retention/retain")
        by = {"order": "sharpness"}  # the sweep has no aesthetic score
        runs.append(client.create_flow_run_from_deployment(retained.id, parameters=by))
    prefect(["worker", "start", "--pool", "nonesuch", "--run-once"], tmp_path, prefect_server)
    with get_client(sync_client=True) as client:
        states = {run.name: client.read_flow_run(run.id).state for run in runs}
    assert {state.type.value for state in states.values() if state} == {"COMPLETED"}, states
    assert len(list((deployed / "out" / "images").rglob("*.png"))) == 4


def test_deployments_of_before_are_named_and_made_again(
    deployed: Path, prefect_server: str, tmp_path: Path
) -> None:
    """Every room was a package of its own: entrypoints such as flows.sweep.sweep are no longer there."""
    from prefect.client.orchestration import get_client

    old = {
        "nightly": ["nonesuch"],  # prefect.yaml's, which `deployed` replaced and this makes old again
        "night": ["nonesuch-schedule"],  # what `nonesuch schedule` made
    }
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("sweep")
        for name, tags in old.items():
            client.create_deployment(flow, name, entrypoint="flows.sweep.sweep", tags=tags)
        theirs = client.create_flow_from_name("theirs")
        client.create_deployment(theirs, "nightly", entrypoint="flows.theirs.theirs")
    listed = nonesuch_process("schedule", "list", PREFECT_API_URL=prefect_server)
    assert (listed.returncode, listed.stdout) == (0, "")
    first, second = [line for line in listed.stderr.splitlines() if "deployment" in line]
    assert "sweep/night " in first
    assert "stop `nonesuch schedule` for night and start it again" in first
    assert "sweep/nightly " in second
    assert "prefect --no-prompt deploy --all" in second

    (tmp_path / "s.yaml").write_text(SWEEP)
    serving = subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "schedule", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"),
         "--name", "night", "--cron", "0 2 * * *"],
        env={**os.environ, "PREFECT_API_URL": prefect_server, "NONESUCH_HOME": str(tmp_path / "home")},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with get_client(sync_client=True) as client:
            while serving.poll() is None:
                if client.read_deployment_by_name("sweep/night").entrypoint == "nonesuch.flows.sweep.sweep":
                    break
                time.sleep(0.5)
    finally:
        serving.send_signal(signal.SIGINT)
        serving.wait(60)
    deploy(deployed, prefect_server)
    assert "deployment" not in nonesuch_process("schedule", "list", PREFECT_API_URL=prefect_server).stderr
