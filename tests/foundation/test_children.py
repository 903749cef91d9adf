"""Starting child processes: what they import from, what they inherit, and that they end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nonesuch.foundation.children as children
from tests.descendants import descendants

PARENT = """\
import subprocess, sys, time
from nonesuch.foundation import children
options = dict(env=children.environment(), stdout=subprocess.PIPE)
child = subprocess.Popen([sys.executable, "-P", "-c", {child!r}], **options)
print(child.stdout.readline().decode(), flush=True)
{ending}
"""
CHILD = """\
import time
from nonesuch.foundation import children
children.end_with_parent()
children.begin()
print("ready", flush=True)
{work}
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
WITH_CHILD = """\
import subprocess, sys
subprocess.Popen([sys.executable, "-P", "-c", {child!r}], env=children.environment())
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    "work",
    ["time.sleep(600)", STUBBORN, WITH_CHILD.format(child=CHILD.format(work="time.sleep(600)"))],
    ids=["idle", "stubborn", "with a child of its own"],
)
def test_a_child_ends_with_its_parent(end: signal.Signals, work: str) -> None:
    with descendants() as marked:
        program = PARENT.format(child=CHILD.format(work=work), ending="time.sleep(600)")
        parent = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **marked.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(end)
        parent.communicate()
        assert marked.left() == {}


def test_a_child_whose_parent_is_gone_before_it_looks_ends() -> None:
    with descendants() as marked:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        environment = {**children.environment(marked.environment), "NONESUCH_PARENT": str(gone.pid)}
        subprocess.run(
            [sys.executable, "-P", "-c", CHILD.format(work="time.sleep(600)")],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        assert marked.left() == {}


def test_a_process_without_a_system_that_reports_ends_is_watched_by_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children.sys, "platform", "other")
    monkeypatch.delattr(children.select, "kqueue", raising=False)
    monkeypatch.setattr(children, "_LOOK_EVERY", 0.01)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert children._runs(process.pid)
    process.stdin.close()
    process.wait()
    children.wait_for_end(process.pid)
    assert not children._runs(process.pid)


def test_who_is_not_bound_has_no_parent_to_end_with() -> None:
    code = "from nonesuch.foundation import children; children.end_with_parent(); import threading; print(threading.active_count())"
    for bound, threads in ((True, "2\n"), (False, "1\n")):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env=children.environment(bound=bound),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == threads


def test_the_current_folder_is_in_no_list_that_children_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "plug-ins"
    here = tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    (tmp_path / "link").symlink_to(here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", ["", str(here), ".", "lib", str(tmp_path / "link"), str(elsewhere)])
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{elsewhere}:")
    monkeypatch.setenv("PATH", f".:/usr/bin:{here}")
    made = children.environment({"X": "1"})
    assert made["PYTHONPATH"] == str(elsewhere)
    assert made["LD_LIBRARY_PATH"] == str(elsewhere)
    assert made["PATH"] == "/usr/bin"
    assert made["PYTHONSAFEPATH"]
    assert made["X"] == "1"
    monkeypatch.setattr(sys, "path", [""])
    assert "PYTHONPATH" not in children.environment()


def test_the_folder_of_the_program_itself_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(children.__file__).parents[2])
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", ["", root])
    assert children.environment()["PYTHONPATH"] == root


def test_a_persons_own_command_is_left_as_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenCV, where another test has imported it, adds an empty entry to the last
    for name in ("PYTHONSAFEPATH", "NONESUCH_PARENT", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    monkeypatch.setattr(os, "environ", children.environment())
    assert {k: v for k, v in children.outside_environment().items() if k != "PYTHONPATH"} == {
        k: v for k, v in before.items() if k != "PYTHONPATH"
    }
    os.environ["PYTHONSAFEPATH"] = "1"  # the person's own wish
    assert children.outside_environment()["PYTHONSAFEPATH"] == "1"


# encodings and the like, which the interpreter loads from such an entry before anything of ours, stay away
@pytest.mark.parametrize("entries", [":", ".", "lib:", "{elsewhere}:"])
@pytest.mark.parametrize("module", [True, False], ids=["python -m", "command"])
def test_relative_entries_of_pythonpath_lead_nowhere(tmp_path: Path, entries: str, module: bool) -> None:
    folder = tmp_path / "folder"
    (folder / "lib").mkdir(parents=True)
    for name in ("__future__", "atexit", "typer", "foundation", "typing_extensions", "resource"):
        for place in (folder, folder / "lib"):
            (place / f"{name}.py").write_text(f"raise SystemExit('ran {name}')")
    command = [str(Path(sys.executable).with_name("nonesuch"))]
    done = subprocess.run(
        [*([sys.executable, "-m", "nonesuch"] if module else command), "--version"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": entries.format(elsewhere=tmp_path / "elsewhere")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_runs_in_a_clone_that_is_not_installed() -> None:
    root = Path(children.__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-m",
            "nonesuch",
            "--version",
        ],  # -S: without what points to an editable install
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path(pytest.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_c2pa_loads_the_library_that_it_brings_along(tmp_path: Path) -> None:
    for place in ("", "artifacts", "libs"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "libc2pa_c.so").write_bytes(b"\x7fELF hostile")
    code = (
        "import sys\nloaded = []\n"
        "sys.addaudithook(lambda event, told: event == 'ctypes.dlopen' and loaded.append(str(told[0])))\n"
        "import nonesuch.provenance, c2pa\n"
        "print(*[path for path in loaded if 'c2pa' in path], sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (path,) = done.stdout.splitlines()
    assert Path(path).parent.parent.name == "c2pa"
    assert not Path(path).is_relative_to(tmp_path)


def test_time_is_left_for_a_good_end(tmp_path: Path) -> None:
    """The child hears SIGTERM first, and may use it."""
    work = (
        "import signal, pathlib\n"
        f"def end(*_): pathlib.Path({str(tmp_path / 'ended')!r}).touch(); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end)\ntime.sleep(600)"
    )
    with descendants() as marked:
        program = PARENT.format(child=CHILD.format(work=work), ending="")
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **marked.environment}, check=True, timeout=600
        )
        assert marked.left() == {}
    assert (tmp_path / "ended").exists()
