"""What a person shares names no folder, user or machine: a sweep of absolute paths, and every file that comes of it."""

from __future__ import annotations

import getpass
import platform
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nonesuch.generators
from nonesuch.cli.app import app

pytestmark = pytest.mark.slow

SWEEP = """\
name: hidden
model: {folder}/model
prompt: "a {{subject}}"
facets:
  subject: [panda]
  init_image: [{folder}/start.png]
settings: {{width: 128, height: 128, steps: 2, strength: 0.5}}
"""
# docs/catalog.md, "What names this machine": needed to draw again, and not shared by an export
KEEPS = {"sweeps/hidden.yaml", "catalog"}


def texts(file: Path) -> bytes:
    """A file's bytes, and what they say when they are unpacked."""
    data = file.read_bytes()
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return data + repr(table.schema.metadata).encode() + repr(table.to_pylist()).encode()
    return data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    from PIL import Image

    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("ada-lovelace")
    shutil.copytree(Path(nonesuch.generators.__file__).parent / "embedded", folder / "model")
    Image.new("RGB", (128, 128), "red").save(folder / "start.png")
    (folder / "sweep.yaml").write_text(SWEEP.format(folder=folder))
    assert sweep(folder / "sweep.yaml", folder / "out").failed == 0
    return folder / "out"


def test_nothing_that_is_shared_names_this_machine(drawn: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for arguments in (
        ["sheet", drawn, "--out", shared / "sheet.html"],
        ["sheet", drawn, "--out", shared / "grid.html", "--grid", "model", "init_image"],
        *(
            ["export", drawn, "--format", name, "--out", shared / name]
            for name in (
                "plain",
                "hf-parquet",
                "hf-imagefolder",
                "webdataset",
                "croissant",
                "csv",
                "diffusiondb",
            )
        ),
    ):
        told = CliRunner().invoke(app, list(map(str, arguments)))
        assert told.exit_code == 0, told.output
    words = [
        str(drawn.parent),
        "ada-lovelace",
        str(Path.home()) + "/",
        f"/{getpass.getuser()}/",
        platform.node(),
    ]
    found = {
        (file.name, word)
        for root in (drawn, shared)
        for file in root.rglob("*")
        if file.is_file() and file.relative_to(root).as_posix() not in KEEPS and file.parent.name not in KEEPS
        for word in words
        if len(word) > 3 and word.encode() in texts(file)
    }
    assert not found
    assert (drawn / "reports").is_dir()
    assert b"start.png" in texts(next((shared / "csv").glob("*.csv")))  # the name stays


def test_a_push_says_that_it_sends_folders_names(drawn: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["push", str(drawn), (tmp_path / "there").as_uri()])
    assert told.exit_code == 0, told.output
    assert "2 copied files contain paths of this machine" in told.output
    assert "sweeps/hidden.yaml" in told.output
    again = CliRunner().invoke(app, ["push", str(drawn), (tmp_path / "there").as_uri()])
    assert "note" not in again.output
