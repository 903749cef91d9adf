"""Sweeps on a real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.faulty_backend import install
from flows.checking import check_output

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMAGES = 60
SWEEP = """\
name: spread
model: "faulty:{folder}"
prompt: "a panda"
seeds: {{count: 60}}
settings: {{width: 64, height: 64, steps: 1}}
scoring: {{scorers: []}}
shard_size: 6
engine: {{name: ray, address: "{address}", devices: 2, timeout: 120}}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray's nodes inherit: where they find the backend."""
    monkeypatch.setenv("PYTHONPATH", install(tmp_path / "site"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture
def cluster(site: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for work. Nodes get three minutes to come up instead of Ray's thirty seconds."""
    from ray._private import services
    from ray.cluster_utils import Cluster

    get_node = services.get_node

    def patient(*arguments: Any) -> Any:
        until = time.monotonic() + 180
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(1)

    monkeypatch.setattr(services, "get_node", patient)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def test_a_node_that_dies_in_the_middle_costs_nothing(
    tmp_path: Path, cluster: Any, prefect_server: str
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "slow").write_text("0.3")
    out = tmp_path / "out"
    (tmp_path / "s.yaml").write_text(SWEEP.format(folder=faults, address=cluster.address))
    run = subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "run", str(tmp_path / "s.yaml"), "--out", str(out)],
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and len(list((out / "images").rglob("*.png"))) < 15:
        time.sleep(0.1)
    assert run.poll() is None, run.communicate()[1]
    cluster.remove_node(nodes[0], allow_graceful=False)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    table = pd.read_parquet(out / "catalog")
    assert len(table) == IMAGES == table["recipe_id"].nunique()
    checked = check_output(out)
    assert (checked.findings, checked.signatures, checked.left_over) == ((), IMAGES, 0)
