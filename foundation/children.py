"""How every process of this program is started: it runs no code from the current folder and ends with its parent.

A folder that is only looked at may hold a `resource.py`; `python -m` and `python -c` would run it in place of the
standard library's. `begin` keeps the current folder out of this process and, by PYTHONSAFEPATH, out of what libraries
start. `command` and `environment` start a module of ours in the same way. `end_with_parent` ends such a process when
the one that started it is gone, however that ended, SIGKILL included.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final

from nonesuch.foundation.imported import when_imported

_SAFE: Final = "PYTHONSAFEPATH"
_OURS: Final = "nonesuch"  # its value where we have set it; the interpreter takes any text
_PARENT: Final = "NONESUCH_PARENT"  # id of the process that a child ends with
# the folder from which our own code is loaded
_ROOT: Final = os.path.dirname(os.path.realpath(sys.modules[__name__.partition(".")[0]].__path__[0]))
# the current folder of processes whose libraries import from it whatever their settings
NOBODYS_FOLDER: Final = "/"
# variables that hold lists of folders to run code from, and those that hold a folder or a file
_SEARCHED: Final = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_NAMED: Final = ("NONESUCH_HOME", "NONESUCH_CACHE", "PREFECT_HOME", "PREFECT_PROFILES_PATH", "HF_HOME")
_LOOK_EVERY: Final = 1.0  # seconds between two looks at the parent, where the system can't report its end
_GRACE: Final = 5.0  # seconds that a process without parent has to end in good order


def begin() -> None:
    """Make this process one of the program's own; call it first thing in a program or worker.

    `nonesuch/__init__.py` has taken the current folder from sys.path; here it leaves the environment, so that Python
    processes which any library starts from now on leave it out too. They may watch this process.
    """
    _leave_the_folder(os.environ)
    # OpenCV adds an empty entry to LD_LIBRARY_PATH, by which children would load libraries from the current folder.
    when_imported("cv2", lambda module: _leave_the_folder(os.environ))
    for name in _NAMED:  # a child may have another current folder
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.environ[name])
    os.environ.setdefault(_SAFE, _OURS)
    os.environ[_PARENT] = str(os.getpid())


def is_ours() -> bool:
    """Whether this process is the program or was started by it, and not a user's own that imports this package."""
    return _PARENT in os.environ


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module in a Python process of its own; it goes with `environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(changes: Mapping[str, str] | None = None, *, bound: bool = True) -> dict[str, str]:
    """The environment of a child: this process's with `changes`, and the folders from which this one imports.

    The current folder is not among them unless it holds this program. A child that is `bound` ends with this process.
    """
    made = {
        **os.environ,
        **(changes or {}),
        "PYTHONPATH": os.pathsep.join(sys.path),
        _SAFE: os.environ.get(_SAFE, _OURS),
        _PARENT: str(os.getpid()) if bound else "",
    }
    _leave_the_folder(made)
    return made


@contextmanager
def within_environment() -> Iterator[None]:
    """Let what a library starts inside the block have the `environment` of a child."""
    before = dict(os.environ)
    os.environ.update(environment())
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def outside_environment() -> dict[str, str]:
    """The environment for another program's command: what only our own children should have is left out.

    A script started under PYTHONSAFEPATH would not find the modules beside it.
    """
    inner = {_PARENT, _SAFE} if os.environ.get(_SAFE) == _OURS else {_PARENT}
    return {name: value for name, value in os.environ.items() if name not in inner}


def end_with_parent() -> None:
    """From now on, end this process when the one that started it is gone.

    It gets a SIGTERM, and five seconds later it leaves without further ado. Does nothing where no parent is named
    (`environment`, `begin`).
    """
    if (process := parent()) is not None:
        threading.Thread(target=_outlive, args=(process,), name="parent", daemon=True).start()


def parent() -> int | None:
    """The id of the process that this one ends with."""
    named = os.environ.get(_PARENT, "")
    return int(named) if named.isdecimal() and int(named) != os.getpid() else None


def names_parent(block: bytes, process: int) -> bool:
    """Whether an environment, as /proc has it, is that of a process which was started by another one of that id."""
    return f"{_PARENT}={process}".encode() in block.split(b"\0")


def end_soon() -> None:
    """End this process: in good order if it can, otherwise without."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


def _outlive(process: int) -> None:
    wait_for_end(process)
    end_soon()


def wait_for_end(process: int) -> None:
    """Return when a process has ended."""
    try:
        if sys.platform == "linux":
            ends = select.poll()
            ends.register(os.pidfd_open(process), select.POLLIN)
            ends.poll()
            return
        if hasattr(select, "kqueue"):
            wanted = select.kevent(process, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            select.kqueue().control([wanted], 1, None)
            return
    except ProcessLookupError:
        return
    except OSError:  # an old kernel, or one that forbids it
        pass
    while _runs(process):
        time.sleep(_LOOK_EVERY)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _leave_the_folder(environment: MutableMapping[str, str]) -> None:
    """Take the current folder, and every entry that is relative to it, from the lists of folders that run code."""
    try:
        here: str | None = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was deleted
        here = None
    for name in _SEARCHED:
        if name in environment:
            folders = environment[name].split(os.pathsep)
            kept = [folder for folder in folders if os.path.isabs(folder) and not _is(folder, here)]
            if kept:
                environment[name] = os.pathsep.join(kept)
            else:
                del environment[name]


def _is(folder: str, here: str | None) -> bool:
    real = os.path.realpath(folder)
    return real == here and real != _ROOT
