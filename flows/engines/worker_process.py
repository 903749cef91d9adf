"""A worker process of the engine `processes`: shards in, reports out, over one pipe.

Started by nonesuch.flows.engines.processes with the number of the pipe's file descriptor. When the pipe closes, the
process that handed out the shards is gone, and this one ends at once, in the middle of whatever it does.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from nonesuch.foundation import children
from nonesuch.generators.matrix.shards import Shard


def main(descriptor: int) -> None:
    """Serve until the pipe closes."""
    children.begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"  # errors are reported to the runner, which prints them
    os.set_inheritable(descriptor, False)
    desk = _PipeDesk(Connection(descriptor))
    greeting = desk.pipe.recv_bytes()
    threading.Thread(target=desk.listen, name="listen", daemon=True).start()

    from nonesuch.flows.engines.working import work

    job, context = pickle.loads(greeting)
    from prefect.context import hydrated_context

    with hydrated_context(context):
        work(desk, job)


class _PipeDesk:
    """A nonesuch.flows.engines.working.Desk at the end of a pipe."""

    def __init__(self, pipe: Connection[Any, Any]) -> None:
        self.pipe = pipe
        self._shards: queue.SimpleQueue[Shard] = queue.SimpleQueue()

    def listen(self) -> None:
        """Take in shards; end the process when the pipe closes."""
        while True:
            try:
                self._shards.put(self.pipe.recv())
            except (EOFError, OSError):
                os._exit(1)

    def take(self) -> Shard | None:
        """The next shard."""
        return self._shards.get()

    def tell(self, kind: str, value: Any = None) -> None:
        """Send one piece of news."""
        self.pipe.send((kind, value))


if __name__ == "__main__":
    main(int(sys.argv[1]))
