"""prefect.yaml against a real Prefect server, and a real worker in another folder that runs what it deployed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

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
    said = prefect(
        ["deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml")],
        home,
        prefect_server,
        NONESUCH_SWEEP=str(home / "s.yaml"),
        NONESUCH_OUT=str(home / "out"),
    )
    assert "error" not in said.lower()
    return home


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
