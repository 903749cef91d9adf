"""The one thread of a process that computes with tensors on the CPU.

torch computes with OpenMP, whose threads spin while they wait for one another only as long as there are no more of
them than cores; every Python thread that computes has its own set. Two of them (one draws, one scores) made drawing
a quarter slower on two cores although half a core was idle. One thread for all such work costs nothing: side by side
it would share the same cores.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_turns = threading.local()

_LOOK: Final = 0.1  # seconds between two looks at whether the waiting thread was interrupted
_LATE: Final = 1000  # steps within which an interrupt reaches a thread that runs


def computed(device: str, work: Callable[[], T]) -> T:
    """What `work` gives or raises; for the device "cpu" it runs in the thread that computes, after what waits there.

    A KeyboardInterrupt in the calling thread is raised in `work` too, and leaves here when that has ended.
    """
    if device != "cpu" or threading.current_thread() is _computer.thread:
        return work()
    return _computer.do(work)


def waited() -> float:
    """Seconds for which the calling thread's work has waited for its turn so far."""
    return getattr(_turns, "waited", 0.0)


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._context = copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None  # while it runs
        self._interrupted = False
        self._value: T
        self._error: BaseException | None = None
        self.asked = self.begun = time.perf_counter()
        self.done = threading.Event()

    def run(self) -> None:
        """In the thread that computes; raises nothing."""
        with self._lock:
            if self._interrupted:
                self._error = KeyboardInterrupt()
                self.done.set()
                return
            self._thread = threading.get_ident()
        self.begun = time.perf_counter()
        try:
            try:
                self._value = self._context.run(self._work)
            except BaseException as error:
                self._error = error
            with self._lock:
                self._thread = None
            if self._interrupted and not isinstance(self._error, KeyboardInterrupt):
                for _ in range(_LATE):  # it comes while the thread is here, and not in what it does next
                    time.sleep(0.001)
        except KeyboardInterrupt as late:
            self._thread, self._error = None, late
        self.done.set()

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted = True
            if self._thread is not None:
                raised = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), raised)

    def result(self) -> T:
        try:
            while not self.done.wait(_LOOK):
                pass
        except BaseException:
            self.interrupt()
            self.done.wait()
            raise
        if self._error is not None:
            raise self._error
        return self._value


class _Computer:
    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._jobs: SimpleQueue[_Job[Any]] = SimpleQueue()
        self.thread: threading.Thread | None = None

    def do(self, work: Callable[[], T]) -> T:
        job = _Job(work)
        with self._starting:
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="compute", daemon=True)
                self.thread.start()
        self._jobs.put(job)
        try:
            return job.result()
        finally:
            _turns.waited = waited() + job.begun - job.asked

    def _run(self) -> None:
        while True:
            self._jobs.get().run()


_computer = _Computer()


def _begin_anew() -> None:
    """A forked process has none of its parent's threads."""
    global _computer
    _computer = _Computer()


os.register_at_fork(after_in_child=_begin_anew)
