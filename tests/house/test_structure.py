"""The house holds: rooms import only what they may, and the light commands import nothing heavy."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "foundation": set(),
    "formats": {"foundation"},
    "generators": {"foundation", "formats"},
    "scoring": {"foundation"},
    "provenance": {"foundation", "formats"},
    "catalogs": {"foundation"},
    "flows": {"foundation", "generators", "scoring", "provenance", "catalogs", "training"},
    "training": {"foundation", "generators", "scoring"},
    "nonesuch": {
        "foundation", "formats", "generators", "scoring", "provenance", "catalogs", "flows", "training",
    },
}  # fmt: skip
HEAVY = {
    "torch", "diffusers", "transformers", "open_clip", "prefect", "pandas", "pyarrow", "duckdb", "numpy",
    "cv2", "scipy", "c2pa", "PIL", "pydantic", "fastapi", "starlette", "uvicorn", "jinja2",
}  # fmt: skip


# base names that mean the same thing wherever they stand: one program's or one format's module, a registry's types,
# a command beside what it runs
SHARED_NAMES = {
    "__init__", "__main__", "a1111", "aesthetic", "app", "base", "clip", "comfyui", "export", "sweep", "verify", "xmp",
}  # fmt: skip
MOST_ENTRIES = 18  # modules, folders and data files of one folder


def _modules() -> dict[str, Path]:
    """Every module of the rooms by its import name. The links in nonesuch/ are not followed."""
    found: dict[str, Path] = {}
    for room in ALLOWED:
        for folder, folders, names in os.walk(ROOT / room):
            folders[:] = [one for one in folders if not Path(folder, one).is_symlink()]
            for name in names:
                if name.endswith(".py"):
                    path = Path(folder, name)
                    parts = path.relative_to(ROOT).with_suffix("").parts
                    parts = parts[:-1] if parts[-1] == "__init__" else parts
                    found[".".join(parts if parts[0] == "nonesuch" else ("nonesuch", *parts))] = path
    return found


def _imported(file: Path) -> Iterator[str]:
    """Everything that a file imports when it runs: modules, and names in modules as module.name."""
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def _room(name: str) -> str | None:
    """The room that an imported name belongs to; what is in none of the others belongs to `nonesuch`."""
    first, *rest = name.split(".")
    if first != "nonesuch":
        return None
    return rest[0] if rest and rest[0] in ALLOWED else "nonesuch"


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_lies_below_them(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        others = {_room(name) for name in _imported(file)} - {None, room}
        assert others <= ALLOWED[room], f"{file.relative_to(ROOT)} imports {others - ALLOWED[room]}"


def test_nothing_imports_a_room_by_its_bare_name() -> None:
    """From a clone's root `import flows` works, and loads a second copy of everything."""
    files = [*_modules().values()]
    for folder in ("tests", "benchmarks", "tools"):
        files += (ROOT / folder).rglob("*.py")
    rooms = set(ALLOWED) - {"nonesuch"}
    bare = {
        str(file.relative_to(ROOT)): name
        for file in files
        for name in _imported(file)
        if name.split(".")[0] in rooms
    }
    assert not bare


def test_only_their_own_tests_import_the_benchmarks() -> None:
    """What both need is in tools/: a test that needs a benchmark's figures takes a benchmark's time."""
    tests = {file for file in (ROOT / "tests").rglob("*.py") if file.parent.name != "benchmarks"}
    assert not [file.name for file in tests if "benchmarks" in {one.split(".")[0] for one in _imported(file)}]


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = _modules()
    arrows = {
        name: {
            target
            for one in _imported(path)
            if (target := one if one in modules else one.rpartition(".")[0]) in modules and target != name
        }
        for name, path in modules.items()
    }
    sorter = graphlib.TopologicalSorter(arrows)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_folders_can_be_overlooked() -> None:
    for folder in {path.parent for path in _modules().values()}:
        entries = [
            one.name
            for one in folder.iterdir()
            if one.name not in ("__init__.py", "__pycache__", "py.typed") and not one.is_symlink()
        ]
        assert len(entries) <= MOST_ENTRIES, f"{folder.relative_to(ROOT)} has {len(entries)} entries"


def test_a_module_name_means_one_thing() -> None:
    names = Counter(path.stem for path in _modules().values() if path.stem not in SHARED_NAMES)
    assert {name: count for name, count in names.items() if count > 1} == {}


# typer itself imports pydantic to parse the options of a command
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["run", "--help"], {"pydantic"}),
        (["query", "--help"], {"pydantic"}),
        (["serve", "--help"], {"pydantic"}),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['nonesuch', *{arguments!r}]\n"
        f"heavy = {sorted(HEAVY - allowed)!r}\n"
        "from nonesuch.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print('HEAVY', sorted(set(heavy) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_verifying_a_file_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """The command line hands files to processes; those need pixels and certificates, not SciPy nor tables."""
    from PIL import Image

    from nonesuch.provenance.marking.existing_file import mark_file
    from nonesuch.provenance.signing.signer import open_signer

    Image.radial_gradient("L").convert("RGB").save(tmp_path / "plain.png")
    marked = mark_file(tmp_path / "plain.png", open_signer(), source_type="trainedAlgorithmicMedia")
    (tmp_path / "signed.png").write_bytes(marked.data)
    worker = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nonesuch.provenance.verifying.verify import verify_file\n"
        f"assert verify_file(Path({str(tmp_path / 'signed.png')!r})).confidence == 'proven'\n"
    )
    for script, allowed in (
        ("import sys, nonesuch.provenance.verifying.worker_pool\n", set[str]()),
        (worker, {"numpy", "cv2", "PIL", "c2pa", "cryptography"}),
    ):
        told = f"print('HEAVY', sorted(set({sorted(HEAVY - allowed)!r}) & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", script + told], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert "HEAVY []" in done.stdout


def test_prefects_server_imports() -> None:
    """A fresh Prefect is broken with fastapi 0.155; this fails when the constraint no longer helps.

    Deploying and scheduling, which other versions break, are tested in tests/flows.
    """
    subprocess.run(
        [sys.executable, "-c", "import prefect.server.api.server"], check=True, capture_output=True
    )


def test_modules_stay_small() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for room in ALLOWED
        for file in (ROOT / room).rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 350
    }
    assert not long
