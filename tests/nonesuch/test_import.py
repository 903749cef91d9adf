"""Importing folders of other programs' pictures: columns, bytes left alone, nothing twice, broken files reported."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.catalogs.query import Catalog
from nonesuch.foundation.errors import InputError
from nonesuch.importing.folders import Imported, ImportOptions, import_folders

A1111 = (
    "a castle, <lora:ink:0.8>, by Hokusai\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 4294967299, Size: 512x768, Model hash: abc123, "
    "Model: sd15, Version: v1.9.4"
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 99, "steps": 25, "cfg": 6.5, "sampler_name": "euler",
          "positive": ["6", 0], "negative": ["7", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dull", "clip": ["4", 1]}},
}  # fmt: skip
INVOKE = {"positive_prompt": "an owl", "seed": 3, "steps": 4, "cfg_scale": 5, "scheduler": "euler",
          "model": {"name": "dream", "hash": "h"}, "app_version": "4.2", "hrf_method": "x"}  # fmt: skip
SWARM = {"sui_image_params": {"prompt": "a rose", "seed": "7", "steps": "30", "cfgscale": "7", "model": "sdxl",
                              "swarm_version": "0.9", "aspectratio": "1:1"}}  # fmt: skip
FOOOCUS = {"prompt": "a panda", "base_model": "juggernaut", "seed": "11", "steps": 30, "version": "Fooocus v2.5",
           "sharpness": 2}  # fmt: skip
NOVEL = {"prompt": "a bear", "uc": "bad", "steps": 28, "scale": 5.0, "seed": 5, "sampler": "k_euler",
         "noise_schedule": "karras"}  # fmt: skip
MIDJOURNEY = "a whale in the sky --ar 3:2 --v 6.1 Job ID: 0a1b2c3d-0000-4000-8000-00000000abcd"
# reader → PNG text, and some of the columns that come of it
TEXTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "automatic1111": (
        {"parameters": A1111},
        {"prompt": "a castle, <lora:ink:0.8>, by Hokusai", "negative_prompt": "blurry", "steps": 20,
         "guidance_scale": 7.5, "scheduler": "DPM++ 2M", "seed": 4294967299, "model": "sd15"},
    ),
    "comfyui": (
        {"prompt": json.dumps(GRAPH), "workflow": '{"nodes": [], "links": []}'},
        {"prompt": "a fox", "negative_prompt": "dull", "seed": 99, "model": "sd15.safetensors"},
    ),
    "invokeai": ({"invokeai_metadata": json.dumps(INVOKE)}, {"prompt": "an owl", "model": "dream", "steps": 4}),
    "swarmui": ({"parameters": json.dumps(SWARM)}, {"prompt": "a rose", "seed": 7, "model": "sdxl"}),
    "fooocus": (
        {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"},
        {"prompt": "a panda", "seed": 11, "model": "juggernaut"},
    ),
    "novelai": (
        {"Software": "NovelAI", "Source": "NovelAI Diffusion V4", "Comment": json.dumps(NOVEL)},
        {"prompt": "a bear", "negative_prompt": "bad", "scheduler": "k_euler"},
    ),
    "midjourney": (
        {"Description": MIDJOURNEY},
        {"prompt": "a whale in the sky", "model": "Midjourney 6.1", "seed": None},
    ),
}  # fmt: skip
# field that no column takes, by the reader that keeps it
KEPT = {
    "automatic1111": ("model_hash", "abc123"), "comfyui": ("generator", "ComfyUI"), "invokeai": ("hrf_method", "x"),
    "swarmui": ("aspectratio", "1:1"), "fooocus": ("sharpness", 2), "novelai": ("schedule", "karras"),
    "midjourney": ("job_id", "0a1b2c3d-0000-4000-8000-00000000abcd"),
}  # fmt: skip
NO_SCORES = ImportOptions(scorers=(), search="aligned")


def picture(seed: int, size: int = 48) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size // 8, size // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)


def png(path: Path, texts: dict[str, str], seed: int = 0) -> Path:
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, "PNG", pnginfo=info)
    return path


def run(folder: Path, out: Path, options: ImportOptions = NO_SCORES) -> dict[str, Imported]:
    return {Path(done.path).name: done for done in import_folders([folder], out, options)}


def rows(out: Path) -> dict[str, dict[str, Any]]:
    found = Catalog(out).query(as_arrow=True).to_pylist()
    return {Path(row["file"]).name: row for row in found}


def test_every_format_becomes_columns(tmp_path: Path) -> None:
    for seed, (kind, (texts, _)) in enumerate(TEXTS.items()):
        png(tmp_path / "in" / kind / f"{kind}.png", texts, seed)
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.png")}
    done = run(tmp_path / "in", tmp_path / "out")
    assert {name: one.kind for name, one in done.items()} == {f"{kind}.png": kind for kind in TEXTS}
    found = rows(tmp_path / "out")
    for kind, (_, wanted) in TEXTS.items():
        row = found[f"{kind}.png"]
        assert {name: row[name] for name in wanted} == wanted, kind
        assert row["backend"] == kind
        assert (row["sweep"], row["status"], row["width"], row["format"]) == ("imported", "ok", 48, "png")
        options = json.loads(row["options"])
        key, value = KEPT[kind]
        assert options[key] == value, kind
        assert options["read_from"] == kind
    assert json.loads(found["automatic1111.png"]["loras"]) == [["ink", "", 0.8]]
    assert {path: path.read_bytes() for path in before} == before
    for path, data in before.items():
        row = found[path.name]
        assert row["recipe_id"] == row["sha256"] == hashlib.sha256(data).hexdigest()
        assert (tmp_path / "out" / row["file"]).resolve() == path.resolve()
        assert row["phash"] != 0


def test_jpeg_and_webp_comments_are_read(tmp_path: Path) -> None:
    for number, format in enumerate(("JPEG", "WEBP")):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
        file = tmp_path / "in" / f"x.{format.lower()}"
        file.parent.mkdir(exist_ok=True)
        picture(number).save(file, format, exif=exif)
    run(tmp_path / "in", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert {row["seed"] for row in found.values()} == {4294967299}
    assert {row["format"] for row in found.values()} == {"jpeg", "webp"}


def test_names_and_text_files_speak_where_the_file_is_silent(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    uuid = "0a1b2c3d-0000-4000-8000-00000000abcd"
    png(folder / f"someone_a_red_fox_at_night_{uuid}.png", {}, 1)
    png(folder / "DALL·E 2024-01-05 10.20.30 - A lighthouse in a storm.png", {}, 2)
    png(folder / "captioned.png", {}, 3)
    (folder / "captioned.txt").write_text("a captioned bird")
    png(folder / "saved.png", {}, 4)
    (folder / "saved.txt").write_text(A1111)
    png(folder / "silent.png", {"Author": "Ada", "odd": "field"}, 5)
    run(folder, tmp_path / "out")
    found = rows(tmp_path / "out")
    told = {name.split(".")[0].split("_")[0].split(" ")[0]: row for name, row in found.items()}
    assert (told["someone"]["prompt"], told["someone"]["backend"]) == ("a red fox at night", "midjourney")
    assert (told["DALL·E"]["prompt"], told["DALL·E"]["backend"]) == ("A lighthouse in a storm", "openai")
    assert told["captioned"]["prompt"] == "a captioned bird"
    assert told["saved"]["seed"] == 4294967299
    assert (told["silent"]["prompt"], told["silent"]["backend"]) == ("", "other")
    assert json.loads(told["silent"]["options"])["texts"] == {"Author": "Ada", "odd": "field"}


def test_scores_and_embeddings_come_with_them(tmp_path: Path) -> None:
    png(tmp_path / "in" / "told.png", TEXTS["comfyui"][0], 1)
    png(tmp_path / "in" / "silent.png", {}, 2)
    run(tmp_path / "in", tmp_path / "out", ImportOptions())
    catalog = Catalog(tmp_path / "out")
    table = catalog.query(columns=["file", "alignment", "aesthetic", "sharpness", "embedding", "encoder"])
    told = {Path(row["file"]).stem: row for row in table.to_dict("records")}
    assert told["told"]["alignment"] == pytest.approx(told["told"]["alignment"])
    assert told["silent"]["alignment"] != told["silent"]["alignment"]  # nothing to be aligned with
    for row in told.values():
        assert np.linalg.norm(np.asarray(row["embedding"], np.float32)) == pytest.approx(1, abs=0.01)
        assert row["encoder"].startswith("embedded ")
        assert row["sharpness"] > 0


def test_a_second_import_adds_only_what_is_new(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    first = png(folder / "a.png", {}, 1)
    (folder / "same.png").write_bytes(first.read_bytes())
    done = run(folder, out)
    assert sorted(one.status for one in done.values()) == ["imported", "known"]
    assert {one.status for one in run(folder, out).values()} == {"known"}
    png(folder / "b.png", {}, 2)
    assert run(folder, out)["b.png"].status == "imported"
    assert Catalog(out).count() == 2


def test_copies_are_bit_identical_and_not_imported_again(tmp_path: Path) -> None:
    original = png(tmp_path / "in" / "a.png", TEXTS["automatic1111"][0])
    out = tmp_path / "in" / "out"  # inside the folder that is read
    run(tmp_path / "in", out, ImportOptions(scorers=(), copy=True, name="mine"))
    row = next(iter(rows(out).values()))
    assert row["file"].startswith("images/mine/")
    assert (out / row["file"]).read_bytes() == original.read_bytes()
    original.unlink()
    assert run(tmp_path / "in", out) == {}


def test_large_pictures_get_a_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(1, 400).save(tmp_path / "in" / "large.png")
    run(tmp_path / "in", tmp_path / "out")
    recipe_id = rows(tmp_path / "out")["large.png"]["recipe_id"]
    with Image.open(tmp_path / "out" / "thumbnails" / recipe_id[:2] / f"{recipe_id}.webp") as small:
        assert max(small.size) < 400


def test_broken_files_are_reported_and_stop_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    whole = png(folder / "whole.png", {}, 1)
    data = whole.read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_bytes(b"not a picture at all")
    (folder / "link.png").symlink_to(folder / "gone.png")
    (folder / "notes.txt").write_text("not looked at")
    done = run(folder, tmp_path / "out")
    assert {name for name, one in done.items() if one.status == "broken"} == {
        "empty.png", "cut.png", "text.jpg", "link.png",
    }  # fmt: skip
    assert all(one.error for one in done.values() if one.status == "broken")
    assert list(rows(tmp_path / "out")) == ["whole.png"]


def test_numbers_and_letters_that_columns_can_not_hold_are_kept_aside(tmp_path: Path) -> None:
    huge = A1111.replace("4294967299", str(2**70)).replace("Steps: 20", "Steps: 99999999999")
    png(tmp_path / "in" / "huge.png", {"parameters": huge})
    odd = json.dumps({**INVOKE, "positive_prompt": "half \ud83d of a letter", "x": "\udc00"})
    png(tmp_path / "in" / "odd.png", {"invokeai_metadata": odd}, 2)
    run(tmp_path / "in", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert found["huge.png"]["seed"] is None
    assert json.loads(found["huge.png"]["options"])["seed"] == 2**70
    assert found["huge.png"]["steps"] is None
    assert found["odd.png"]["prompt"] == "half ? of a letter"


@settings(max_examples=25)
@example({"parameters": "", "invokeai_metadata": '{"prompt": null, "sui_image_params": Infinity}'})
@given(
    st.dictionaries(
        st.sampled_from(["parameters", "Comment", "Software", "prompt", "invokeai_metadata", "Dream", "x"]),
        st.one_of(
            st.text(max_size=60),
            st.dictionaries(
                st.sampled_from(["prompt", "seed", "steps", "model", "sui_image_params", "other", "options"]),
                st.recursive(st.none() | st.integers() | st.text(max_size=9) | st.floats(), lambda s: st.lists(s)
                             | st.dictionaries(st.text(max_size=5), s), max_leaves=6),
            ).map(json.dumps),
        ),
    )
)  # fmt: skip
def test_any_metadata_makes_a_row(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = io.BytesIO()
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    picture(0, 16).save(data, "PNG", pnginfo=info)
    (folder / "in").mkdir()
    (folder / "in" / "a.png").write_bytes(data.getvalue())
    assert run(folder / "in", folder / "out")["a.png"].status == "imported"
    row = next(iter(rows(folder / "out").values()))
    assert isinstance(json.loads(row["options"]), dict)


def test_a_credential_is_kept_and_its_recipe_read(tmp_path: Path) -> None:
    from nonesuch.foundation.canonical import canonical_digest
    from nonesuch.provenance.marking.drawn_image import mark_image
    from nonesuch.provenance.request import MarkRequest
    from nonesuch.provenance.sidecar import read_manifest
    from nonesuch.provenance.signing.signer import open_signer

    recipe = {"backend": "diffusers", "model": "embedded", "model_digest": "d" * 64, "prompt": "a signed fox",
              "negative_prompt": "", "seed": 12, "width": 128, "height": 128, "steps": 9, "guidance_scale": 3.5,
              "scheduler": "ddim", "dtype": "float32", "options": [["eta", 0.5]], "facets": [["subject", "fox"]]}  # fmt: skip
    payload = int(canonical_digest(recipe)[:16], 16)
    request = MarkRequest(payload, recipe, "fox.png", "embedded", "1")
    marked = mark_image(np.asarray(picture(3, 128)), request, open_signer())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fox.png").write_bytes(marked.data)
    done = run(tmp_path / "in", tmp_path / "out")
    assert done["fox.png"].kind == "credential"
    row = rows(tmp_path / "out")["fox.png"]
    assert (row["prompt"], row["seed"], row["steps"], row["backend"]) == ("a signed fox", 12, 9, "diffusers")
    assert row["watermark_id"] == payload
    assert row["source_type"] == "trainedAlgorithmicMedia"
    assert row["credential_digest"] == marked.manifest_digest
    assert row["manifest_id"] == marked.manifest_id
    assert read_manifest(tmp_path / "out", marked.manifest_digest) == marked.manifest
    assert json.loads(row["options"])["options"] == [["eta", 0.5]]


def test_what_a_drawn_catalog_has_is_known(tmp_path: Path) -> None:
    from nonesuch.catalogs.schema import catalog_schema
    from nonesuch.catalogs.storage.parts import publish_shard

    file = png(tmp_path / "in" / "a.png", {})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    drawn = {"recipe_id": "a" * 64, "sweep": "drawn", "status": "ok", "sha256": digest}
    publish_shard(tmp_path / "out", "drawn-0", [drawn], catalog_schema({}, {}, None))
    assert run(tmp_path / "in", tmp_path / "out")["a.png"].status == "known"


def test_the_catalog_does_not_call_an_imported_photograph_generated(tmp_path: Path) -> None:
    from nonesuch.flows.catalog_folder import CatalogFolder

    silent = png(tmp_path / "in" / "photo.png", {})
    run(tmp_path / "in", tmp_path / "out")
    digest = hashlib.sha256(silent.read_bytes()).hexdigest()
    (record,) = CatalogFolder(tmp_path / "out").by_digest(digest)
    assert record.source_type is None
    told = png(tmp_path / "told" / "made.png", {}, 7)
    run(tmp_path / "told", tmp_path / "out", ImportOptions(scorers=(), source_type="trainedAlgorithmicMedia"))
    (record,) = CatalogFolder(tmp_path / "out").by_digest(hashlib.sha256(told.read_bytes()).hexdigest())
    assert record.source_type == "trainedAlgorithmicMedia"


def test_wrong_options_are_told_before_anything_is_read(tmp_path: Path) -> None:
    png(tmp_path / "in" / "a.png", {})
    for options, said in (
        (ImportOptions(name="../x", scorers=()), "part"),
        (ImportOptions(source_type="photo", scorers=()), "digital source type"),
        (ImportOptions(scorers=("beauty",)), "beauty"),
    ):
        with pytest.raises(InputError, match=said):
            run(tmp_path / "in", tmp_path / "out", options)


def test_the_command_counts_and_ends_with_3_when_some_are_broken(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from nonesuch.cli.app import app

    def call(*arguments: str | Path) -> Any:
        given = ["import", *map(str, arguments), "--out", str(tmp_path / "out"), "--scorers", "none"]
        return CliRunner().invoke(app, given)

    png(tmp_path / "in" / "a.png", TEXTS["swarmui"][0])
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    told = call(tmp_path / "in", "--json")
    assert told.exit_code == 3, told.output
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert sorted(line["status"] for line in lines) == ["broken", "imported"]
    again = call(tmp_path / "in" / "a.png", "--source-type", "trainedAlgorithmicMedia")
    assert again.exit_code == 0
    assert "0 imported, 1 known, 0 broken" in again.stderr
    assert call(tmp_path / "nowhere").exit_code == 1
    (tmp_path / "empty").mkdir()
    assert call(tmp_path / "empty").exit_code == 2
