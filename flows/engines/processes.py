"""The engine `processes`: one worker process per device of this machine.

A process of its own is also what makes a hanging backend harmless: it is killed and another one takes the
shard. Workers end with the process that started them, however that ends: their pipe closes.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle
from prefect.client.orchestration import get_client
from prefect.context import serialize_context

from nonesuch.flows.engines.base import News
from nonesuch.flows.engines.handing import Handing
from nonesuch.flows.reporting.progress import Counter
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.shard import ShardReport
from nonesuch.foundation import children
from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.sweepfile.run_engine import RunEngine


class Processes:
    """An engine of local processes."""

    def __init__(self, choice: RunEngine) -> None:
        self._places = _environments(choice.devices)
        self._patience = choice.patience
        self._handing: Handing | None = None

    @property
    def devices(self) -> int:
        """How many devices draw side by side."""
        return len(self._places)

    def run(self, shards: Iterator[Shard], job: Job, counter: Counter) -> Iterator[ShardReport]:
        """Draw the shards in as many processes as there are devices."""
        first = next(shards, None)
        if first is None:
            return
        if self._handing is None:
            crew = LocalCrew(self._places, job)
            self._handing = Handing(crew, job, counter, patience=self._patience)
        yield from self._handing.run(chain([first], shards))

    def close(self) -> None:
        """End the processes."""
        if self._handing is not None:
            self._handing.close()


class LocalCrew:
    """The worker processes of one run: a nonesuch.flows.engines.base.Crew. One for each environment."""

    def __init__(self, environments: Sequence[dict[str, str]], job: Job) -> None:
        with get_client(sync_client=True) as client:
            api = {"PREFECT_API_URL": str(client.api_url)}
        self._greeting = cloudpickle.dumps((job, serialize_context()))
        self._workers: dict[int, _Worker] = {}
        self._count = 0
        for environment in environments:
            self._hire({**environment, **api})

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def give(self, worker: int, shard: Shard) -> None:
        """Hand over a shard; a worker that has just died is reported as lost."""
        with suppress(OSError):
            self._workers[worker].pipe.send(shard)

    def news(self, seconds: float) -> list[News]:
        """What the workers have reported, and which have ended."""
        by_pipe = {worker.pipe: number for number, worker in self._workers.items()}
        heard: list[News] = []
        for pipe in wait(list(by_pipe), timeout=seconds):
            number = by_pipe[pipe]  # type: ignore[index]
            try:
                kind, value = self._workers[number].pipe.recv()
                heard.append(News(number, kind, value))
            except (EOFError, OSError, pickle.UnpicklingError):
                heard.append(self._replace(number))
        return heard

    def dismiss(self, worker: int) -> None:
        """Kill a worker."""
        self._workers[worker].process.kill()

    def close(self) -> None:
        """Kill all workers and wait until they are gone: nothing writes into the output any more."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.wait()
            worker.pipe.close()
        self._workers = {}

    def _hire(self, environment: dict[str, str]) -> None:
        self._workers[self._count] = _Worker(environment, self._greeting)
        self._count += 1

    def _replace(self, number: int) -> News:
        worker = self._workers.pop(number)
        worker.pipe.close()
        worker.process.kill()  # its pipe is gone: whatever it still does leads nowhere
        ended = worker.process.wait()
        self._hire(worker.environment)
        return News(number, "lost", _end_of(ended))


class _Worker:
    def __init__(self, environment: dict[str, str], greeting: bytes) -> None:
        self.environment = environment
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                children.command("nonesuch.flows.engines.worker_process", str(theirs.fileno())),
                env=children.environment(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pipe: Connection[Any, Any] = Connection(ours.detach())
        with suppress(OSError):
            self.pipe.send_bytes(greeting)


def _end_of(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed (out of memory, perhaps)"
    if code < 0:
        return f"its process died of {signal.Signals(-code).name}"
    return f"its process ended with code {code}"


def _environments(devices: int | list[str] | None) -> list[dict[str, str]]:
    """What each worker's environment adds to this process's: the one device that it sees, its share of cores."""
    names = _cards()
    if isinstance(devices, list):
        chosen = devices
    elif devices is None:
        chosen = [f"cuda:{number}" for number in range(len(names))] or ["cpu"]
    else:
        if names and devices > len(names):
            raise InputError(
                f"the run asks for {devices} devices; this machine has {len(names)}", where="engine.devices"
            )
        chosen = [f"cuda:{number}" if names else "cpu" for number in range(devices)]
    return [_environment(device, names, len(chosen)) for device in chosen]


def _environment(device: str, cards: list[str], workers: int) -> dict[str, str]:
    if device == "cpu":
        threads = max(1, (os.cpu_count() or 1) // workers)
        return {
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
    kind, _, number = device.partition(":")
    if kind == "mps" and workers == 1:
        return {}
    if kind != "cuda" or not (number or "0").isdecimal() or int(number or 0) >= len(cards):
        here = ", ".join([*(f"cuda:{place}" for place in range(len(cards))), "cpu"])
        raise InputError(
            f"there is no device {device!r}", where="engine.devices", hint=f"This machine has: {here}."
        )
    return {"CUDA_VISIBLE_DEVICES": cards[int(number or 0)]}


def _cards() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    # Asked in a process of its own: this one draws nothing, and torch would take half a gigabyte of its memory.
    asked = children.command("nonesuch.flows.engines.count_cards")
    told = subprocess.run(asked, env=children.environment(), capture_output=True, text=True, check=True)
    count = int(told.stdout)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[:count] if visible else [str(number) for number in range(count)]
