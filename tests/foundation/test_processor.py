"""The one thread that computes: order, errors, interrupts and forks."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from nonesuch.foundation.processor import computed, waited


class Waiting(threading.Thread):
    """A thread that has something computed, and can be interrupted as Ctrl-C interrupts the main thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            computed("cpu", self._work)
        except BaseException as error:
            self.raised = error

    def interrupt(self) -> None:
        assert self.ident is not None
        raised = ctypes.py_object(KeyboardInterrupt)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), raised)


def thread() -> str:
    return threading.current_thread().name


def test_all_work_for_the_processor_is_done_by_one_thread_in_turn() -> None:
    inside: list[str] = []
    most = 0

    def work() -> None:
        nonlocal most
        inside.append(thread())
        most = max(most, len(inside))
        time.sleep(0.001)
        inside.pop()

    waiting = [Waiting(work) for _ in range(20)]
    for one in waiting:
        one.join()
    assert most == 1
    assert {computed("cpu", thread) for _ in range(3)} == {"compute"}


def test_a_device_of_its_own_is_asked_from_where_one_is() -> None:
    assert computed("cuda:0", thread) == thread()


def test_work_may_ask_for_more_work() -> None:
    assert computed("cpu", lambda: computed("cpu", thread)) == "compute"


def test_what_work_raises_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        computed("cpu", lambda: 1 // 0)
    assert computed("cpu", lambda: 1) == 1


def test_an_interrupt_ends_the_work_and_not_the_thread() -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless() -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    for _ in range(5):
        begun.clear()
        ended.clear()
        waiting = Waiting(endless)
        assert begun.wait(30)
        waiting.interrupt()
        waiting.join(30)
        assert isinstance(waiting.raised, KeyboardInterrupt)
        assert ended.is_set()
        assert computed("cpu", thread) == "compute"


def test_an_interrupt_that_the_work_outruns_hurts_nothing_later() -> None:
    """The interrupt arrives when the work is over or nearly so."""
    for step in range(40):
        waiting = Waiting(partial(time.sleep, step / 2000))
        time.sleep(0.01)
        waiting.interrupt()
        waiting.join(30)
        assert not waiting.is_alive()
        assert computed("cpu", lambda: 7) == 7


def test_work_that_waits_is_not_begun_after_an_interrupt() -> None:
    go, begun = threading.Event(), threading.Event()
    first = Waiting(go.wait)
    second = Waiting(begun.set)
    second.interrupt()
    time.sleep(0.3)  # longer than a waiting thread sleeps
    go.set()
    first.join(30)
    second.join(30)
    assert isinstance(second.raised, KeyboardInterrupt)
    assert not begun.is_set()


def test_a_forked_process_computes_too() -> None:
    computed("cpu", thread)
    child = os.fork()
    if child == 0:
        os._exit(0 if computed("cpu", thread) == "compute" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_waiting_for_a_turn_is_told_apart() -> None:
    go = threading.Event()
    first = Waiting(go.wait)
    before = waited()
    threading.Timer(0.3, go.set).start()
    computed("cpu", thread)
    first.join(30)
    assert waited() > before
    before = waited()
    computed("cuda:0", thread)
    assert waited() == before
