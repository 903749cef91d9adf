"""`nonesuch schedule` as a person uses it: real processes, a real Prefect server, a webhook server on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import nonesuch

WAIT = 900  # seconds at most; a busy machine may need them
SWEEP = """\
name: night
model: noise
prompt: "x"
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""
MAKE_BLOCK = """\
import sys
from prefect.blocks.webhook import Webhook
Webhook(url=sys.argv[1]).save("alerts", overwrite=True)
"""


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, f"not within {WAIT} s: {what}"
        time.sleep(0.5)


@pytest.fixture
def person(tmp_path: Path) -> dict[str, str]:
    """The environment of someone without a Prefect server."""
    return {
        **os.environ,
        "NONESUCH_HOME": str(tmp_path / "home"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    }


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server on loopback, and what it was sent."""
    received: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()


def schedule(arguments: list[str], person: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nonesuch", "schedule", *arguments]
    return subprocess.run(command, env=person, capture_output=True, text=True, timeout=WAIT)


def images(out: Path) -> int:
    try:
        return len(pd.read_parquet(out / "catalog"))
    except (OSError, ValueError):
        return 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_schedule_from_its_first_run_to_its_removal(
    tmp_path: Path, person: dict[str, str], webhook: tuple[str, list[dict[str, str]]]
) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    out, said = tmp_path / "out", tmp_path / "said"
    command = [sys.executable, "-m", "nonesuch", "schedule", "s.yaml", "--out", "out", "--interval", "30"]
    with said.open("w") as stderr:
        serving = subprocess.Popen(
            command, cwd=tmp_path, env=person, stderr=stderr,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell begins background jobs
        )  # fmt: skip
    try:
        until(lambda: images(out) == 4 or serving.poll() is not None, "the first run")
        assert serving.poll() is None, said.read_text()
        (listed,) = map(json.loads, schedule(["list", "--json"], person).stdout.splitlines())
        assert (listed["name"], listed["served"], listed["interval"]) == ("night", True, 30)
        assert listed["last_run"]
        twice = schedule([str(tmp_path / "s.yaml"), "--out", str(out), "--cron", "0 2 * * *"], person)
        assert twice.returncode == 1
        assert "served already" in twice.stderr

        url, received = webhook
        server = json.loads((tmp_path / "home" / "schedules" / "server.json").read_text())["url"]
        subprocess.run(
            [sys.executable, "-c", MAKE_BLOCK, url], env={**person, "PREFECT_API_URL": server}, check=True
        )
        told = schedule(["notify", "webhook/alerts", "--on", "completed"], person)
        assert told.returncode == 0, told.stderr
        unknown = schedule(["notify", "webhook/nobody"], person)
        assert unknown.returncode == 2
        assert "no such block" in unknown.stderr

        (tmp_path / "s.yaml").write_text(SWEEP.replace("count: 4", "count: 6"))
        until(lambda: images(out) == 6, "a run of the changed sweep file")
        until(lambda: bool(received), "a notification")
        assert received[0]["subject"] == "nonesuch: sweep Completed"

        removed = schedule(["remove", "night"], person)
        assert removed.returncode == 0, removed.stderr
        assert serving.wait(WAIT) == 0
    finally:
        if serving.poll() is None:
            serving.send_signal(signal.SIGINT)  # so that it stops the server that it started
            serving.wait(60)
    assert "Completed" in said.read_text()
    assert schedule(["list", "--json"], person).stdout == ""
    assert not (tmp_path / "home" / "schedules" / "server.json").exists()
    assert schedule(["remove", "night"], person).returncode == 2


@pytest.mark.parametrize(
    ("times", "what"),
    [
        (["--cron", "61 2 * * *"], "Invalid cron"),
        (["--cron", "0 2 * * *", "--timezone", "Mars/Phobos"], "Invalid timezone"),
        (["--interval", "soon"], "not a time"),
        ([], "either a cron line or an interval"),
        (["--cron", "0 2 * * *", "--interval", "5"], "either a cron line or an interval"),
    ],
)
def test_bad_times_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[str], what: str
) -> None:
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path / "home"))
    (tmp_path / "s.yaml").write_text(SWEEP)
    done = nonesuch("schedule", tmp_path / "s.yaml", "--out", tmp_path / "out", *times)
    assert done.returncode == 2
    assert what in done.stderr
    assert not (tmp_path / "home" / "schedules").exists()  # no server was begun for it
