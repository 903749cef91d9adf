"""ComfyUI and the web UI through the real client, against servers on loopback that speak their protocols."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from remote_servers import WORKFLOW, A1111Server, ComfyServer, Reply, as_json, running

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import Backend, BackendStopped, Drawing, draw_anew, open_backend
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import make_sweep

pytestmark = pytest.mark.slow


@pytest.fixture
def a1111() -> Iterator[A1111Server]:
    with running(A1111Server()) as server:
        yield server


@pytest.fixture
def comfy() -> Iterator[ComfyServer]:
    with running(ComfyServer()) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
    return tmp_path


def matrix_of(
    url: str, folder: Path = Path(), *, engine: dict[str, Any] | None = None, **keys: Any
) -> Matrix:
    """The matrix of a small sweep over the engine at `url`."""
    model = keys.setdefault("model", "a1111:first")
    kind = model.split(":")[0]
    settings = {"width": 64, "height": 64, "steps": 4, **keys.pop("settings", {})}
    data = {
        "name": "engines",
        "prompt": "a {subject}",
        "facets": {"subject": ["panda", "fox"]},
        "settings": settings,
    }
    return open_matrix(
        make_sweep({**data, "connections": {kind: {"url": url, **(engine or {})}}, **keys}, folder)
    )


def opened(matrix: Matrix) -> Backend:
    return open_backend(next(iter(matrix.facts.values())))


def drawn(matrix: Matrix, *, anew: bool = False) -> list[Drawing]:
    backend = opened(matrix)
    backend.load()
    try:
        return list((draw_anew(backend, list(matrix))) if anew else backend.draw(list(matrix)))
    finally:
        backend.close()


def same(some: list[Drawing], others: list[Drawing]) -> bool:
    """Whether two drawings of a matrix have the same pixels."""
    return all(np.array_equal(a.image, b.image) for a, b in zip(some, others, strict=True))


class TestA1111:
    def test_draws_every_recipe_with_its_settings_and_keeps_the_order(self, a1111: A1111Server) -> None:
        matrix = matrix_of(a1111.url, seeds=[3, 4], settings={"scheduler": "euler", "guidance": 5})
        done = drawn(matrix)
        assert [one.recipe for one in done] == list(matrix)
        assert {one.status for one in done} == {"ok"}
        assert done[0].image is not None
        assert done[0].image.shape == (64, 64, 3)
        sent = sorted((one.json["prompt"], one.json["seed"]) for one in a1111.drawn())
        assert sent == [("a fox", 3), ("a fox", 4), ("a panda", 3), ("a panda", 4)]
        first = a1111.drawn()[0].json
        assert (first["sampler_name"], first["cfg_scale"], first["steps"]) == ("Euler", 5.0, 4)

    def test_the_digest_is_the_engines_and_a_checkpoint_without_one_is_loaded_for_it(
        self, a1111: A1111Server
    ) -> None:
        first = next(iter(matrix_of(a1111.url).facts.values()))
        second = next(iter(matrix_of(a1111.url, model="a1111:second").facts.values()))
        assert (first.digest, second.digest) == ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
        assert next(iter(matrix_of(a1111.url, model="a1111:").facts.values())).digest == second.digest

    def test_an_image_that_another_checkpoint_drew_is_not_taken(self, a1111: A1111Server) -> None:
        matrix = matrix_of(a1111.url)
        a1111.hashes["first"] = "d" * 64
        assert {one.reason for one in drawn(matrix)} == {
            "another checkpoint drew it (dddddddddd instead of aaaaaaaaaa)"
        }

    def test_what_is_drawn_anew_is_known_by_its_own_task_and_job(self, a1111: A1111Server) -> None:
        matrix = matrix_of(a1111.url, facets={"subject": ["fox"]})
        first, (second,) = drawn(matrix), drawn(matrix, anew=True)
        tasks = [one.json["force_task_id"] for one in a1111.drawn()]
        assert tasks[1].startswith(tasks[0] + "-")
        assert same(first, [second])
        assert second.origin.drawn
        assert second.origin.evidence == (
            f"drawn by the web UI: it began the job 20261130000002 for the task {tasks[1]}"
        )
        a1111.kept = {}  # something before it keeps answers
        drawn(matrix)
        (kept,) = drawn(matrix, anew=True)
        assert (kept.origin.drawn, a1111.jobs) == (None, 3)

    def test_starts_from_pictures_and_masks(self, a1111: A1111Server, tmp_path: Path) -> None:
        Image.new("RGB", (80, 40), "red").save(tmp_path / "start.png")
        Image.new("L", (80, 40), 255).save(tmp_path / "mask.png")
        settings = {"init_image": "start.png", "mask": "mask.png", "strength": 0.5}
        assert drawn(matrix_of(a1111.url, tmp_path, settings=settings))[0].status == "ok"
        request = a1111.drawn()[0]
        assert request.path.endswith("img2img")
        assert request.json["denoising_strength"] == 0.5
        start = Image.open(io.BytesIO(base64.b64decode(request.json["init_images"][0])))
        assert start.size == (64, 64)

    def test_passing_faults_are_asked_again(self, a1111: A1111Server) -> None:
        whole = as_json({"images": []}).body
        a1111.faults.extend([Reply(503), Reply(200, whole, {"Content-Type": "application/json"}, cut=True)])
        done = drawn(matrix_of(a1111.url, engine={"concurrency": 1}))
        assert [one.status for one in done] == ["ok", "ok"]
        assert len(a1111.drawn()) == 4

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (
                Reply(200, b"<html>", {"Content-Type": "text/html"}),
                "the answer is not JSON (text/html, 6 bytes)",
            ),
            (as_json({"images": []}), "the answer holds no image"),
            (as_json({"images": ["%%%"]}), "not base64"),
            (as_json({"images": [base64.b64encode(b"no picture").decode()]}), "not an image"),
            (as_json({"detail": "bad steps"}, 422), "bad steps"),
            (as_json({"error": "OutOfMemoryError", "errors": "CUDA"}, 500), "OutOfMemoryError: CUDA"),
        ],
    )
    def test_a_broken_answer_is_its_recipes_row_alone(
        self, a1111: A1111Server, fault: Reply, reason: str
    ) -> None:
        a1111.faults.append(fault)
        done = drawn(matrix_of(a1111.url, engine={"concurrency": 1}))
        assert [one.status for one in done] == ["failed", "ok"]
        assert reason in done[0].reason

    def test_a_slow_answer_is_given_up(self, a1111: A1111Server) -> None:
        a1111.faults.append(Reply(200, b"{}", wait=1.5))
        matrix = matrix_of(a1111.url, engine={"concurrency": 1, "timeout": 0.5, "retries": 0})
        assert [one.status for one in drawn(matrix)] == ["failed", "ok"]

    def test_an_engine_that_goes_away_ends_the_run_after_what_it_drew(self) -> None:
        with running(A1111Server()) as server:
            matrix = matrix_of(server.url, engine={"concurrency": 1, "retries": 1}, seeds=[1, 2, 3])
            backend = opened(matrix)
            drawings = backend.draw(list(matrix))
            assert next(drawings).status == "ok"
        with pytest.raises(BackendStopped, match="can't be reached"):
            list(drawings)

    def test_planning_says_that_an_engine_a_checkpoint_or_a_sampler_is_missing(
        self, a1111: A1111Server
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(InputError, match="can't be reached"):
            matrix_of(f"http://127.0.0.1:{port}", engine={"retries": 0})
        with pytest.raises(InputError, match="no checkpoint 'third'") as caught:
            matrix_of(a1111.url, model="a1111:third")
        assert "first, second" in str(caught.value)
        matrix = matrix_of(a1111.url, settings={"scheduler": "heun"})
        with pytest.raises(InputError, match="no sampler 'Heun'"):
            opened(matrix).check(next(iter(matrix)))

    def test_another_host_is_not_asked_without_the_network(self) -> None:
        matrix = matrix_of("http://engine.invalid:7860")
        facts = next(iter(matrix.facts.values()))
        assert not facts.resolved

    def test_requests_run_side_by_side_up_to_the_limit(self, a1111: A1111Server) -> None:
        a1111.faults.extend(Reply(503, wait=0.3) for _ in range(3))
        drawn(matrix_of(a1111.url, engine={"concurrency": 3}, seeds=[1, 2, 3]))
        assert a1111.most_at_once == 3


class TestComfyUI:
    def test_fills_the_workflow_by_itself(self, comfy: ComfyServer, folder: Path) -> None:
        settings = {"scheduler": "dpmpp_2m_karras", "guidance": 4}
        matrix = matrix_of(
            comfy.url,
            folder,
            model="comfyui:flow.json",
            negative="blurry",
            settings=settings,
            engine={"concurrency": 1},
        )
        done = drawn(matrix)
        assert [one.status for one in done] == ["ok", "ok"]
        graph = comfy.drawn()[0].json["prompt"]
        sampler = graph["3"]["inputs"]
        assert (sampler["sampler_name"], sampler["scheduler"], sampler["cfg"]) == ("dpmpp_2m", "karras", 4.0)
        assert (graph["6"]["inputs"]["text"], graph["7"]["inputs"]["text"]) == ("a panda", "blurry")
        assert graph["5"]["inputs"]["width"] == 64
        assert json.loads(done[0].facts["told"]) == {"comfyui_version": "0.3.75"}

    def test_facets_are_bound_to_inputs(self, comfy: ComfyServer, folder: Path) -> None:
        matrix = matrix_of(
            comfy.url,
            folder,
            model="comfyui:flow.json",
            facets={"subject": ["panda"], "denoise": [0.5, 0.75]},
            engine={"bind": {"denoise": "3.denoise", "prompt": "Positive.text"}},
        )
        assert [dict(recipe.options) for recipe in matrix] == [{"3.denoise": 0.5}, {"3.denoise": 0.75}]
        drawn(matrix)
        assert sorted(one.json["prompt"]["3"]["inputs"]["denoise"] for one in comfy.drawn()) == [0.5, 0.75]

    def test_the_digest_follows_nodes_and_weights_but_not_what_recipes_set(
        self, comfy: ComfyServer, folder: Path
    ) -> None:
        def digest() -> str:
            return next(iter(matrix_of(comfy.url, folder, model="comfyui:flow.json").facts.values())).digest

        first = digest()
        changed = json.loads(json.dumps(WORKFLOW))
        changed["3"]["inputs"]["seed"] = 99
        (folder / "flow.json").write_text(json.dumps(changed))
        assert digest() == first
        changed["5"]["inputs"]["batch_size"] = 2
        (folder / "flow.json").write_text(json.dumps(changed))
        assert digest() != first

    def test_what_is_drawn_already_is_not_queued_again(self, comfy: ComfyServer, folder: Path) -> None:
        matrix = matrix_of(comfy.url, folder, model="comfyui:flow.json")
        first = drawn(matrix)
        second = drawn(matrix)
        assert len(comfy.drawn()) == 2
        assert same(first, second)
        assert [one.origin.drawn for one in (*first, *second)] == [True, True, False, False]
        assert "fetched from the server's history: prompt" in second[0].origin.evidence

    def test_what_is_drawn_anew_is_a_prompt_that_history_and_node_cache_have_never_seen(
        self, comfy: ComfyServer, folder: Path
    ) -> None:
        matrix = matrix_of(comfy.url, folder, model="comfyui:flow.json", facets={"subject": ["fox"]})
        first, again = drawn(matrix), [drawn(matrix, anew=True) for _ in range(2)]
        assert comfy.sampled == len(comfy.drawn()) == len(comfy.history) == 3
        for one in again:
            assert same(one, first)
            assert one[0].origin.drawn
            number = next(number for number in comfy.history if number in one[0].origin.evidence)
            assert dict(comfy.history[number]["status"]["messages"])["execution_cached"]["nodes"] == []
            assert one[0].origin.evidence == (
                f"drawn by the server: prompt {number} took 4.2 s and none of its 7 nodes from the node cache"
            )

    def test_a_picture_from_the_node_cache_is_not_called_drawn(
        self, comfy: ComfyServer, folder: Path
    ) -> None:
        matrix = matrix_of(comfy.url, folder, model="comfyui:flow.json", facets={"subject": ["fox"]})
        first = drawn(matrix)
        comfy.history.clear()
        (cached,) = drawn(matrix)
        assert (cached.origin.drawn, comfy.sampled) == (False, 1)
        assert "from its node cache" in cached.origin.evidence
        comfy.history.clear()
        comfy.files.clear()  # the node cache still names the file
        again = drawn(matrix)
        assert (again[0].origin.drawn, comfy.sampled) == (True, 2)
        assert same(again, first)

    @pytest.mark.parametrize(
        ("silent", "careless", "said"),
        [
            (True, "", "does not say which nodes it ran"),
            (False, "VAEDecode", "took the image from its node cache"),
            (False, "CheckpointLoaderSimple", "took 3 nodes from its node cache"),  # and both texts behind it
        ],
    )
    def test_without_evidence_a_picture_is_not_known_to_be_drawn(
        self, folder: Path, silent: bool, careless: str, said: str
    ) -> None:
        with running(ComfyServer(silent=silent)) as server:
            server.careless = frozenset({careless})
            matrix = matrix_of(server.url, folder, model="comfyui:flow.json", facets={"subject": ["fox"]})
            drawn(matrix)
            (one,) = drawn(matrix, anew=True)
            assert one.image is not None
            assert not one.origin.drawn
            assert said in one.origin.evidence

    def test_servers_that_choose_ids_themselves_are_understood(self, folder: Path) -> None:
        with running(ComfyServer(own_ids=True)) as server:
            assert [
                one.status for one in drawn(matrix_of(server.url, folder, model="comfyui:flow.json"))
            ] == [
                "ok",
                "ok",
            ]

    def test_a_node_that_fails_is_its_recipes_row_and_drawn_anew_later(
        self, comfy: ComfyServer, folder: Path
    ) -> None:
        matrix = matrix_of(
            comfy.url, folder, model="comfyui:flow.json", facets={"subject": ["fox", "explode"]}
        )
        done = drawn(matrix)
        assert [one.status for one in done] == ["ok", "failed"]
        assert done[1].reason == "node 3 KSampler failed: boom"
        drawn(matrix)
        assert len(comfy.drawn()) == 3

    def test_nothing_in_time_is_a_failed_row(self, folder: Path) -> None:
        with running(ComfyServer(looks=10_000)) as server:
            matrix = matrix_of(server.url, folder, model="comfyui:flow.json", engine={"timeout": 0.4})
            assert {one.reason for one in drawn(matrix)} == {"ComfyUI had no image within 0.4 s"}
            assert any(one.path == "/queue" and one.method == "POST" for one in server.requests)

    def test_pictures_to_start_from_are_uploaded(self, comfy: ComfyServer, folder: Path) -> None:
        graph = json.loads(json.dumps(WORKFLOW))
        graph["10"] = {"class_type": "LoadImage", "inputs": {"image": "example.png"}}
        graph["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
        (folder / "flow.json").write_text(json.dumps(graph))
        Image.new("RGB", (70, 70), "blue").save(folder / "start.png")
        settings = {"init_image": "start.png", "strength": 0.25}
        done = drawn(matrix_of(comfy.url, folder, model="comfyui:flow.json", settings=settings))
        assert done[0].status == "ok"
        sent = comfy.drawn()[0].json["prompt"]
        assert sent["10"]["inputs"]["image"] in comfy.uploads
        assert sent["3"]["inputs"]["denoise"] == 0.25

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"class_type": "Unheard", "inputs": {}}, "no node 'Unheard'"),
            (
                {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "gone.safetensors"}},
                "no ckpt_name",
            ),
        ],
    )
    def test_planning_says_what_the_engine_lacks(
        self, comfy: ComfyServer, folder: Path, change: dict[str, Any], message: str
    ) -> None:
        (folder / "flow.json").write_text(json.dumps({**WORKFLOW, "4": change}))
        with pytest.raises(InputError, match=message):
            matrix_of(comfy.url, folder, model="comfyui:flow.json")

    @pytest.mark.parametrize(
        ("text", "engine", "message"),
        [
            ("{", {}, "is not JSON"),
            ('{"nodes": [], "links": []}', {}, "workflow for the editor"),
            ("[]", {}, "no ComfyUI workflow"),
            (
                '{"1": {"class_type": "SaveImage", "inputs": {}}}',
                {},
                "which input of the workflow takes the prompt",
            ),
            (json.dumps(WORKFLOW), {"bind": {"prompt": "60.text"}}, "no node '60'"),
            (json.dumps(WORKFLOW), {"bind": {"cfg": "3.cgf"}}, "no input 'cgf'"),
            (json.dumps(WORKFLOW), {"output": "12"}, "no node that saves"),
        ],
    )
    def test_a_workflow_that_can_not_be_used_is_named_at_planning(
        self, comfy: ComfyServer, folder: Path, text: str, engine: dict[str, Any], message: str
    ) -> None:
        (folder / "flow.json").write_text(text)
        with pytest.raises(InputError, match=message):
            matrix_of(comfy.url, folder, model="comfyui:flow.json", engine=engine)

    def test_unknown_options_and_schedulers_are_refused_before_drawing(
        self, comfy: ComfyServer, folder: Path
    ) -> None:
        for settings, message in (
            ({"options": {"3.cgf": 1}}, "no input"),
            ({"scheduler": "tcd"}, "counterpart"),
        ):
            matrix = matrix_of(comfy.url, folder, model="comfyui:flow.json", settings=settings)
            with pytest.raises(InputError, match=message):
                opened(matrix).check(next(iter(matrix)))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"url": "http://user:secret@127.0.0.1"}, "holds a password"),
        ({"url": "ftp://127.0.0.1"}, "is not an address"),
        ({"url": "http://127.0.0.1/?key=1"}, "has a"),
        ({"key": "sk-1234567890"}, "is named, not written down"),
        ({"concurrency": 0}, "greater than"),
        ({"adress": "x"}, "unknown key 'adress'"),
    ],
)
def test_the_sweep_files_section_is_checked_and_shows_no_secret(engine: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_sweep({"name": "x", "prompt": "p", "connections": {"a1111": engine}})
    assert "secret" not in str(caught.value)
    assert "sk-" not in str(caught.value)


def test_recipes_of_models_on_this_machine_keep_their_ids() -> None:
    with_engines = {
        "name": "x",
        "prompt": "p",
        "model": "noise",
        "connections": {"openai": {"per_minute": 5}},
    }
    ids = [recipe.id for recipe in open_matrix(make_sweep(with_engines))]
    assert ids == [
        recipe.id for recipe in open_matrix(make_sweep({"name": "x", "prompt": "p", "model": "noise"}))
    ]


def test_the_same_recipe_on_two_addresses_is_one_recipe(a1111: A1111Server) -> None:
    def ids(url: str) -> list[str]:
        return [recipe.id for recipe in matrix_of(url)]

    with running(A1111Server()) as other:
        assert ids(a1111.url) == ids(other.url)


def test_a_recipe_survives_its_json(a1111: A1111Server) -> None:
    recipe = next(iter(matrix_of(a1111.url)))
    assert Recipe.from_json(recipe.to_json()).id == recipe.id


def test_a_plan_says_of_an_engine_elsewhere_that_it_did_not_look() -> None:
    from nonesuch.generators.matrix.plan import plan

    sweep = {
        "name": "s",
        "prompt": "a fox",
        "model": "a1111:first",
        "connections": {"a1111": {"url": "http://gpu.invalid"}},
    }
    (told,) = plan(make_sweep(sweep)).models
    assert told == "a1111:first (not looked at: that takes the network, which only `run` uses)"
