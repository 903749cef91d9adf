"""Shards drawn by worker processes: what dies is done again, what hangs is killed, what can't be drawn says so."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nonesuch.flows.engines import open_engine
from nonesuch.flows.engines.base import News
from nonesuch.flows.engines.handing import Handing
from nonesuch.flows.reporting.progress import Counter
from nonesuch.flows.run.shard import ShardReport
from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.generators.matrix.shards import Shard, cut_shards
from nonesuch.generators.sweepfile.run_engine import RunEngine
from nonesuch.generators.sweepfile.sweep import make_sweep
from tests.command_line import nonesuch_process
from tools.faulty_backend import install

SWEEP = """\
name: many
model: "faulty:{folder}"
prompt: "a panda"
seeds: {{count: 24}}
settings: {{width: 64, height: 64, steps: 1}}
scoring: {{scorers: []}}
shard_size: 4
engine: {{name: processes, devices: 2, timeout: {timeout}}}
"""


class ScriptedCrew:
    """A Crew of two whose workers draw, die or say nothing as a script of shard contents wants it."""

    size = 2

    def __init__(self, fatal: set[int], silent: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self._fatal, self._silent = fatal, silent  # seeds at which a worker dies, or hangs
        self._news: list[News] = [News(0, "ready"), News(1, "ready")]
        self._next = 2
        self.drawn: list[int] = []
        self.dismissed = 0
        self.closed = False

    def give(self, worker: int, shard: Shard) -> None:
        seeds = [recipe.seed for recipe in shard.recipes]
        if self._fatal & set(seeds):
            self._news += [News(worker, "counted", [("ok", True)]), News(worker, "lost", "it died")]
            self._hire()
        elif not self._silent & set(seeds):
            self.drawn += seeds
            report = ShardReport(shard.key, len(seeds), 0, 0.0)
            self._news += [
                News(worker, "counted", [("ok", seed % 2 == 1) for seed in seeds]),
                News(worker, "ended", report),
            ]
            self._news.append(News(worker, "ready"))

    def news(self, seconds: float) -> Sequence[News]:
        told, self._news = self._news, []
        return told

    def dismiss(self, worker: int) -> None:
        self.dismissed += 1
        self._news.append(News(worker, "lost", "killed"))
        self._hire()

    def close(self) -> None:
        self.closed = True

    def _hire(self) -> None:
        self._news.append(News(self._next, "ready"))
        self._next += 1


def prepared(folder: Path, seeds: int = 24) -> tuple[Any, list[Shard]]:
    from nonesuch.flows.run.job import prepare

    path = folder / "s.yaml"
    path.write_text(
        f'name: many\nmodel: noise\nprompt: "x"\nseeds: {{count: {seeds}}}\n'
        "settings: {width: 64, height: 64}\nscoring: {scorers: []}\n"
    )
    job = prepare(path, folder / "out", online=False)
    return job, list(cut_shards(job.matrix, 8, sweep="many"))


@pytest.mark.parametrize("silent", [False, True])
def test_a_recipe_that_always_kills_or_hangs_ends_as_a_failed_row_and_all_others_are_drawn(
    tmp_path: Path, silent: bool
) -> None:
    job, shards = prepared(tmp_path)
    crew = ScriptedCrew(set(), {13}) if silent else ScriptedCrew({13})
    counter = Counter(24)
    handing = Handing(crew, job, counter, patience=0.0 if silent else 60.0)
    reports = list(handing.run(iter(shards[:2])))
    reports += handing.run(iter(shards[2:]))
    handing.close()
    assert sorted(crew.drawn) == [seed for seed in range(24) if seed != 13]
    assert (counter.tally.done, counter.tally.failed, counter.tally.fetched) == (
        23,
        1,
        11,
    )  # the odd seeds but 13
    assert sum(report.failed for report in reports) == 1
    table = pd.read_parquet(job.out / "catalog")
    assert (table["seed"].tolist(), table["status"].tolist()) == ([13], ["failed"])
    assert "lost" in table["reason"][0]
    assert crew.closed


def test_workers_that_die_at_once_end_the_run_with_a_reason(tmp_path: Path) -> None:
    job, shards = prepared(tmp_path)

    class Stillborn(ScriptedCrew):
        def news(self, seconds: float) -> Sequence[News]:
            return [News(9, "lost", "it ended with code 1")]

    with pytest.raises(DrawingError, match="ended with code 1"):
        list(Handing(Stillborn(set()), job, Counter(24), patience=60.0).run(iter(shards)))


def test_choosing_an_engine() -> None:
    sweep = {"name": "a", "model": "noise", "prompt": "x"}
    assert make_sweep(sweep).engine.chosen == "here"
    assert make_sweep({**sweep, "engine": "ray"}).engine.chosen == "ray"
    assert make_sweep({**sweep, "engine": {"timeout": 5}}).engine.chosen == "processes"
    assert RunEngine(address="auto").chosen == "ray"
    assert RunEngine(name="ray", devices=3).changed({"name": "processes"}) == RunEngine(name="processes")
    assert RunEngine(name="ray").changed({"devices": 2, "name": None}) == RunEngine(name="ray", devices=2)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "here", "timeout": 5}, "can't end a hanging backend"),
        ({"name": "processes", "address": "auto"}, "only the engine ray"),
        ({"devices": 0}, "at least one"),
        ({"devices": []}, "empty"),
        ({"timeout": -1}, "greater than 0"),
    ],
)
def test_choices_that_contradict_themselves_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_sweep({"name": "a", "model": "noise", "prompt": "x", "engine": keys})
    with pytest.raises(InputError, match=words):
        RunEngine().changed(keys)


def test_an_unknown_engine_and_an_unknown_device_are_named() -> None:
    with pytest.raises(InputError, match="spark") as caught:
        open_engine(RunEngine(name="spark"))
    assert "processes" in str(caught.value.hint)
    with pytest.raises(InputError, match="cuda:99"):
        open_engine(RunEngine(devices=["cuda:99"]))


def run_with_faults(
    folder: Path, server: str, timeout: float, **faults: str
) -> subprocess.CompletedProcess[str]:
    """A run by two worker processes that die or hang at the seeds of `faults`."""
    (folder / "faults").mkdir()
    for name, text in faults.items():
        (folder / "faults" / name.replace("_", "-")).write_text(text)
    (folder / "s.yaml").write_text(SWEEP.format(folder=folder / "faults", timeout=timeout))
    return nonesuch_process(
        "run", folder / "s.yaml", "--out", folder / "out",
        PREFECT_API_URL=server, PYTHONPATH=install(folder / "site"),
    )  # fmt: skip


@pytest.mark.parametrize("often", [False, pytest.param(True, marks=pytest.mark.long)])
def test_processes_survive_deaths(tmp_path: Path, prefect_server: str, often: bool) -> None:
    """Every death costs the start of a worker."""
    faults = {"die_5": "", **({"die_20": "always"} if often else {})}
    done = run_with_faults(tmp_path, prefect_server, 3600, **faults)
    assert done.returncode == (3 if often else 0), done.stderr
    table = pd.read_parquet(tmp_path / "out" / "catalog")
    assert sorted(table["seed"]) == list(range(24))
    assert table.loc[table["status"] == "failed", "seed"].tolist() == ([20] if often else [])
    assert not (tmp_path / "faults" / "die-5").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_processes_survive_a_hang(tmp_path: Path, prefect_server: str) -> None:
    """For as long as the timeout it waits idle; one that is too short takes busy workers for hanging ones."""
    done = run_with_faults(tmp_path, prefect_server, 60, hang_14="")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "out" / "catalog")
    assert sorted(table["seed"]) == list(range(24))
    assert set(table["status"]) == {"ok"}
    assert not list((tmp_path / "faults").glob("hang-*"))
    assert "Traceback" not in done.stderr
