"""Prefect's server on a real PostgreSQL with two workers, as sweeps on several hosts use it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nonesuch.flows.repair.checking import check_output

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

SWEEP = """\
name: {name}
model: noise
prompt: "x"
seeds: {{count: 6}}
settings: {{width: 64, height: 64, steps: 1}}
scoring: {{scorers: []}}
shard_size: 2
"""
DEPLOYMENT = """\
name: nonesuch
pull: []
deployments:
  - name: {name}
    entrypoint: nonesuch.flows.sweep.sweep
    work_pool: {{name: nonesuch}}
    parameters: {{sweep_file: "{sweep}", out: "{out}"}}
"""


def programs() -> Path:
    """Where PostgreSQL's programs lie; the test is skipped where there are none, or none that may be run."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    server = str(found[-1]) if found else shutil.which("postgres")
    if server is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(server).parent


def user() -> str | None:
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_true(what: object, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not come up in time"
        time.sleep(0.2)


def answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL of its own on loopback; yields the address that Prefect takes."""
    bin, owner, port = programs(), user(), free_port()
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="nonesuch-pg-"))
    (folder / "password").write_text("secret\n")
    if owner is not None:
        for path in (folder, folder / "password"):
            shutil.chown(path, owner)
    data = folder / "data"
    subprocess.run(
        [bin / "initdb", "-D", data, "-U", "prefect", "-A", "scram-sha-256", "--pwfile", folder / "password", "-N"],
        user=owner, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    server = subprocess.Popen(
        [bin / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off"],
        user=owner, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await_true(
            lambda: (
                subprocess.run(
                    [bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
                ).returncode
                == 0
            ),
            60,
        )
        yield f"postgresql+asyncpg://prefect:secret@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def api(database: str, tmp_path: Path) -> Iterator[str]:
    """A Prefect server on that database."""
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "server"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
    }
    environment.pop("PREFECT_API_URL", None)
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(lambda: answers(f"http://127.0.0.1:{port}/api"), 300)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        server.terminate()
        server.wait(60)


def prefect(arguments: list[str], folder: Path, api: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=folder,
        env={**os.environ, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stopped(worker: subprocess.Popen[str]) -> str:
    """What a worker said; one that waits for a run that has just ended may wait for ever, and is killed."""
    worker.terminate()
    try:
        return worker.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.communicate()[0]


def states(api: str) -> list[str]:
    """The states of the server's flow runs."""
    reply = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=30).raise_for_status()
    return [str(run["state_type"]) for run in reply.json()]


def test_two_workers_share_the_deployments_of_a_server_on_postgresql(api: str, tmp_path: Path) -> None:
    hosts = [tmp_path / name for name in ("one", "two")]
    created = prefect(["work-pool", "create", "nonesuch", "--type", "process"], tmp_path, api)
    said, _ = created.communicate()
    assert created.returncode == 0, said
    workers = []
    for host in hosts:
        host.mkdir()
        (host / "s.yaml").write_text(SWEEP.format(name=host.name))
        (host / "prefect.yaml").write_text(
            DEPLOYMENT.format(name=host.name, sweep=host / "s.yaml", out=host / "out")
        )
        deploying = prefect(["deploy", "--all"], host, api)
        said, _ = deploying.communicate()
        assert deploying.returncode == 0, said
        starting = prefect(["deployment", "run", f"sweep/{host.name}"], host, api)
        said, _ = starting.communicate()
        assert starting.returncode == 0, said
    for host in hosts:
        arguments = ["worker", "start", "--pool", "nonesuch", "--name", host.name, "--limit", "1"]
        workers.append(prefect(arguments, host, api))
    try:
        await_true(lambda: set(states(api)) <= {"COMPLETED", "FAILED", "CRASHED"}, 600)
    finally:
        said = "".join(stopped(worker) for worker in workers)
    assert states(api) == ["COMPLETED", "COMPLETED"], said
    for host in hosts:
        checked = check_output(host / "out")
        assert (checked.rows, checked.files, checked.findings) == (6, 6, ())
