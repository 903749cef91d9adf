"""The wheel, installed where nothing else of the checkout is to be seen, in a project with folders of our rooms' names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROOMS = {"catalogs", "flows", "formats", "foundation", "generators", "provenance", "scoring", "training"}
SWEEP = """\
name: installed
model: noise
prompt: "{animal}"
facets: {animal: [owl, fox]}
settings: {width: 96, height: 96, steps: 1}
scoring: {scorers: [technical]}
"""
SCRIPT = """\
import flows, nonesuch
from nonesuch import Catalog, load_sweep, run_sweep, verify_file

assert flows.__file__.startswith({project!r}), flows.__file__
assert not nonesuch.__file__.startswith({clone!r}), nonesuch.__file__
from pathlib import Path
summary = run_sweep(Path("s.yaml"), Path("out"))
rows = Catalog(Path("out")).query()
assert len(rows) == 2, rows
first = Path("out", rows["file"].iloc[0])
print(verify_file(first).verdict)
"""


def built(kind: str, source: Path, folder: Path) -> Path:
    """What hatchling builds of a source folder."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution of this checkout as package indexes and pip do."""
    folder = tmp_path_factory.mktemp("distributions")
    with tarfile.open(built("sdist", ROOT, folder / "sdist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return built("wheel", next((folder / "unpacked").iterdir()), folder / "wheel")


def test_it_holds_one_package_and_every_module_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nonesuch"}
    expected = {
        str(Path("nonesuch", path.relative_to(ROOT if room in ROOMS else ROOT / room)))
        for room in (*ROOMS, "nonesuch")
        for path in (ROOT / room).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    }
    assert sorted(name for name in names if name.endswith(".py")) == sorted(expected)


@pytest.mark.long
def test_it_works_in_a_project_that_has_folders_of_the_same_names(
    wheel: Path, tmp_path: Path, prefect_server: str
) -> None:
    """The environment is empty but for the wheel and, by a path file, the libraries that it needs."""
    home, project = tmp_path / "environment", tmp_path / "project"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True
    )
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib"))
    for name in ("flows", "catalogs", "tests"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("")
    (project / "s.yaml").write_text(SWEEP)
    (project / "script.py").write_text(SCRIPT.format(project=str(project), clone=str(ROOT)))

    def run(*command: str | Path) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PREFECT_API_URL"] = prefect_server
        done = subprocess.run(
            [str(one) for one in command], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    nonesuch = home / "bin" / "nonesuch"
    assert "2 images" in run(nonesuch, "plan", "s.yaml")
    run(nonesuch, "run", "s.yaml", "--out", "by-command")
    paths = run(nonesuch, "query", "by-command", "--paths").split()
    assert len(paths) == 2
    assert "AI-generated" in run(nonesuch, "verify", paths[0])
    assert run(python, "script.py").strip() == "ai-generated"
