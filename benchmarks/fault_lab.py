"""Where faults are injected: sweeps in processes of their own, and the check that nothing was lost or doubled.

Runs are forked from a server process that has everything imported, so that hundreds of them are affordable;
each is a whole `nonesuch run` nevertheless, killed and judged from outside.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

import pyarrow.parquet as pq

from nonesuch.catalogs.storage.parts import part_files
from nonesuch.flows.repair.checking import check_output
from tools.faulty_backend import install

SWEEP = """\
name: {name}
model: "{model}"
prompt: "a {{subject}}"
facets: {{subject: [panda, fox]}}
seeds: {{count: {seeds}}}
settings: {{width: {side}, height: {side}, steps: 1}}
scoring: {{scorers: []}}
shard_size: {shard}
{more}
"""
PRELOADED = (
    "benchmarks.fault_lab", "nonesuch.cli.app", "nonesuch.cli.progress_bars", "nonesuch.running.monitoring", "nonesuch.flows.sweep", "c2pa",
    "cv2", "duckdb", "jinja2", "pandas", "pywt", "scipy.fft", "scipy.ndimage",
)  # fmt: skip
PATIENCE = 300.0  # seconds that a run may take


class Unavailable(Exception):
    """This fault can't be injected here, and why."""


@dataclass(slots=True)
class Outcome:
    """What came of injecting one kind of fault."""

    fault: str
    injected: int = 0  # faults
    sweeps: int = 0  # brought to their end afterwards
    images: int = 0  # files whose digest was compared with the catalog's
    signatures: int = 0  # credentials validated
    problems: list[str] = field(default_factory=list)  # what was lost, doubled or wrong


class Run:
    """One `nonesuch run` in a process of its own."""

    def __init__(self, process: ForkServerProcess, log: Path) -> None:
        self.process, self.log = process, log

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def wait(self) -> int:
        """Its exit code; a run that hangs is killed and gives -9."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return int(self.process.exitcode or 0)

    def kill(self) -> None:
        """SIGKILL for the process and nothing else."""
        self.process.kill()
        self.process.join()

    def said(self) -> str:
        """Its stdout and stderr."""
        return self.log.read_text() if self.log.exists() else ""


class Lab:
    """A folder for the sweeps, and Prefect's server for the runs."""

    def __init__(self, folder: Path, api: str, *, seed: int = 20261121) -> None:
        self.folder, self.chance = folder, Random(seed)
        site = install(folder / "site")
        paths = [site, *(path for path in sys.path if path)]
        self.environment = {**os.environ, "PREFECT_API_URL": api, "PYTHONPATH": os.pathsep.join(paths)}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        before = dict(os.environ)
        os.environ.update(self.environment)  # what the server and all its forks begin with
        try:
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
        self._count = 0

    def sweep(
        self,
        name: str,
        *,
        model: str = "noise",
        seeds: int = 12,
        shard: int = 4,
        side: int = 64,
        more: str = "",
    ) -> tuple[Path, Path]:
        """A new sweep of 2 × `seeds` images and its output folder."""
        self._count += 1
        folder = self.folder / f"{name}-{self._count}"
        folder.mkdir()
        file = folder / "s.yaml"
        file.write_text(SWEEP.format(name=name, model=model, seeds=seeds, shard=shard, side=side, more=more))
        return file, folder / "out"

    def start(self, file: Path, out: Path, *options: str) -> Run:
        """Start a run."""
        self._count += 1
        log = self.folder / f"run-{self._count}.log"
        arguments = ["run", str(file), "--out", str(out), *options]
        process = self._context.Process(target=_run, args=(arguments, str(log)))
        process.start()
        return Run(process, log)

    def await_images(self, run: Run, out: Path, count: int) -> None:
        """Wait until so many image files are there, or the run has ended."""
        until = time.monotonic() + PATIENCE
        while run.alive and images(out) < count and time.monotonic() < until:
            time.sleep(0.005)

    def finish(self, outcome: Outcome, file: Path, out: Path, count: int, *options: str) -> None:
        """Bring a sweep to its end and check everything in its folder."""
        run = self.start(file, out, *options)
        code = run.wait()
        if code != 0:
            outcome.problems.append(f"the resumed run ended with {code}: {run.said()[-400:]}")
            return
        outcome.sweeps += 1
        self.check(outcome, out, count)

    def check(self, outcome: Outcome, out: Path, count: int | None) -> None:
        """Every file as catalogued, every signature valid, no recipe twice; with `count`, all of them there."""
        if not part_files(out):
            if count is not None:
                outcome.problems.append("there is no catalog")
            return
        checked = check_output(out)
        outcome.images += checked.files
        outcome.signatures += checked.signatures
        outcome.problems += [f"{found.kind}: {found.where}: {found.what}" for found in checked.findings]
        if count is None:
            return
        if (checked.rows, checked.files, checked.signatures, checked.left_over) != (count, count, count, 0):
            outcome.problems.append(f"of {count} recipes: {checked}")


def images(out: Path) -> int:
    """How many image files are there."""
    return sum(1 for _ in (out / "images").rglob("*.png"))


def rows(out: Path) -> int:
    """How many rows the catalog has."""
    return sum(pq.read_metadata(path).num_rows for path in part_files(out))


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still live (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def await_true(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether something becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


def _run(arguments: Sequence[str], log: str) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    # A fork begins with the path of the process that asked for it, which needs no faulty backend.
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    sys.argv = ["nonesuch", *arguments]
    from nonesuch.cli import main

    main()
