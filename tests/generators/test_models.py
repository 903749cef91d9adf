from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nonesuch.foundation.errors import DependencyError, DrawingError, InputError
from nonesuch.generators import digests
from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.sweep import make_sweep

pytestmark = pytest.mark.slow

Pipelines = Callable[[str], Path]


def test_a_folder_says_its_size_and_digest(pipelines: Pipelines) -> None:
    sizes = {"sd1": (64, 2), "sdxl": (64, 2), "pixart": (16, 4), "flux": (256, 4)}
    for family, (side, multiple) in sizes.items():
        facts = model_facts(str(pipelines(family)))
        assert (facts.defaults.width, facts.size_multiple) == (side, multiple)
        assert len(facts.digest) == 64
        assert facts.resolved


def test_the_digest_is_that_of_the_weights_alone(pipelines: Pipelines, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pipelines("sd1"), folder)
    digest = model_facts(str(folder)).digest
    assert digest == model_facts(str(pipelines("sd1"))).digest
    (folder / "README.md").write_text("a card")
    (folder / "defaults.json").write_text(
        json.dumps({"steps": 7, "max_size": 96, "scheduler": "ddim", "guidance": 3, "subjects": ["fox"]})
    )
    described = model_facts(str(folder))
    assert described.digest == digest
    assert (described.defaults.steps, described.defaults.scheduler, described.max_size) == (7, "ddim", 96)
    assert described.defaults.guidance_scale == 3.0
    (folder / "defaults.json").write_text(json.dumps({"steps": "many"}))
    with pytest.raises(InputError, match=r"defaults.json: steps"):
        model_facts(str(folder))
    (folder / "defaults.json").unlink()
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert model_facts(str(folder)).digest != digest


def test_unchanged_weights_are_read_once(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model_facts(str(pipelines("sd1"))).digest
    monkeypatch.setattr(digests, "file_digest", lambda path: pytest.fail(f"read {path} again"))
    assert model_facts(str(pipelines("sd1"))).digest == first


def test_a_size_that_the_model_does_not_draw_is_refused_at_its_line(pipelines: Pipelines) -> None:
    base = {"name": "x", "prompt": "{a}", "model": str(pipelines("pixart"))}
    with pytest.raises(InputError, match=r"width 18 is not a size .*\n.*multiple of 4"):
        open_matrix(make_sweep(base | {"facets": {"a": ["p"]}, "settings": {"width": 18}}))
    with pytest.raises(InputError, match=r"facets.size\[1\].*height 30"):
        open_matrix(make_sweep(base | {"facets": {"a": ["p"], "size": ["16x16", "16x30"]}}))


def test_a_model_beside_the_sweep_is_found(pipelines: Pipelines) -> None:
    folder = pipelines("sd1")
    sweep = make_sweep({"name": "x", "prompt": "p", "model": folder.name}, folder.parent)
    recipe = next(iter(open_matrix(sweep)))
    assert recipe.model == str(folder.resolve())
    assert (recipe.width, recipe.steps, recipe.dtype) == (64, 20, "auto")


def test_several_models_in_one_sweep(pipelines: Pipelines) -> None:
    models = [str(pipelines("sd1")), str(pipelines("pixart")), "noise"]
    matrix = open_matrix(
        make_sweep({"name": "x", "prompt": "{a}", "facets": {"a": ["p", "q"], "model": models}})
    )
    assert [recipe.width for recipe in matrix] == [64, 64, 16, 16, 128, 128]
    assert len({recipe.id for recipe in matrix}) == 6


@pytest.mark.parametrize("content", ["{", "[]"])
def test_broken_folders_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="no model_index"):
        model_facts(str(tmp_path))
    (tmp_path / "model_index.json").write_text(content)
    if content == "{":
        with pytest.raises(InputError, match="not valid JSON"):
            model_facts(str(tmp_path))
    else:
        with pytest.raises(DrawingError, match="can't be loaded"):
            open_backend(str(tmp_path), device="cpu").load()


@pytest.mark.parametrize(
    "name", ["comfyui:flow.json", "midjourney:v7", "best:model", "no such folder", "a/b/c"]
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        model_facts(name)


def test_a_hub_id_that_is_not_here_is_planned_but_not_drawn() -> None:
    facts = model_facts("someone/something")
    assert not facts.resolved
    assert model_facts("someone/something", "0" * 40).resolved
    with pytest.raises(DrawingError, match="not on this machine"):
        open_backend(facts, device="cpu").load()


def test_a_cached_hub_model_is_pinned_to_its_commit(pipelines: Pipelines, tmp_path: Path) -> None:
    commit = "12ab" * 10
    repo = tmp_path / "hub" / "models--someone--cached"
    shutil.copytree(pipelines("sd1"), repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    code = (
        "from nonesuch.generators.backends import model_facts, open_backend;"
        "facts = model_facts('someone/cached'); backend = open_backend(facts, device='cpu'); backend.load();"
        "print(facts.digest, facts.revision, facts.defaults.width)"
    )  # the hub client reads HF_HOME once, when it is imported
    environment = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [f"someone/cached@{commit}", commit, "64"]
    assert done.stderr == ""


def test_an_unreachable_hub_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DependencyError, match="could not be fetched"):
        model_facts("someone/something", network=True)


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nonesuch.generators.matrix.plan import plan; from nonesuch.generators.sweepfile.sweep import make_sweep;"
        "print(plan(make_sweep({'name': 'x', 'model': 'noise', 'prompt': 'p'})).cells);"
        "print(sorted({'torch', 'diffusers', 'transformers', 'pyarrow', 'pandas', 'dynamicprompts',"
        " 'huggingface_hub', 'prefect'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1", "[]"]
