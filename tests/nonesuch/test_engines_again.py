"""`nonesuch recipe` and `reproduce` on images of engines and services that are not at their usual address."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import nonesuch

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))

from remote_servers import KEY, WORKFLOW, A1111Server, ComfyServer, OpenAIServer, Server, running

SWEEP = """\
name: engines
model: "{model}"
prompt: "a {{animal}}"
facets: {{animal: [panda], {facet}}}
connections: {{{connections}}}
seeds: [5]
scoring: {{scorers: [technical]}}
"""


@pytest.fixture(autouse=True)
def unused_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MY_ENGINE_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def drawn(folder: Path, **words: str) -> Path:
    """The one image of a sweep that really ran."""
    from nonesuch.flows.sweep import sweep

    (folder / "engines.yaml").write_text(SWEEP.format(**words))
    sweep(folder / "engines.yaml", folder / "out")
    return folder / "out" / str(pd.read_parquet(folder / "out" / "catalog").iloc[0]["file"])


@pytest.fixture
def a1111() -> Iterator[Server]:
    with running(A1111Server()) as server:
        yield server


@pytest.fixture
def comfy() -> Iterator[ComfyServer]:
    with running(ComfyServer()) as server:
        yield server


@pytest.fixture
def openai() -> Iterator[Server]:
    with running(OpenAIServer()) as server:
        yield server


@pytest.mark.usefixtures("prefect_server")
class TestEnginesElsewhere:
    def test_the_web_ui_is_reached_as_the_sweep_file_says(self, tmp_path: Path, a1111: Server) -> None:
        reached = f'a1111: {{url: "{a1111.url}", key: "env:MY_ENGINE_KEY"}}'
        image = drawn(tmp_path, model="a1111:first", facet="steps: [4]", connections=reached)
        lost = nonesuch("reproduce", image)
        with socket.socket() as usual:
            if usual.connect_ex(("127.0.0.1", 7860)):  # nothing listens there
                assert lost.returncode in (1, 2)
                assert "--sweep" in lost.stderr
                assert "Traceback" not in lost.stderr
        told = nonesuch("reproduce", image, "--sweep", tmp_path / "engines.yaml", "--json")
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["outcome"] == "bit-identical"
        assert KEY not in told.stdout + told.stderr + lost.stderr

    def test_a_workflow_is_found_beside_the_sweep_file_and_bound_as_it_says(
        self, tmp_path: Path, comfy: ComfyServer
    ) -> None:
        (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
        reached = f'"comfyui:flow.json": {{url: "{comfy.url}", bind: {{denoise: 3.denoise}}}}'
        image = drawn(tmp_path, model="comfyui:flow.json", facet="denoise: [0.7]", connections=reached)
        (tmp_path / "elsewhere").mkdir()
        kept = image.parents[3] / "sweeps" / "engines.yaml"  # the run's own copy, without the workflow
        assert comfy.sampled == 1
        told = nonesuch("reproduce", image, "--sweep", kept, "--inputs", tmp_path, "--json")
        assert told.returncode == 0, told.stderr
        said = json.loads(told.stdout)
        assert (comfy.sampled, said["drawn"]) == (2, True)
        assert "drawn by the server: prompt" in said["evidence"]
        row = pd.read_parquet(tmp_path / "out" / "catalog").iloc[0]
        assert (said["outcome"], said["recipe_id"]) == ("bit-identical", row["recipe_id"])
        printed = nonesuch("recipe", image, "--sweep", tmp_path / "engines.yaml")
        again = tmp_path / "elsewhere" / "again.yaml"
        again.write_text(printed.stdout)
        from nonesuch.generators.matrix.plan import open_matrix
        from nonesuch.generators.sweepfile.sweep import load_sweep

        assert [one.id for one in open_matrix(load_sweep(again))] == [said["recipe_id"]]

    def test_what_is_fetched_is_not_called_drawn_and_proves_nothing(
        self, tmp_path: Path, comfy: ComfyServer
    ) -> None:
        from typer.testing import CliRunner

        from nonesuch.cli.app import app
        from nonesuch.flows.reporting.status_file import read_status
        from nonesuch.flows.sweep import sweep
        from nonesuch.generators.matrix.plan import plan
        from nonesuch.generators.sweepfile.sweep import load_sweep

        (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
        reached = f'comfyui: {{url: "{comfy.url}"}}'
        image = drawn(tmp_path, model="comfyui:flow.json", facet="steps: [4]", connections=reached)
        file = tmp_path / "engines.yaml"
        measured = plan(load_sweep(file)).seconds
        again = sweep(file, tmp_path / "again")
        assert (comfy.sampled, len(comfy.drawn())) == (1, 1)
        assert (again.done, again.drawn, again.fetched, again.images_per_second) == (1, 0, 1, 0)
        assert (
            "0 images drawn, 1 fetched (a server or a stopped run had them already), 0 failed"
            in again.markdown()
        )
        assert "fetched, not drawn</dt><dd>1</dd>" in (tmp_path / "again" / str(again.page)).read_text()
        assert read_status(tmp_path / "again").fetched == 1
        rows = [pd.read_parquet(tmp_path / out / "catalog").iloc[0] for out in ("out", "again")]
        assert [bool(row["fetched"]) for row in rows] == [False, True]
        assert [pd.isna(row["draw_seconds"]) for row in rows] == [False, True]
        assert (
            plan(load_sweep(file)).seconds == measured
        )  # what was fetched says nothing of the engine's speed
        comfy.silent = True
        told = CliRunner().invoke(app, ["reproduce", str(image), "--sweep", str(file)])
        assert told.exit_code == 3
        assert "the same image came back, not known to be drawn again (fingerprints 0 of 64" in told.stdout
        assert "the server's history does not say which nodes it ran" in told.stdout

    def test_a_service_is_asked_with_the_named_key_which_is_told_nowhere(
        self, tmp_path: Path, openai: Server
    ) -> None:
        reached = f'openai: {{url: "{openai.url}", key: "env:MY_ENGINE_KEY"}}'
        image = drawn(tmp_path, model="openai:dall-e-3", facet="size: [1024x1024]", connections=reached)
        sweep = tmp_path / "engines.yaml"
        told = nonesuch("reproduce", image, "--sweep", sweep, "--catalog", tmp_path / "out", "--json")
        assert told.returncode == 1, told.stderr  # the server draws another picture each time
        said = json.loads(told.stdout)
        assert said["outcome"] == "different"
        assert any("takes no seed" in line for line in said["changed"])
        assert len(openai.drawn()) == 2
        assert not list((tmp_path / "cache" / "paid").rglob("?" * 64))  # the next try buys anew
        printed = nonesuch("recipe", image, "--sweep", sweep)
        assert "env:MY_ENGINE_KEY" in printed.stdout
        assert KEY not in told.stdout + told.stderr + printed.stdout + printed.stderr
        everything = b"".join(one.read_bytes() for one in (tmp_path / "out").rglob("*") if one.is_file())
        assert KEY.encode() not in everything


def test_a_sweep_file_with_a_bad_connection_is_told_with_its_line(tmp_path: Path) -> None:
    from nonesuch.foundation.errors import InputError
    from nonesuch.generators.sweepfile.sweep import load_connections

    (tmp_path / "s.yaml").write_text(f"name: s\nconnections:\n  openai: {{key: {KEY}}}\n")
    with pytest.raises(InputError, match="a key is named, not written down") as caught:
        load_connections(tmp_path / "s.yaml")
    assert "s.yaml:3" in str(caught.value)
    assert KEY not in str(caught.value)
