"""What a person sees who interrupts a run, or names an output that can't be. Faults: test_faults.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nonesuch.flows.repair.checking import check_output
from tests.command_line import nonesuch

SWEEP = """\
name: shaken
model: noise
prompt: "a {subject} by {artist}"
facets:
  subject: [panda, fox, castle, rose]
  artist: [Hokusai, Munch, Seurat]
seeds: {count: 10}
settings: {width: 96, height: 96, steps: 1}
scoring: {scorers: [technical]}
shard_size: 7
"""
IMAGES = 120

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def start(sweep_file: Path, out: Path, server: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nonesuch", "run", str(sweep_file), "--out", str(out)],
        env={**os.environ, "PREFECT_API_URL": server},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background jobs ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def drawn_files(out: Path) -> int:
    return sum(1 for _ in (out / "images").rglob("*.png"))


def test_ctrl_c_says_how_to_go_on_and_the_next_run_finishes(
    tmp_path: Path, sweep_file: Path, prefect_server: str
) -> None:
    out = tmp_path / "out"
    process = start(sweep_file, out, prefect_server)
    while process.poll() is None and drawn_files(out) < 10:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "run it again to continue" in errors
    assert "Traceback" not in errors
    went_on = nonesuch("run", sweep_file, "--out", out)
    assert went_on.returncode == 0, went_on.stderr
    checked = check_output(out)
    assert (checked.rows, checked.files, checked.findings, checked.left_over) == (IMAGES, IMAGES, (), 0)


@pytest.mark.usefixtures("prefect_server")
def test_an_output_that_cannot_be_made_is_named(tmp_path: Path, sweep_file: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = nonesuch("run", sweep_file, "--out", tmp_path / "file" / "out")
    assert refused.returncode == 1, refused.stderr
    assert "file" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_server_that_is_away_is_told(tmp_path: Path, sweep_file: Path) -> None:
    process = start(sweep_file, tmp_path / "out", "http://127.0.0.1:9/api")  # the discard port
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "Prefect's server can't be reached" in errors
    assert "Traceback" not in errors
