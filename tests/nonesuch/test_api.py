"""The Python API: what is public, that naming it costs nothing, and that its page says what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nonesuch

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
HEAVY = ("torch", "prefect", "pandas", "pyarrow", "duckdb", "numpy", "PIL", "pydantic", "c2pa", "typer")


@pytest.mark.parametrize("module", ["nonesuch", "nonesuch.plugins"])
def test_type_checkers_and_python_see_the_same_names(module: str) -> None:
    """The names stand three times: for type checkers, for the first use, and in __all__."""
    loaded = import_module(module)
    (block,) = [
        node
        for node in ast.parse(Path(loaded.__file__ or "").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    typed = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == loaded._HOMES
    assert set(loaded.__all__) - {"__version__"} == set(typed)
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None
    assert set(loaded.__all__) <= set(dir(loaded))
    with pytest.raises(AttributeError, match="no attribute 'verify_fiel'"):
        loaded.verify_fiel  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, nonesuch, nonesuch.plugins\n"
        "assert 'run_sweep' in dir(nonesuch) and nonesuch.InputError\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert nonesuch.__version__ == version("nonesuch")


def test_the_page_is_current() -> None:
    from nonesuch.api_reference import api_reference

    assert PAGE.read_text() == api_reference(), "run `make docs`"


def test_the_examples_of_the_page_run(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    (sweep,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    Path("sweep.yaml").write_text(sweep)
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 5
    names: dict[str, object] = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"example {number} of docs/api.md", "exec"), names)
