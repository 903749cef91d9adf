"""A folder of somebody else's: a file for every module that a Python program could look for, and settings files."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from PIL import Image

OURS = {
    "catalogs", "flows", "formats", "foundation", "generators", "nonesuch", "provenance", "scoring", "training",
}  # fmt: skip
NOWHERE = "http://127.0.0.1:9/api"  # the discard port
SWEEP = """\
name: night
model: noise
prompt: "x"
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""


class HostileFolder:
    """The folder, and what ran in it."""

    def __init__(self, folder: Path, way: str) -> None:
        """`way` is the command or the module that will start in it."""
        self.path, self._marks = folder / "hostile", folder / "marks"
        self.path.mkdir()
        self._marks.mkdir()
        # That `python -m` loads these from the folder before any code of ours runs can't be helped.
        lost = loaded_before(folder) | {"nonesuch"} if way == "module" else set[str]()
        names = {*sys.stdlib_module_names, *packages_distributions(), *OURS, "sitecustomize", "usercustomize"}
        for name in names - lost:
            if name.isidentifier():
                mark = str(self._marks / name)
                (self.path / f"{name}.py").write_text(
                    f"import sys\nopen({mark!r}, 'w').write(repr(sys.orig_argv))\nraise RuntimeError({name!r})\n"
                )
        (self.path / ".env").write_bytes(
            f"PREFECT_API_URL={NOWHERE}\nPREFECT_PROFILES_PATH=none.toml\nX=".encode() + b"\xff\n"
        )
        (self.path / "prefect.toml").write_text(f'[api]\nurl = "{NOWHERE}"\n')
        (self.path / "pyproject.toml").write_text(f'[tool.prefect.api]\nurl = "{NOWHERE}"\n')
        (self.path / "s.yaml").write_text(SWEEP)
        (self.path / "pictures").mkdir()
        for file in ("a.png", "pictures/b.png"):
            Image.radial_gradient("L").convert("RGB").save(self.path / file)
        command = [str(Path(sys.executable).with_name("nonesuch"))]
        self.command = [sys.executable, "-m", "nonesuch"] if way == "module" else command
        self.environment = {
            **os.environ,
            "NONESUCH_HOME": str(folder / "home"),
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run nonesuch in the folder."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.path, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        """What nonesuch says on stdout in the folder; it must end well, and nothing of the folder's may have run."""
        process = self.start(*arguments)
        said, errors = process.communicate()
        assert self.ran() == {}
        assert process.returncode == 0, errors
        return said

    def ran(self) -> dict[str, str]:
        """The modules of the folder that ran, and what ran them."""
        return {mark.name: mark.read_text() for mark in self._marks.iterdir()}


def loaded_before(folder: Path) -> set[str]:
    """The modules that the interpreter has loaded when `python -m` begins with the module that it was given."""
    (folder / "nothing.py").write_text("import sys; print(*sys.modules)")
    done = subprocess.run(
        [sys.executable, "-m", "nothing"], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
