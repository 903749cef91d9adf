"""The example of a plug-in package: installed beside nonesuch as a user installs it, and every part used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
SCRIPT = """\
from pathlib import Path

from PIL import Image, PngImagePlugin

from nonesuch import Catalog, export_images, plan_sweep, run_sweep, verify_file

assert plan_sweep("sweep.yaml").cells == 4
summary = run_sweep("sweep.yaml", "out")
assert (summary.done, summary.failed) == (4, 0), summary
rows = Catalog("out").query("colour = $colour", parameters={"colour": "red"})
assert len(rows) == 2 and (rows["warmth"] > 0.2).all(), rows
assert export_images("out", "dataset", "captions").images == 4
captions = [path.read_text() for path in Path("dataset").glob("*.txt")]
assert sorted(captions) == ["blue stripes"] * 2 + ["red stripes"] * 2, captions
assert verify_file(f"out/{rows['file'][0]}", catalog="out").verdict == "ai-generated"
note = PngImagePlugin.PngInfo()
note.add_text("Comment", "drawn by Example: a red fox")
Image.new("RGB", (64, 64), "red").save("foreign.png", pnginfo=note)
verdict = verify_file("foreign.png", search="aligned")
assert verdict.recipe == {"prompt": "a red fox", "source": "example-comment"}, verdict
print("done")
"""


def test_the_page_shows_the_code_of_the_example() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    sources = [path.read_text() for path in [*EXAMPLE.rglob("*.py"), EXAMPLE / "pyproject.toml"]]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        assert any(block in source for source in sources), block


def test_it_is_installed_and_every_part_works(tmp_path: Path, prefect_server: str) -> None:
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    source = tmp_path / "plugin"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [
            str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            str(source),
        ],
        check=True,
    )  # fmt: skip
    shutil.copy(EXAMPLE / "sweep.yaml", tmp_path)
    (tmp_path / "use.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PREFECT_API_URL"] = prefect_server
    done = subprocess.run(
        [str(python), "use.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "done"
