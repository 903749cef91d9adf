"""No process outlives its run, whenever and however that is killed.

`make test` kills two runs, `make test-slow` each kind of run with each signal, with NONESUCH_KILLS=50 so often.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.descendants import descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("NONESUCH_KILLS", "1"))
CASES = [(engine, end) for engine in ("here", "processes", "ray") for end in (signal.SIGTERM, signal.SIGKILL)]
START = 30.0  # seconds within which a run is killed: its start, and some of its work
SWEEP = """\
name: endless
model: noise
prompt: "x"
seeds: {count: 1000000}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""


@pytest.mark.parametrize(
    ("engine", "end"),
    [
        ("here", signal.SIGTERM),
        ("processes", signal.SIGKILL),
        *(pytest.param(*case, marks=pytest.mark.long) for case in CASES * KILLS),
    ],
)
def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path, engine: str, end: signal.Signals) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    after = random.uniform(0, START)
    with descendants() as marked:
        environment = {
            **os.environ,
            **marked.environment,
            "NONESUCH_HOME": str(tmp_path / "home"),
            "PREFECT_HOME": str(tmp_path / "prefect"),
        }
        run = subprocess.Popen(
            [sys.executable, "-m", "nonesuch", "run", "s.yaml", "--out", "out", "--engine", engine],
            cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(after)
        assert run.poll() is None
        run.send_signal(end)
        run.wait()
        assert marked.left() == {}, f"killed after {after:.2f} s"
