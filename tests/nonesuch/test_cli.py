"""The command line as a person and a program meet it: data on stdout, status on stderr, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from tests.command_line import nonesuch, nonesuch_process

SWEEP = """\
name: tiny
model: noise
prompt: "a {subject} by {artist}"
facets:
  subject: [panda, fox]
  artist: [Hokusai, "<b>Munch</b>"]
seeds: {count: 3}
settings: {width: 132, height: 132, steps: 1}
scoring: {scorers: [technical]}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """The output folder of a small finished sweep."""
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("cli")
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep(folder / "sweep.yaml", folder / "out")
    return folder / "out"


def test_plan_counts_without_drawing(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    told = nonesuch("plan", tmp_path / "sweep.yaml")
    assert told.returncode == 0, told.stderr
    assert "12 images" in told.stdout
    planned = json.loads(nonesuch("plan", tmp_path / "sweep.yaml", "--json").stdout)
    assert planned["cells"] == 12
    assert planned["first_prompts"][0] == "a panda by Hokusai"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{artist}", "{painter}", "painter"),
        ("seeds:", "sedes:", "seeds"),
        ("[panda, fox]", "[]", "subject"),
        ("[panda, fox]", "[panda, panda]", "panda"),
        ("model: noise", "model: embedded", "132"),
    ],
)
def test_a_mistake_in_a_sweep_gets_one_message_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace(old, new))
    for command in (["plan"], ["run", "--out", tmp_path / "out"]):
        told = nonesuch(command[0], tmp_path / "sweep.yaml", *command[1:])
        assert told.returncode == 2
        assert told.stdout == ""
        assert said in told.stderr
        assert "sweep.yaml" in told.stderr
        assert "Traceback" not in told.stderr
    assert not (tmp_path / "out").exists()


def test_query_gives_the_same_rows_as_table_json_and_csv(catalog: Path) -> None:
    arguments = (
        "query",
        catalog,
        "--where",
        "subject = 'fox'",
        "--order",
        "seed",
        "--columns",
        "subject,seed",
    )
    from_json = [json.loads(line) for line in nonesuch(*arguments, "--json").stdout.splitlines()]
    assert [row["seed"] for row in from_json] == [0, 0, 1, 1, 2, 2]
    from_csv = list(csv.DictReader(io.StringIO(nonesuch(*arguments, "--csv").stdout)))
    assert [(r["subject"], int(r["seed"])) for r in from_csv] == [
        (r["subject"], r["seed"]) for r in from_json
    ]
    assert nonesuch(*arguments).stdout.count("fox") == 6


def test_query_prints_whole_rows_as_json(catalog: Path) -> None:
    row = json.loads(nonesuch("query", catalog, "--top", "1", "--json").stdout)
    assert row["status"] == "ok"
    assert row["watermark_id"] == int(row["recipe_id"][:16], 16)
    assert "embedding" not in row


def test_paths_lead_to_the_files(catalog: Path) -> None:
    paths = nonesuch("query", catalog, "--paths").stdout.splitlines()
    assert len(paths) == 12
    assert all(Path(path).is_file() for path in paths)


def test_a_bad_condition_ends_with_2_and_a_hint(catalog: Path) -> None:
    told = nonesuch("query", catalog, "--where", "subjct = 'fox'")
    assert told.returncode == 2
    assert "subject" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_sheet_is_a_picture(catalog: Path, tmp_path: Path) -> None:
    from PIL import Image

    for extra in ([], ["--grid", "subject", "artist"]):
        told = nonesuch("sheet", catalog, "--out", tmp_path / "sheet.png", *extra)
        assert told.returncode == 0, told.stderr
        with Image.open(told.stdout.strip()) as picture:
            assert picture.width > 200


def test_verify_speaks_json_lines_and_counts_what_it_could_not_read(catalog: Path, tmp_path: Path) -> None:
    path = nonesuch("query", catalog, "--top", "1", "--paths").stdout.strip()
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    told = nonesuch("verify", path, tmp_path / "broken.png", "--catalog", catalog, "--json")
    assert told.returncode == 3
    good, bad = (json.loads(line) for line in told.stdout.splitlines())
    assert (good["verdict"], good["confidence"], good["integrity"]) == ("ai-generated", "proven", "intact")
    assert good["trust"] == "own"
    assert good["catalog"]["image_id"]
    assert bad["error"]
    assert nonesuch("verify", path).stdout.count("AI-generated") >= 1


def test_verdicts_are_json_whatever_files_are_called(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"not \xff utf-8.png")).write_bytes(b"no picture")
    told = nonesuch_process("verify", tmp_path, "x" * 300 + ".png", "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [os.fsencode(line["path"])[-13:] for line in lines] == [
        b"not \xff utf-8.png"[-13:],
        b"xxxxxxxxx.png",
    ]
    assert "too long" in lines[1]["error"]
    assert told.returncode == 1


def test_an_unknown_option_is_a_usage_error() -> None:
    assert (
        nonesuch_process("query", "--nonsense").returncode == nonesuch("query", "--nonsense").returncode == 2
    )
    assert nonesuch("query", "/does/not/exist").returncode == 2


@pytest.mark.slow
def test_a_server_that_does_not_start_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no picture")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "1")
    told = nonesuch_process("verify", tmp_path / "pictures", "--out", f"{tmp_path}/out/")
    assert told.returncode == 1
    assert told.stdout == ""
    message, hint = told.stderr.strip().splitlines()
    assert message == "nonesuch: the Prefect server of this run did not start within 1 s"
    assert "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS" in hint
