"""Two shards at a time in one process: the next one is drawn while the last one's images are being finished.

Each shard is drawn, finished and published as a whole by a thread of its own; the device is never asked
for by two at once, because the next shard begins when the last image of the one before is drawn.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context

from nonesuch.flows.run.shard import ShardReport
from nonesuch.generators.matrix.shards import Shard

# Runs a shard; the second argument is to be called when its last image is drawn.
RunShard = Callable[[Shard, Callable[[], None]], ShardReport]


def overlapped(
    shards: Iterator[Shard], run: RunShard, *, ahead: bool = True
) -> Generator[ShardReport, None, None]:
    """The report of each shard, in order.

    `shards` is asked for the next one when the last is drawn; without `ahead`, when it is published. Raises what
    a shard raised. Whatever ends the caller's loop early (Ctrl-C, `close`) interrupts the shards at hand,
    and they have stopped writing when this returns.
    """
    change = threading.Condition()
    hand: deque[_Running] = deque()  # two at most; the last one may be drawing
    try:
        for shard in shards:
            hand.append(_Running(shard, run, change))
            while hand and not (ahead and len(hand) == 1 and hand[0].drawn and not hand[0].ended):
                with change:
                    change.wait_for(lambda: hand[0].ended or (ahead and len(hand) == 1 and hand[0].drawn))
                if hand[0].ended:
                    yield hand.popleft().result()
        while hand:
            hand[0].join()
            yield hand.popleft().result()
    finally:
        for running in hand:
            running.interrupt()
        for running in hand:
            running.join()


class _Running(threading.Thread):
    """A shard that is being drawn or finished, in the context (Prefect's flow run) of its caller."""

    def __init__(self, shard: Shard, run: RunShard, change: threading.Condition) -> None:
        super().__init__(name=f"shard {shard.index}", daemon=True)
        self._shard, self._run_shard, self._change = shard, run, change
        self._context = copy_context()
        self._report: ShardReport | None = None
        self._error: BaseException | None = None
        self.drawn = False
        self.ended = False
        self.start()

    def run(self) -> None:
        """Draw, finish and publish the shard."""
        try:
            self._report = self._context.run(self._run_shard, self._shard, self._is_drawn)
        except BaseException as error:
            self._error = error
        with self._change:
            self.drawn = self.ended = True
            self._change.notify_all()

    def result(self) -> ShardReport:
        """The report of an ended shard. Raises what it raised."""
        if self._error is not None:
            raise self._error
        assert self._report is not None  # it has ended, without an error
        return self._report

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the thread at its next step, as Ctrl-C does in the main thread."""
        if not self.ended and self.ident is not None:
            raised = ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), raised)

    def _is_drawn(self) -> None:
        with self._change:
            self.drawn = True
            self._change.notify_all()
