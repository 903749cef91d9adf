"""Verifying many files on all cores, in processes that are killed when a file hangs or breaks them.

A file that crashes its worker, takes too long or eats too much memory costs one verdict with an `error`, which
reports what had been found until then, and nothing else. Verdicts come in the order of the paths.
"""

from __future__ import annotations

import base64
import glob
import json
import os
import pickle
import selectors
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from nonesuch.foundation import children
from nonesuch.provenance.verifying.allowance import Allowance
from nonesuch.provenance.verifying.steps import Step, cut_short
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify_options import VerifyOptions

SUFFIXES = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".avif",
        ".heic",
        ".heif",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
    ]
)
SECONDS = 10.0  # that one file may take, of a core that others leave to it
_START_SECONDS = 300.0  # that a worker may take to load its libraries
_LOOKAHEAD = 256  # verdicts kept waiting for an earlier one


def verify_paths(
    patterns: Iterable[str | Path],
    *,
    options: VerifyOptions | None = None,
    jobs: int | None = None,
    seconds: float = SECONDS,
) -> Iterator[Verdict]:
    """The verdict on each file that `patterns` name, in order: files, folders (searched deeply) and globs.

    See verify_files.
    """
    return verify_files(expand_paths(patterns), options=options, jobs=jobs, seconds=seconds)


def verify_files(
    paths: Iterable[Path],
    *,
    options: VerifyOptions | None = None,
    jobs: int | None = None,
    seconds: float = SECONDS,
) -> Iterator[Verdict]:
    """The verdict on each file, in order; `paths` is read only a little ahead of the verdicts.

    `jobs` defaults to the cores this process may use; `seconds` is the time one file may take. The options'
    catalog travels to other processes, so it must pickle.
    Raises InputError, before the first verdict, for a trust file that can't be used.
    """
    options = options or VerifyOptions()
    if options.trust is not None:
        options.load_trust()
    count = jobs or len(os.sched_getaffinity(0))
    return _in_workers(iter(paths), options, count, seconds)


def expand_paths(patterns: Iterable[str | Path]) -> Iterator[Path]:
    """The files that some patterns name. A folder gives its images, by suffix, sorted; a name that is nothing
    gives itself, so that it is reported as missing."""
    for pattern in patterns:
        path = Path(pattern)
        if os.path.isdir(path):
            yield from _images_below(path)
        elif os.path.lexists(path) or not glob.has_magic(str(pattern)):
            yield path
        else:
            for found in sorted(glob.glob(str(pattern), recursive=True)):
                if not os.path.isdir(found):
                    yield Path(found)


def _images_below(folder: Path) -> Iterator[Path]:
    closed: list[Path] = []  # folders that may not be read: each is reported in place of its files
    for root, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield Path(root, name)
    yield from closed


class _Worker:
    """One child process (nonesuch.provenance.verifying.worker) and the file it is busy with."""

    def __init__(self, options: VerifyOptions) -> None:
        # one core a worker; the workers are the parallelism
        one_core = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            children.command("nonesuch.provenance.verifying.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=children.environment(one_core),
        )
        self._buffer = bytearray()
        self.index: int | None = None  # of the path it works on
        self.path = Path()
        self.last: Step | None = None  # what it has found in that file so far
        self._seconds = 0.0
        self._allowance = Allowance(self._process.pid, _START_SECONDS)
        self._ready = False
        self._send(base64.b64encode(pickle.dumps(options)))

    @property
    def fd(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def give(self, index: int, path: Path, seconds: float) -> None:
        self.index, self.path, self.last, self._seconds = index, path, None, seconds
        if self._ready:
            self._allowance = Allowance(self._process.pid, seconds)
        self._send(json.dumps(os.fsencode(path).decode("utf-8", "surrogateescape")).encode())

    def take(self) -> tuple[Step | None, str] | None:
        """The last step and why it is not complete (empty when it is), None when the child is still at it.

        Raises EOFError when the child has died.
        """
        data = os.read(self.fd, 1 << 20)
        if not data:
            raise EOFError
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest
        for line in lines:
            if not self._ready:  # its first line says that it has loaded
                self._ready = True
                self._allowance = Allowance(self._process.pid, self._seconds)
                continue
            answer = json.loads(line)
            if "failed" in answer:
                return self.last, answer["failed"]
            self.last = Step.from_json(answer)
            if not self.last.left:
                return self.last, ""
        return None

    def late(self) -> str | None:
        """Why the child is given up, as a phrase; None as long as it is not."""
        return self._allowance.over()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a dead child is noticed when it is read from
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()


def _in_workers(
    paths: Iterator[Path], options: VerifyOptions, count: int, seconds: float
) -> Iterator[Verdict]:
    waiting = enumerate(paths)
    done: dict[int, Verdict] = {}
    following = 0  # index of the verdict to yield next
    workers: list[_Worker] = []
    selector = selectors.DefaultSelector()

    def start(index: int, path: Path) -> None:
        worker = _Worker(options)
        workers.append(worker)
        selector.register(worker.fd, selectors.EVENT_READ, worker)
        worker.give(index, path, seconds)

    def settle(worker: _Worker, last: Step | None, why: str) -> None:
        assert worker.index is not None
        if last is not None and not why:
            done[worker.index] = last.verdict
        else:  # the workers load the trust list; this process does only when one of them can't speak for itself
            done[worker.index] = cut_short(last, str(worker.path), why, options.load_trust())
        worker.index = None

    def retire(worker: _Worker) -> None:
        selector.unregister(worker.fd)
        workers.remove(worker)
        worker.stop()

    try:
        for index, path in islice(waiting, count):
            start(index, path)
        while workers:
            for key, _ in selector.select(timeout=0.2):
                worker: _Worker = key.data
                try:
                    answer = worker.take()
                except (EOFError, ValueError):
                    retire(worker)
                    if worker.index is not None:
                        settle(worker, worker.last, "the file broke the process that read it")
                    continue
                if answer is not None and worker.index is not None:
                    settle(worker, *answer)
            for worker in [w for w in workers if w.index is not None]:
                why = worker.late()
                if why is not None:
                    retire(worker)
                    settle(worker, worker.last, why)
            while following in done:
                yield done.pop(following)
                following += 1
            idle = [worker for worker in workers if worker.index is None]
            places = len(idle) + count - len(workers)
            for index, path in islice(waiting, min(places, max(0, _LOOKAHEAD - len(done)))):
                if idle:
                    idle.pop().give(index, path, seconds)
                else:
                    start(index, path)
            if all(worker.index is None for worker in workers) and not done:
                break
        while following in done:
            yield done.pop(following)
            following += 1
    finally:
        while workers:
            retire(workers[0])
        selector.close()
