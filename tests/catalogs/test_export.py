"""Exports as their own readers load them: the right rows, and every image file bit for bit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from export_samples import COUNT, FAILED, image_bytes, make_gallery
from PIL import Image

from nonesuch.catalogs.exports import EXPORTERS
from nonesuch.catalogs.exports.export_job import Exported, ExportRequest
from nonesuch.catalogs.exports.run import export_catalog
from nonesuch.catalogs.exports.selection import select
from nonesuch.catalogs.query import Catalog

pytestmark = pytest.mark.slow

IMAGES = COUNT - 1
DIGESTS = {hashlib.sha256(image_bytes(i)).hexdigest() for i in range(COUNT) if i != FAILED}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return make_gallery(tmp_path_factory.mktemp("gallery") / "pandas <abroad>")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def export(catalog: Catalog, out: Path, format: str, *, split_by: str | None = None, **more: Any) -> Exported:
    embeddings = bool(more.get("embeddings"))
    chosen = select(
        catalog, order=["plan_index"], split_by=split_by, embeddings=embeddings, with_files=format != "csv"
    )
    return export_catalog(chosen, out, ExportRequest(format, split_by=split_by, **more))


def loaded(out: Path, tmp_path: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))


def bytes_of(dataset: Any, column: str = "image") -> list[bytes]:
    import datasets

    raw = dataset.cast_column(column, datasets.Image(decode=False))
    return [row[column]["bytes"] or Path(row[column]["path"]).read_bytes() for row in raw]


def digests(files: list[bytes]) -> set[str]:
    return {hashlib.sha256(data).hexdigest() for data in files}


@pytest.mark.parametrize(
    ("format", "more"),
    [("hf-imagefolder", {}), ("hf-imagefolder", {"jsonl": True}), ("hf-parquet", {"embeddings": True})],
)
def test_datasets_loads_images_rows_and_types(
    gallery: Catalog, tmp_path: Path, format: str, more: dict[str, Any]
) -> None:
    done = export(gallery, tmp_path / "out", format, images_per_file=5, **more)
    assert (done.images, list(done.left_out)) == (IMAGES, [])
    found = loaded(tmp_path / "out", tmp_path)
    assert list(found) == ["train"]
    rows = found["train"]
    assert rows["sha256"][:] == [hashlib.sha256(data).hexdigest() for data in bytes_of(rows)]
    assert set(rows["sha256"]) == DIGESTS
    first = rows[0]
    assert first["image"].size == (32, 24)
    assert first["prompt"] == "a painting of a panda by Katsushika Hokusai"
    assert first["subject"] == "panda"
    wanted = gallery.query("file is not null", order="plan_index")
    assert rows["aesthetic"][:] == pytest.approx(wanted["aesthetic"].tolist())
    assert rows["phash"][:] == [f"{value:016x}" for value in wanted["phash"]]
    if more.get("embeddings"):
        assert len(first["embedding"]) == 8
        assert len(list((tmp_path / "out" / "data").iterdir())) == 3


@pytest.mark.parametrize("format", ["hf-imagefolder", "hf-parquet", "webdataset"])
def test_splits_are_the_values_of_a_column(gallery: Catalog, tmp_path: Path, format: str) -> None:
    export(gallery, tmp_path / "out", format, split_by="artist")
    found = loaded(tmp_path / "out", tmp_path)
    assert set(found) == {"katsushika_hokusai", "edvard_munch"}
    if format == "webdataset":
        assert {row["json"]["artist"] for row in found["edvard_munch"]} == {"Edvard Munch"}
    else:
        assert set(found["edvard_munch"]["artist"]) == {"Edvard Munch"}
    assert sum(len(split) for split in found.values()) == IMAGES


def test_webdataset_reads_samples_in_order(gallery: Catalog, tmp_path: Path) -> None:
    import webdataset

    export(gallery, tmp_path / "out", "webdataset", images_per_file=6)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert [Path(shard).name for shard in shards] == [f"train-{n:06d}.tar" for n in range(3)]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    told = [json.loads(sample["json"]) for sample in samples]
    assert [row["plan_index"] for row in told] == [i for i in range(COUNT) if i != FAILED]
    for sample, row in zip(samples, told, strict=True):
        data = sample.get("png") or sample["jpg"]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert sample["txt"].decode() == row["prompt"]
        assert sample["__key__"] == row["recipe_id"][:16]
        assert len(row["phash"]) == 16
    decoded = next(iter(webdataset.WebDataset(shards[:1], shardshuffle=False).decode("pil")))
    assert decoded["png"].size == (32, 24)


def test_datasets_reads_webdataset_shards_too(gallery: Catalog, tmp_path: Path) -> None:
    export(gallery, tmp_path / "out", "webdataset")
    rows = loaded(tmp_path / "out", tmp_path)["train"]
    assert len(rows) == IMAGES
    assert rows[0]["json"]["subject"] == "panda"
    assert rows[0]["png"].size == (32, 24)
    assert rows[2]["png"] is None
    assert rows[2]["jpg"].size == (32, 24)


def test_the_same_choice_makes_the_same_shards(gallery: Catalog, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(gallery, tmp_path / name, "webdataset")
    one, other = ((tmp_path / name / "train-000000.tar").read_bytes() for name in ("a", "b"))
    assert one == other
    with tarfile.open(fileobj=io.BytesIO(one)) as shard:
        assert {(entry.mtime, entry.uid, entry.uname) for entry in shard} == {(0, 0, "")}


def test_croissant_validates_and_its_records_are_read(gallery: Catalog, tmp_path: Path) -> None:
    import mlcroissant

    out = tmp_path / "out"
    export(gallery, out, "croissant", images_per_file=8, license="cc-by-4.0", embeddings=True)
    told = json.loads((out / "croissant.json").read_text())
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    described = mlcroissant.Dataset(str(out / "croissant.json"))
    assert list(described.metadata.ctx.issues.errors) == []
    records = list(described.records("images"))
    assert len(records) == IMAGES
    assert {record["images/sha256"].decode() for record in records} == DIGESTS
    assert records[0]["images/image"].size == (32, 24)
    assert records[0]["images/prompt"].decode() == "a painting of a panda by Katsushika Hokusai"
    for part in told["distribution"]:
        if "sha256" in part:
            assert hashlib.sha256((out / part["contentUrl"]).read_bytes()).hexdigest() == part["sha256"]
    assert len(loaded(out, tmp_path)["train"]) == IMAGES


def test_column_names_with_spaces_and_dots_load_everywhere(tmp_path: Path) -> None:
    import mlcroissant

    from nonesuch.catalogs.schema import catalog_schema
    from nonesuch.catalogs.storage.parts import publish_shard

    (tmp_path / "gallery").mkdir()
    rows = []
    for index in range(3):
        data = image_bytes(index)
        (tmp_path / "gallery" / f"{index}.png").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        rows.append(
            {
                "recipe_id": digest, "sha256": digest, "sweep": "s", "status": "ok", "file": f"{index}.png",
                "lens type": f"v{index}", "a.b-c": float(index), "lens_type": f"w{index}",
            }
        )  # fmt: skip
    facets = {"lens type": "string", "a.b-c": "float64", "lens_type": "string"}
    publish_shard(tmp_path / "gallery", "s-0", rows, catalog_schema(facets, {}, None))
    for format in ("croissant", "webdataset", "hf-imagefolder", "fiftyone"):
        export(Catalog(tmp_path / "gallery"), tmp_path / format, format)
    sample = json.loads((tmp_path / "fiftyone" / "samples.json").read_text())["samples"][0]
    assert (sample["lens_type"]["label"][0], sample["lens_type_"]["label"][0]) == ("w", "v")
    described = mlcroissant.Dataset(str(tmp_path / "croissant" / "croissant.json"))
    assert list(described.metadata.ctx.issues.errors) == []
    told = [(r["images/lens_type"], r["images/lens_type_"]) for r in described.records("images")]
    assert sorted(told) == [(b"v0", b"w0"), (b"v1", b"w1"), (b"v2", b"w2")]
    assert loaded(tmp_path / "webdataset", tmp_path)["train"][0]["json"]["lens type"] == "v0"
    assert loaded(tmp_path / "hf-imagefolder", tmp_path)["train"]["a.b-c"][:] == [0.0, 1.0, 2.0]


def test_diffusiondb_has_its_columns_and_types(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(gallery, out, "diffusiondb")
    frame = pd.read_parquet(out / "metadata.parquet")
    assert list(frame.columns) == [
        "image_name", "prompt", "part_id", "seed", "step", "cfg", "sampler", "width", "height", "user_name",
        "timestamp", "image_nsfw", "prompt_nsfw",
    ]  # fmt: skip
    assert frame["part_id"].eq(1).all()
    assert frame["cfg"].tolist() == pytest.approx([7.1] * IMAGES)
    assert digests([(out / "images/part-000001" / n).read_bytes() for n in frame["image_name"]]) == DIGESTS
    prompts = json.loads((out / "images/part-000001/part-000001.json").read_text())
    assert prompts[frame["image_name"][0]]["p"] == frame["prompt"][0]
    assert frame["user_name"].str.len().eq(64).all()


@pytest.mark.parametrize(
    ("name", "code"), [("euler_a", 4), ("Euler a", 4), ("DPM2 a", 7), ("dpmpp_2m", 9), (None, 9)]
)
def test_samplers_have_diffusiondbs_codes(name: str | None, code: int) -> None:
    from nonesuch.catalogs.exports.formats.diffusiondb import sampler_code

    assert sampler_code(name) == code


def test_fiftyone_samples_are_whole(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(gallery, out, "fiftyone", embeddings=True)
    samples = json.loads((out / "samples.json").read_text())["samples"]
    assert digests([(out / sample["filepath"]).read_bytes() for sample in samples]) == DIGESTS
    first = samples[0]
    assert first["subject"] == {"_cls": "Classification", "label": "panda"}
    assert first["tags"] == ["demo", "ok"]
    assert first["metadata"]["size_bytes"] == len(image_bytes(0))
    assert len(first["embedding"]) == 8
    assert isinstance(first["aesthetic"], float)


def test_csv_holds_every_row_and_leaves_the_images(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(gallery, out, "csv")
    with (out / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sha256"] for row in rows} == DIGESTS
    assert all((gallery.folder / row["file"]).is_file() for row in rows)
    assert {path.name for path in out.iterdir()} == {"rows.csv", "README.md", "export.json"}


def test_plain_names_follow_the_template(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(gallery, out, "plain", names="{subject}/{artist}-{seed:03d}-{plan_index}.png")
    with (out / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["file_name"] == "panda/Katsushika Hokusai-000-0.png"
    assert (
        rows[2]["file_name"] == "castle/Katsushika Hokusai-000-2.jpg"
    )  # what the file is, not what was asked
    for row in rows:
        assert hashlib.sha256((out / row["file_name"]).read_bytes()).hexdigest() == row["sha256"]


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_every_format_has_a_card_with_front_matter(gallery: Catalog, tmp_path: Path, format: str) -> None:
    from ruamel.yaml import YAML

    out = tmp_path / "out"
    export(gallery, out, format, license="CC-BY-4.0", asked={"where": "aesthetic > 0"}, title="Pandas | <b>")
    text = (out / "README.md").read_text()
    front = YAML(typ="safe").load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    assert front["pretty_name"] == "Pandas | <b>"
    body = text.split("---\n", 2)[2]
    assert "<b>" not in body
    for told in (
        "13 images",
        "embedded",
        "Apache-2.0",
        "Katsushika Hokusai (",
        "aesthetic",
        "nonesuch verify",
    ):
        assert told in body, told
    assert f"{IMAGES} of {IMAGES} images carry a signed content credential" in body
    assert "where `aesthetic > 0`" in body


def test_pictures_of_a_card_are_those_that_pillow_opens(gallery: Catalog, tmp_path: Path) -> None:
    export(gallery, tmp_path / "out", "hf-imagefolder")
    paths = sorted((tmp_path / "out" / "images").rglob("*.*"))
    assert len(paths) == IMAGES
    for path in paths:
        with Image.open(path) as image:
            assert image.info.get("parameters", "").startswith("kept") or image.info["comment"] == b"kept"
