"""Export, import, rescore and sheets from the command line, over one small finished sweep."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import nonesuch

pytestmark = pytest.mark.slow

SWEEP = """\
name: tiny
model: noise
prompt: "a {subject} by {artist}"
facets:
  subject: [panda, fox]
  artist: [Hokusai, "<b>Munch</b>"]
seeds: {count: 2}
settings: {width: 132, height: 132, steps: 1}
scoring: {scorers: [technical]}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """The output folder of a small finished sweep, its images signed."""
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("exchange")
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep(folder / "sweep.yaml", folder / "out")
    return folder / "out"


def test_exported_images_keep_their_credentials(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "picked"
    told = nonesuch(
        "export", catalog, "--format", "plain", "--out", out, "--names", "{subject}/{artist}-{seed}.png",
        "--where", "subject = 'fox'", "--order", "sharpness", "--top", "3", "--license", "cc0-1.0", "--json",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["images"] == 3
    rows = pd.read_csv(out / "metadata.csv")
    assert set(rows["subject"]) == {"fox"}
    for name, digest in zip(rows["file_name"], rows["sha256"], strict=True):
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
        assert ".." not in name
    verdict = nonesuch("verify", out / rows["file_name"][0], "--json")
    assert json.loads(verdict.stdout)["integrity"] == "intact"
    card = (out / "README.md").read_text()
    assert "order `sharpness`" in card
    assert "3 of 3 images carry a signed content credential" in card
    again = nonesuch("export", catalog, "--format", "plain", "--out", out)
    assert again.returncode == 2
    assert "--replace" in again.stderr


def test_an_export_with_missing_files_ends_with_3(catalog: Path, tmp_path: Path) -> None:
    file = catalog / pd.read_parquet(catalog / "catalog")["file"][0]
    data = file.read_bytes()
    file.unlink()
    try:
        told = nonesuch("export", catalog, "--format", "webdataset", "--out", tmp_path / "shards")
    finally:
        file.write_bytes(data)
    assert told.returncode == 3
    assert "the file is missing" in told.stderr
    assert "7 images" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "zip"), "unknown export format"),
        (("--format", "csv", "--where", "mood = 1"), "mood"),
        (("--format", "csv", "--model-license", "embedded"), "MODEL=NAME"),
        (("--format", "plain", "--names", "../{seed}"), "names"),
    ],
)
def test_mistakes_are_usage_errors(
    catalog: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    told = nonesuch("export", catalog, "--out", tmp_path / "out", *arguments)
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "out").exists()


def test_an_exported_folder_is_imported_with_its_recipes(catalog: Path, tmp_path: Path) -> None:
    nonesuch("export", catalog, "--format", "hf-imagefolder", "--out", tmp_path / "set")
    told = nonesuch("import", tmp_path / "set", "--out", tmp_path / "other", "--scorers", "none")
    assert told.returncode == 0, told.stderr
    mine, theirs = (pd.read_parquet(folder / "catalog") for folder in (catalog, tmp_path / "other"))
    assert set(theirs["sha256"]) == set(mine["sha256"])
    assert sorted(theirs["prompt"]) == sorted(mine["prompt"])
    assert set(theirs["watermark_id"]) == set(mine["watermark_id"])
    assert set(theirs["credential_digest"]) == set(mine["credential_digest"])


def test_rescore_adds_scores(catalog: Path) -> None:
    told = nonesuch("rescore", catalog, "--scorers", "aesthetic", "--json")
    assert told.returncode == 0, told.stderr
    done = json.loads(told.stdout)
    assert (done["images"], done["unread"]) == (8, 0)
    assert pd.read_parquet(catalog / "catalog")["aesthetic"].notna().all()
    assert nonesuch("rescore", catalog, "--scorers", "beauty").returncode == 2


def test_a_sheet_is_one_html_file(catalog: Path, tmp_path: Path) -> None:
    for extra in ([], ["--grid", "subject", "artist"]):
        told = nonesuch("sheet", catalog, "--out", tmp_path / "best.html", *extra)
        assert told.returncode == 0, told.stderr
        text = Path(told.stdout.strip()).read_text()
        assert "<b>Munch" not in text
        assert "data:image/webp;base64," in text


def test_likeness_chooses_what_is_exported(catalog: Path, tmp_path: Path) -> None:
    told = nonesuch(
        "export", catalog, "--format", "csv", "--out", tmp_path / "diverse", "--diverse", "3",
        "--order", "sharpness",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert len(pd.read_csv(tmp_path / "diverse" / "rows.csv")) == 3
    told = nonesuch(
        "export",
        catalog,
        "--format",
        "hf-parquet",
        "--out",
        tmp_path / "alike",
        "--like",
        "a fox",
        "--top",
        "2",
    )
    assert told.returncode == 0, told.stderr
    table = pd.read_parquet(tmp_path / "alike" / "data")
    assert len(table) == 2
    assert "likeness" not in table.columns
    for wrong in (["--like", "x"], ["--like", "x", "--diverse", "2"], ["--diverse", "2", "--sample", "3"]):
        told = nonesuch("export", catalog, "--format", "csv", "--out", tmp_path / "no", *wrong)
        assert told.returncode == 2
