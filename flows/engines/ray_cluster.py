"""The engine `ray`: one long Ray task per GPU of a cluster, through prefect-ray.

Each task keeps its model loaded and takes shards from the counter of one small actor beside the runner, so
a free task draws the next one. Ray knows which tasks died with their node; their shards are drawn again
elsewhere, and nodes that join later get workers too. All machines must see the output folder under one path,
and Prefect's server.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from itertools import chain
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings

from nonesuch.flows.engines.base import News
from nonesuch.flows.engines.handing import Handing
from nonesuch.flows.engines.working import work
from nonesuch.flows.reporting.progress import Counter
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.shard import ShardReport
from nonesuch.foundation import children
from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.foundation.files import config_dir
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.sweepfile.run_engine import RunEngine

try:
    import ray
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise DependencyError(
        "the engine ray needs Ray and prefect-ray", hint="Install them: pip install 'nonesuch[ray]'."
    ) from error

LOOK_EVERY = 10.0  # seconds between two looks at how many GPUs the cluster has
_LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


class RayCluster:
    """An engine of the GPUs of a Ray cluster; of its nodes, one worker each, where it has no GPU."""

    def __init__(self, choice: RunEngine) -> None:
        if isinstance(choice.devices, list):
            raise InputError(
                "ray chooses the devices itself", where="engine.devices", hint="Give their number."
            )
        self._choice = choice
        self._handing: Handing | None = None
        self._connection = ExitStack()

    @property
    def devices(self) -> int:
        """How many devices draw side by side now."""
        return 0 if self._handing is None else self._handing.workers

    def run(self, shards: Iterator[Shard], job: Job, counter: Counter) -> Iterator[ShardReport]:
        """Draw the shards on the cluster."""
        first = next(shards, None)
        if first is None:
            return
        if self._handing is None:
            if self._choice.address is None:
                self._connection.enter_context(_guard())
            if _connect(self._choice.address):
                self._connection.callback(ray.shutdown)
            runner: Any = self._connection.enter_context(RayTaskRunner())
            devices = self._choice.devices if isinstance(self._choice.devices, int) else None
            crew = RayCrew(runner, job, devices)
            self._handing = Handing(crew, job, counter, patience=self._choice.patience)
        yield from self._handing.run(chain([first], shards))

    def close(self) -> None:
        """End the tasks and leave the cluster."""
        with self._connection:
            if self._handing is not None:
                self._handing.close()


class RayCrew:
    """The workers of one run: a nonesuch.flows.engines.base.Crew of Ray tasks."""

    def __init__(self, runner: Any, job: Job, devices: int | None) -> None:
        with get_client(sync_client=True) as client:
            self._api = str(client.api_url)
        _check_reach(self._api)
        self._runner, self._wanted = runner, devices
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_concurrency=4096, scheduling_strategy=beside)(Shelf)
        self._shelf = actor.remote()
        self._job = ray.put(job)
        self._workers: dict[int, Any] = {}  # the futures of their tasks
        self._ready: set[int] = set()
        self._count = 0
        self._looked = 0.0
        self._fill()

    @property
    def size(self) -> int:
        """How many workers have come to work."""
        return max(1, len(self._ready))

    def give(self, worker: int, shard: Shard) -> None:
        """Hand over a shard."""
        self._shelf.give.remote(worker, shard)

    def news(self, seconds: float) -> list[News]:
        """What the workers have reported, and which are lost."""
        heard: list[News] = [News(*told) for told in ray.get(self._shelf.heard.remote(seconds))]
        self._ready |= {news.worker for news in heard if news.kind == "ready"}
        by_reference = {future.wrapped_future: number for number, future in self._workers.items()}
        ended, _ = ray.wait(list(by_reference), num_returns=len(by_reference), timeout=0)
        for reference in ended:
            number = by_reference[reference]
            del self._workers[number]
            self._ready.discard(number)
            heard.append(News(number, "lost", _end_of(reference)))
        if ended or monotonic() - self._looked > LOOK_EVERY:
            self._fill()
        return heard

    def dismiss(self, worker: int) -> None:
        """Kill a worker's process."""
        ray.cancel(self._workers[worker].wrapped_future, force=True)

    def close(self) -> None:
        """End all workers; they are gone when this returns, or when their nodes notice."""
        for future in self._workers.values():
            ray.cancel(future.wrapped_future, force=True)
        references = [future.wrapped_future for future in self._workers.values()]
        if references:
            ray.wait(references, num_returns=len(references), timeout=10)
        ray.kill(self._shelf)
        self._workers = {}

    def _fill(self) -> None:
        """As many workers as there are devices; those that find no room wait for it inside Ray."""
        self._looked = monotonic()
        gpus = int(ray.cluster_resources().get("GPU", 0))
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        wanted = self._wanted or gpus or nodes
        # Without GPUs, a worker on each node: SPREAD.
        room = {"num_gpus": 1} if gpus else {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        while len(self._workers) < wanted:
            settings = {PREFECT_API_URL: self._api, PREFECT_LOGGING_LEVEL: "CRITICAL"}
            with remote_options(max_retries=0, **room), temporary_settings(settings):
                station = _Station(self._count, self._shelf, self._job, _environment(self._api))
                self._workers[self._count] = self._runner.submit(worker_task, {"station": station})
            self._count += 1


class Shelf:
    """The actor beside the runner: shards for each worker, reports for the runner."""

    def __init__(self) -> None:
        self._shards: dict[int, asyncio.Queue[Shard]] = {}
        self._news: asyncio.Queue[tuple[int, str, Any]] = asyncio.Queue()

    async def give(self, worker: int, shard: Shard) -> None:
        """Lay a shard down for a worker."""
        await self._place(worker).put(shard)

    async def take(self, worker: int) -> Shard:
        """The worker's next shard, as soon as there is one."""
        return await self._place(worker).get()

    async def tell(self, worker: int, kind: str, value: Any) -> None:
        """Leave news."""
        await self._news.put((worker, kind, value))

    async def heard(self, seconds: float) -> list[tuple[int, str, Any]]:
        """All news; waits up to `seconds` for the first."""
        try:
            found = [await asyncio.wait_for(self._news.get(), seconds)]
        except TimeoutError:
            return []
        while not self._news.empty():
            found.append(self._news.get_nowait())
        return found

    def _place(self, worker: int) -> asyncio.Queue[Shard]:
        return self._shards.setdefault(worker, asyncio.Queue())


class _Station:
    """What a worker starts with. No dataclass: Prefect would look for futures inside."""

    def __init__(self, number: int, shelf: Any, job: Any, environment: dict[str, str]) -> None:
        self.number = number
        self.shelf = shelf
        self.job = job  # a reference to the Job
        self.environment = environment


@task(name="worker", cache_policy=NO_CACHE, persist_result=False)
def worker_task(station: _Station) -> None:
    """Draw shards on a Ray node until the run is over."""
    os.environ |= station.environment
    work(_ShelfDesk(station.number, station.shelf), ray.get(station.job))


class _ShelfDesk:
    """A nonesuch.flows.engines.working.Desk before the shelf."""

    def __init__(self, number: int, shelf: Any) -> None:
        self._number, self._shelf = number, shelf

    def take(self) -> Shard | None:
        """The next shard."""
        shard: Shard = ray.get(self._shelf.take.remote(self._number))
        return shard

    def tell(self, kind: str, value: Any = None) -> None:
        """Send one piece of news; in order, and known to have arrived."""
        ray.get(self._shelf.tell.remote(self._number, kind, value))


@contextmanager
def _guard() -> Iterator[None]:
    """See to it that Ray's processes on this machine end if this one is killed inside the block."""
    guard = subprocess.Popen(
        children.command("nonesuch.foundation.parent_guard"),
        env=children.environment(),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.wait()


def _connect(address: str | None) -> bool:
    """Connect to a cluster, or start Ray on this machine, for loopback only; False where the process is connected."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "namespace": "nonesuch"}
    # Ray's workers start in the current folder, and import from it in any case.
    try:
        with children.within_environment(), chdir(children.NOBODYS_FOLDER):
            if address is None:
                ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster answers ({str(error).splitlines()[0]})",
            where=address,
            hint="Start one with `ray start --head`, or leave out --address for this machine alone.",
        ) from error
    return True


def _environment(api: str) -> dict[str, str]:
    """What a worker's environment takes over from the runner's."""
    return {
        "PREFECT_API_URL": api,
        "NONESUCH_HOME": str(config_dir().absolute()),  # one signing key for all, where the folder is shared
    }


def _check_reach(api: str) -> None:
    """Refuse a cluster of several machines when Prefect's server listens on this one alone."""
    host = urlsplit(api).hostname or ""
    addresses = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if host.startswith(_LOOPBACK) and len(addresses) > 1:
        raise InputError(
            f"the Ray cluster has {len(addresses)} machines, and they can't reach Prefect's server",
            where=api,
            hint="Start one with `prefect server start --host 0.0.0.0` and set PREFECT_API_URL to its address.",
        )


def _end_of(reference: Any) -> str:
    """What became of a worker's task, in words."""
    try:
        state = ray.get(reference)
    except RayError as error:
        return " ".join(str(error).split())[:200]
    return f"its task ended ({getattr(state, 'message', None) or state})"
