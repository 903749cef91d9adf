"""Sweeps on a real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nonesuch.catalogs.storage.store import Store
from nonesuch.flows.repair.checking import check_output
from tests.s3_server import s3_server
from tools.faulty_backend import install

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """What Ray's nodes inherit: where they find the backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", install(tmp_path_factory.mktemp("site")))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield patch


@pytest.fixture(scope="module")
def cluster(site: pytest.MonkeyPatch) -> Iterator[Any]:
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

    site.setattr(services, "get_node", patient)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def draw_while_a_node_dies(
    folder: Path, cluster: Any, server: str, out: Path | str, drawn: Callable[[], int]
) -> None:
    """Run the sweep on two nodes; one is killed when `drawn` says that 15 images are there."""
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    faults = folder / "faults"
    faults.mkdir()
    (faults / "slow").write_text("0.3")
    (folder / "s.yaml").write_text(SWEEP.format(folder=faults, address=cluster.address))
    run = subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "run", str(folder / "s.yaml"), "--out", str(out)],
        env={**os.environ, "PREFECT_API_URL": server, "NONESUCH_CACHE": str(folder / "runner")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and drawn() < 15:
        time.sleep(0.1)
    assert run.poll() is None, run.communicate()[1]
    cluster.remove_node(nodes[0], allow_graceful=False)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    cluster.remove_node(nodes[1])


def test_a_node_that_dies_in_the_middle_costs_nothing(
    tmp_path: Path, cluster: Any, prefect_server: str
) -> None:
    out = tmp_path / "out"
    draw_while_a_node_dies(
        tmp_path, cluster, prefect_server, out, lambda: len(list((out / "images").rglob("*.png")))
    )
    table = pd.read_parquet(out / "catalog")
    assert len(table) == IMAGES == table["recipe_id"].nunique()
    checked = check_output(out)
    assert (checked.findings, checked.signatures, checked.left_over) == ((), IMAGES, 0)


def test_nodes_that_share_no_folder_draw_into_a_bucket(
    tmp_path: Path, cluster: Any, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "nodes"))
    with s3_server("clustered") as (url, _):
        draw_while_a_node_dies(
            tmp_path,
            cluster,
            prefect_server,
            f"{url}/out",
            lambda: len(Store(f"{url}/out").sizes(["images"])),
        )
        checked = check_output(Path(f"{url}/out"))
        assert (checked.rows, checked.findings, checked.signatures) == (IMAGES, (), IMAGES)
        assert checked.left_over == 0
        assert not list((tmp_path / "runner" / "runs").rglob("*.png"))
