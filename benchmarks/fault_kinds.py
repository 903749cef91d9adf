"""The kinds of fault, each injected into real sweeps and followed by the check of everything they left.

A scenario takes the lab and how many faults to inject, and returns its Outcome; one that can't run here raises
Unavailable.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.fault_lab import Lab, Outcome, Unavailable, await_true, children, images, rows
from nonesuch.catalogs.storage.parts import part_files

IMAGES = 24
JUMPS = (-365 * 86_400, -7_200, -30, 7_200, 365 * 86_400)  # seconds
Scenario = Callable[[Lab, int], Outcome]


def runner_killed(lab: Lab, count: int) -> Outcome:
    """SIGKILL of the runner at random points, a few times a sweep."""
    outcome = Outcome("SIGKILL of the runner")
    while outcome.injected < count:
        file, out = lab.sweep("runner")
        for _ in range(4):
            run = lab.start(file, out)
            lab.await_images(run, out, images(out) + lab.chance.randint(0, 7))
            time.sleep(lab.chance.uniform(0, 0.03))
            if run.alive:
                run.kill()
                outcome.injected += 1
            lab.check(outcome, out, None)
            if rows(out) == IMAGES or outcome.injected == count:
                break
        lab.finish(outcome, file, out, IMAGES)
    return outcome


def worker_killed(lab: Lab, count: int) -> Outcome:
    """SIGKILL of a worker process of the engine `processes`; the run itself goes on."""
    outcome = Outcome("SIGKILL of a worker process")
    while outcome.injected < count:
        faults = lab.folder / f"faults-{outcome.injected}"
        faults.mkdir()
        (faults / "slow").write_text("0.05")
        file, out = lab.sweep(
            "worker", model=f"faulty:{faults}", more="engine: {name: processes, devices: 2}"
        )
        run = lab.start(file, out)
        for share in range(min(3, count - outcome.injected)):
            lab.await_images(run, out, 2 + 6 * share)
            victims = children(int(run.process.pid or 0))
            if run.alive and victims:
                os.kill(lab.chance.choice(victims), signal.SIGKILL)
                outcome.injected += 1
        if code := run.wait():
            outcome.problems.append(f"a run that lost a worker ended with {code}: {run.said()[-400:]}")
        lab.finish(outcome, file, out, IMAGES)
    return outcome


def backend_hangs(lab: Lab, count: int) -> Outcome:
    """A backend that hangs at a recipe once: its worker is replaced after the timeout."""
    outcome = Outcome("a backend that hangs")
    for number in range(count):
        faults = lab.folder / f"hangs-{number}"
        faults.mkdir()
        seed = lab.chance.randrange(IMAGES // 2)
        (faults / f"hang-{seed}").write_text("")
        file, out = lab.sweep("hang", model=f"faulty:{faults}", more="engine: {timeout: 30}")
        run = lab.start(file, out)
        code = run.wait()
        outcome.injected += not (faults / f"hang-{seed}").exists()
        if code:
            outcome.problems.append(f"a run whose backend hung ended with {code}: {run.said()[-400:]}")
        lab.finish(outcome, file, out, IMAGES)
    return outcome


def out_of_memory(lab: Lab, count: int) -> Outcome:
    """A denoiser that finds no memory for a whole batch, and every second time none for one image."""
    outcome = Outcome("GPU out of memory")
    for number in range(count):
        faults = lab.folder / f"memory-{number}"
        faults.mkdir()
        alone = number % 2 == 1
        (faults / "memory").write_text("0" if alone else str(lab.chance.randint(1, 3)))
        file, out = lab.sweep("memory", model=f"crowded:{faults}", seeds=4, shard=8, side=128)
        run = lab.start(file, out)
        code = run.wait()
        outcome.injected += int((faults / "refused").stat().st_size > 0)
        if code != (1 if alone else 0):
            outcome.problems.append(f"ended with {code}: {run.said()[-400:]}")
        (faults / "memory").write_text("8")
        lab.finish(outcome, file, out, 8, "--retry-failed")
    return outcome


def disk_full(lab: Lab, count: int) -> Outcome:
    """A disk that is full at some point of the sweep, and larger at the next run."""
    outcome = Outcome("a full disk")
    for _ in range(count):
        with small_disk(lab.folder / "disk", lab.chance.randint(150, 600)) as disk:
            file, _ = lab.sweep("disk")
            run = lab.start(file, disk / "out")
            code, said = run.wait(), run.said()
            if code == 1 and "the disk is full" in said:
                outcome.injected += 1
            else:
                outcome.problems.append(f"a full disk ended the run with {code}: {said[-400:]}")
            remount(disk, "size=64m")
            lab.check(outcome, disk / "out", None)
            lab.finish(outcome, file, disk / "out", IMAGES)
    return outcome


def read_only(lab: Lab, count: int) -> Outcome:
    """An output that can't be written from some point on: mounted read-only under a running sweep."""
    outcome = Outcome("a read-only output")
    for _ in range(count):
        with small_disk(lab.folder / "disk", 64_000) as disk:
            file, _ = lab.sweep("readonly")
            out = disk / "out"
            run = lab.start(file, out)
            lab.await_images(run, out, lab.chance.randint(0, 16))
            run.kill()  # a file system with an open writer can't be made read-only
            remount(disk, "ro")
            refused = lab.start(file, out)
            code, said = refused.wait(), refused.said()
            if code == 1 and "can't be written" in said:
                outcome.injected += 1
            else:
                outcome.problems.append(f"a read-only output ended the run with {code}: {said[-400:]}")
            remount(disk, "rw")
            lab.finish(outcome, file, out, IMAGES)
    return outcome


