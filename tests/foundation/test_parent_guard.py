"""What a killed run leaves behind that watches nobody, as Ray does, is ended by the guard."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from nonesuch.foundation import children

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")

RUN = """\
import os, subprocess, sys, time
from nonesuch.foundation import children
guard = subprocess.Popen(children.command("nonesuch.foundation.parent_guard"), env=children.environment(), stdout=subprocess.DEVNULL)
idle = [sys.executable, "-c", "import time; time.sleep(600)"]
unknown = subprocess.Popen(idle, env={}, stdout=subprocess.DEVNULL, start_new_session=True)
time.sleep(3)  # the guard has to see it
young = subprocess.Popen(idle, env=children.environment(), stdout=subprocess.DEVNULL, start_new_session=True)
time.sleep(0.2)
print(guard.pid, unknown.pid, young.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_is_below_a_killed_run_ends_with_it() -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=children.environment(bound=False), stdout=subprocess.PIPE, text=True
    )
    left = {int(process) for process in done.stdout.split()}
    assert len(left) == 3
    end = time.monotonic() + 60
    while left and time.monotonic() < end:
        left = {process for process in left if children._runs(process)}
        time.sleep(0.1)
    assert left == set()
    assert bystander.poll() is None
    bystander.communicate()
