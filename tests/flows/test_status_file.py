"""How a run stands, as another terminal reads it: while it runs, after it, and after it was killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nonesuch.flows.reporting.progress import Tally
from nonesuch.flows.reporting.status_file import StatusFile, read_status
from nonesuch.flows.run.output_folder import hold
from nonesuch.foundation.errors import InputError
from tests.command_line import nonesuch


def test_a_running_an_ended_and_a_killed_run_are_told_apart(tmp_path: Path) -> None:
    file = StatusFile(tmp_path, "night")
    with hold(tmp_path):
        file.planned(10, 5)
        assert read_status(tmp_path).state == "running"
    assert read_status(tmp_path).state == "stopped"
    with hold(tmp_path):
        for done in range(1, 11):
            file.advanced(Tally(10, done, 0, 0))
        file.ended()
    told = read_status(tmp_path)
    assert (told.state, told.done, told.already, told.seconds_left) == ("ended", 10, 5, None)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep has run"):
        read_status(tmp_path)


def test_an_unwritable_folder_does_not_end_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    StatusFile(tmp_path / "file", "night").planned(1, 0)


def test_the_command_tells_it(tmp_path: Path, prefect_server: str) -> None:
    from nonesuch.flows.sweep import sweep

    (tmp_path / "s.yaml").write_text(
        'name: tiny\nmodel: noise\nprompt: "x"\nseeds: {count: 6}\nsettings: {width: 64, height: 64}\n'
        "scoring: {scorers: [technical]}\n"
    )
    sweep(tmp_path / "s.yaml", tmp_path / "out")
    told = json.loads(nonesuch("status", tmp_path / "out", "--json").stdout)
    assert (told["sweep"], told["state"], told["total"], told["done"]) == ("tiny", "ended", 6, 6)
    assert "6 of 6" in nonesuch("status", tmp_path / "out").stdout
