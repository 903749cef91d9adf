"""The fault suite at small size: after each fault every recipe is catalogued once, whole and validly signed.

It runs as a command of its own: its fork server must be the first of its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

KINDS = {"runner", "truncated", "disk", "readonly", "memory", "two", "worker", "hang", "server", "clock"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("faults") / "report.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--small", "--json", str(file)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert file.exists(), done.stderr[-4000:]
    found: dict[str, Any] = json.loads(file.read_text())
    assert set(found["kinds"]) | set(found["skipped"]) == KINDS
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_loses_and_doubles_nothing(report: dict[str, Any], kind: str) -> None:
    if kind in report["skipped"]:
        pytest.skip(report["skipped"][kind])
    outcome = report["kinds"][kind]
    assert not outcome["problems"]
    assert outcome["injected"] >= 1 or kind == "two"
    assert outcome["images"] == outcome["signatures"] >= 8
