"""Runs that end badly: killed at random points, Ctrl-C, a full disk. Each must be resumable without loss.

Each run is a real `nonesuch run` in a process of its own, on one shared Prefect server.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

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
KILLS = 20
SAME = ["recipe_id", "prompt", "seed", "subject", "artist", "status", "phash", "watermark_id", "sharpness"]

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


def assert_whole(out: Path) -> pd.DataFrame:
    """Every recipe once, every file there with its digest, and nothing half-written beside them."""
    table = pd.read_parquet(out / "catalog")
    assert len(table) == IMAGES == table["recipe_id"].nunique()
    for file, digest in zip(table["file"], table["sha256"], strict=True):
        assert hashlib.sha256((out / file).read_bytes()).hexdigest() == digest
    assert {str(p.relative_to(out)) for p in (out / "images").rglob("*.png")} == set(table["file"])
    return table[SAME].sort_values("recipe_id").reset_index(drop=True)


@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_points_ends_as_an_undisturbed_one(
    tmp_path: Path, sweep_file: Path, prefect_server: str
) -> None:
    chance = random.Random(20261121)
    out = tmp_path / "killed"
    kills = 0
    while kills < KILLS:
        target = chance.randint(0, 14)  # images beyond what lay there: a shard and its publication, twice
        before = drawn_files(out)
        process = start(sweep_file, out, prefect_server)
        while process.poll() is None and drawn_files(out) < before + target:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        if process.returncode == 0 and kills < KILLS:
            shutil.rmtree(out)  # it came to its end before the last kills: begin anew
    last = start(sweep_file, out, prefect_server)
    assert last.wait() == 0, last.communicate()[1]
    undisturbed = start(sweep_file, tmp_path / "calm", prefect_server)
    assert undisturbed.wait() == 0
    pd.testing.assert_frame_equal(assert_whole(out), assert_whole(tmp_path / "calm"))


def test_ctrl_c_says_how_to_go_on_and_the_next_run_finishes(
    tmp_path: Path, sweep_file: Path, prefect_server: str
) -> None:
    out = tmp_path / "out"
    process = start(sweep_file, out, prefect_server)
    while process.poll() is None and drawn_files(out) < 10:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    assert start(sweep_file, out, prefect_server).wait() == 0
    assert_whole(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_sweep_goes_on_with_more_room(
    small_disk: Path, sweep_file: Path, prefect_server: str
) -> None:
    process = start(sweep_file, small_disk / "out", prefect_server)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "the disk is full" in errors
    assert "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert start(sweep_file, small_disk / "out", prefect_server).wait() == 0
    assert_whole(small_disk / "out")


def test_an_output_that_cannot_be_made_is_named(
    tmp_path: Path, sweep_file: Path, prefect_server: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    process = start(sweep_file, tmp_path / "file" / "out", prefect_server)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "file" in errors
    assert "Traceback" not in errors