def two_at_once(lab: Lab, count: int) -> Outcome:
    """Two runs of one sweep into one folder: one draws, the other is refused and says so."""
    outcome = Outcome("two sweeps into one output")
    for _ in range(count):
        file, out = lab.sweep("two")
        both = [lab.start(file, out), lab.start(file, out)]
        codes = [run.wait() for run in both]
        said = "".join(run.said() for run in both)
        if sorted(codes) == [0, 1] and "another run is writing here" in said:
            outcome.injected += 1
        elif codes != [0, 0]:  # else they did not meet: the second began when the first had ended
            outcome.problems.append(f"two runs ended with {codes}: {said[-400:]}")
        lab.finish(outcome, file, out, IMAGES)
    return outcome


def server_killed(lab: Lab, count: int) -> Outcome:
    """SIGKILL of Prefect's server under a running sweep."""
    outcome = Outcome("SIGKILL of the Prefect server")
    for number in range(count):
        file, out = lab.sweep("server", seeds=24)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        api = f"http://127.0.0.1:{port}/api"
        environment = {
            **lab.environment,
            "PREFECT_HOME": str(lab.folder / f"home-{number}"),
            "PREFECT_API_URL": api,
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app",
             "--host", "127.0.0.1", "--port", str(port), "--log-level", "critical"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if not await_true(lambda api=api: _answers(api), 300):
                raise Unavailable("Prefect's server did not start")
            run = subprocess.Popen(
                [sys.executable, "-m", "nonesuch", "run", str(file), "--out", str(out)],
                env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            await_true(lambda out=out, run=run: images(out) >= 6 or run.poll() is not None, 300)
            server.kill()
            outcome.injected += run.poll() is None
            _, said = run.communicate()
        finally:
            server.kill()
            server.wait()
        if run.returncode not in (0, 1) or "Traceback" in said:
            outcome.problems.append(f"without its server the run ended with {run.returncode}: {said[-600:]}")
        lab.check(outcome, out, None)
        lab.finish(outcome, file, out, 2 * IMAGES)
    return outcome


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def truncated_part(lab: Lab, count: int) -> Outcome:
    """A part file cut short, as a crash of the file system leaves it: named, mended by --repair."""
    outcome = Outcome("a truncated part file")
    for _ in range(count):
        file, out = lab.sweep("cut")
        lab.finish(Outcome(""), file, out, IMAGES)
        part = lab.chance.choice(part_files(out))
        data = part.read_bytes()
        part.write_bytes(data[: lab.chance.randrange(len(data))])
        run = lab.start(file, out)
        code, said = run.wait(), run.said()
        if code == 1 and "damaged" in said and part.name in said:
            outcome.injected += 1
        else:
            outcome.problems.append(f"a truncated part ended the run with {code}: {said[-400:]}")
        lab.finish(outcome, file, out, IMAGES, "--repair")
    return outcome


def clock_jumps(lab: Lab, count: int) -> Outcome:
    """A wall clock that jumps by up to a year, either way, in the middle of a sweep with a budget of hours."""
    library = _clock_library(lab.folder)
    outcome = Outcome("a clock that jumps")
    for _ in range(count):
        file, out = lab.sweep("clock", more="budget: {hours: 1}")
        offset = file.with_name("offset")
        offset.write_bytes(struct.pack("q", 0))
        run = subprocess.Popen(
            [sys.executable, "-m", "nonesuch", "run", str(file), "--out", str(out)],
            env={**lab.environment, "LD_PRELOAD": str(library), "JUMPING_CLOCK": str(offset)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        await_true(lambda out=out, run=run: images(out) >= 4 or run.poll() is not None, 300)
        if run.poll() is None:
            with offset.open("r+b") as clock:  # mapped by the run: written in place
                clock.write(struct.pack("q", lab.chance.choice(JUMPS)))
            outcome.injected += 1
        _, said = run.communicate()
        # outside the certificate's time nothing can be signed: the run says so and ends
        ended_well = run.returncode == 0 or (
            run.returncode == 1 and "the signing certificate is valid" in said
        )
        if not ended_well or "ended early" in said:
            outcome.problems.append(f"a jumping clock ended the run with {run.returncode}: {said[-400:]}")
        lab.finish(outcome, file, out, IMAGES)
    return outcome


def _clock_library(folder: Path) -> Path:
    """jumping_clock.c, compiled. Raises Unavailable where there is no C compiler or no LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise Unavailable("a jumping clock needs Linux and a C compiler")
    library = folder / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A tmpfs of its own. Raises Unavailable where none can be mounted."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        raise Unavailable("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    """Change a mounted disk's size, or whether it can be written."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)
