"""The house holds: rooms import only what they may, and the light commands import nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "foundation": set(),
    "generators": {"foundation"},
    "scoring": {"foundation"},
    "provenance": {"foundation"},
    "catalogs": {"foundation"},
    "flows": {"foundation", "generators", "scoring", "provenance", "catalogs", "training"},
    "training": {"foundation", "generators", "scoring"},
    "nonesuch": {"foundation", "generators", "scoring", "provenance", "catalogs", "flows", "training"},
}
HEAVY = {
    "torch", "diffusers", "transformers", "open_clip", "prefect", "pandas", "pyarrow", "duckdb", "numpy",
    "cv2", "scipy", "c2pa", "PIL", "pydantic", "fastapi", "starlette", "uvicorn", "jinja2",
}  # fmt: skip


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_lies_below_them(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        others = (_imports(file) & set(ALLOWED)) - {room}
        assert others <= ALLOWED[room], f"{file.relative_to(ROOT)} imports {others - ALLOWED[room]}"


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
