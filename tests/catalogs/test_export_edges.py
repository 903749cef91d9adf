"""Where exports could go wrong: names, folders that are taken, missing and changed files, kills."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import string
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from export_samples import COUNT, make_gallery
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.catalogs.exports.export_job import ExportRequest
from nonesuch.catalogs.exports.names import NameTemplate, safe_part, unique_names
from nonesuch.catalogs.exports.run import export_catalog
from nonesuch.catalogs.exports.selection import select
from nonesuch.catalogs.query import Catalog
from nonesuch.foundation.errors import CatalogError, InputError, StorageError

pytestmark = pytest.mark.slow

IMAGES = COUNT - 1


@pytest.fixture
def gallery(tmp_path: Path) -> Catalog:
    return make_gallery(tmp_path / "gallery")


def export(
    catalog: Catalog, out: Path, format: str = "hf-imagefolder", *, replace: bool = False, **more: Any
):
    return export_catalog(select(catalog), out, ExportRequest(format, **more), replace=replace)


def files_of(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("export.json", "README.md")
    }


def test_a_folder_that_holds_anything_is_left_alone(gallery: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    for replace in (False, True):
        with pytest.raises(InputError, match="is there already"):
            export(gallery, out, replace=replace)
    assert (out / "diary.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    (out / "diary.txt").unlink()
    export(gallery, out)  # an empty folder is fine
    with pytest.raises(InputError, match="--replace"):
        export(gallery, out)
    export(gallery, out, "csv", replace=True)
    assert (out / "rows.csv").exists()
    assert not (out / "images").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "out"]


def test_the_folder_one_stands_in_may_be_named(
    gallery: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(gallery, Path(), "csv")
    assert (tmp_path / "here" / "rows.csv").is_file()


def test_missing_and_cut_files_are_left_out_and_told(gallery: Catalog, tmp_path: Path) -> None:
    paths = sorted((gallery.folder / "images").rglob("*.png"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    done = export(gallery, tmp_path / "out")
    assert done.images == IMAGES - 2
    assert sorted(Path(left.file).name for left in done.left_out) == [paths[0].name, paths[1].name]
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert {left["reason"].split()[-1] for left in told["left_out"]} >= {"missing"}
    assert "2 images were left out" in (tmp_path / "out" / "README.md").read_text()


def test_a_file_that_was_changed_stops_the_export(gallery: Catalog, tmp_path: Path) -> None:
    path = sorted((gallery.folder / "images").rglob("*.png"))[3]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CatalogError, match="SHA-256 differs"):
        export(gallery, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_can_not_fetch_files_from_elsewhere(gallery: Catalog, tmp_path: Path) -> None:
    from catalog_samples import SCHEMA, make_row

    from nonesuch.catalogs.storage.parts import publish_shard

    (tmp_path / "secret.png").write_bytes(b"private")
    row = make_row(99) | {"file": "../secret.png", "bytes": 7, "sha256": "0" * 64}
    publish_shard(gallery.folder, "evil-0", [row], SCHEMA)
    with pytest.raises(CatalogError, match="outside the output folder"):
        export(gallery, tmp_path / "out")


def test_folders_of_this_machine_stay_out(tmp_path: Path) -> None:
    from catalog_samples import SCHEMA, make_row

    from nonesuch.catalogs.storage.parts import publish_shard

    models = [
        "/home/lovelace/models/sd15",
        "C:\\Users\\lovelace\\dream.safetensors",
        "owner/hub-id",
        "embedded",
    ]
    root = tmp_path / "gallery"
    root.mkdir()
    for index, model in enumerate(models):
        (root / f"{index}.png").write_bytes(b"x")
        row = make_row(index, sweep=f"s{index}") | {"model": model, "file": f"{index}.png", "sha256": None}
        row |= {"loras": json.dumps([["/home/lovelace/loras/ink.safetensors", "d", 0.5]])}
        publish_shard(root, f"s{index}-0", [row], SCHEMA)
    chosen = select(Catalog(root), order=["plan_index"])
    assert [name for name, _ in chosen.models] == sorted(models)
    assert [(loss.what, loss.count) for loss in chosen.losses] == [("model", 2), ("loras", 4)]
    request = ExportRequest("hf-imagefolder", jsonl=True, model_licenses={models[0]: "openrail"})
    export_catalog(chosen, tmp_path / "out", request)
    told = "".join(path.read_text() for path in (tmp_path / "out").glob("*.*") if path.is_file())
    assert "lovelace" not in told
    assert "| sd15 |" in told
    assert "openrail" in told
    assert "owner/hub-id" in told
    assert "ink.safetensors" in told


def test_nothing_to_export_is_said(gallery: Catalog) -> None:
    with pytest.raises(InputError, match="no image meets"):
        select(gallery, where="subject = 'unicorn'")
    with pytest.raises(InputError, match="unknown export format 'zip'"):
        export(gallery, Path("nowhere"), "zip")
    with pytest.raises(InputError, match="no column 'mood'"):
        select(gallery, split_by="mood")


@pytest.mark.parametrize(
    "template",
    ["../{subject}", "/etc/{subject}", "a//b", "{subject}/../{seed}", "", ".", "{mood}", "{subject!r}",
     "{subject.__class__}", "{subject[0]}", "{seed:{width}}", "{subject"],
)  # fmt: skip
def test_templates_that_lead_astray_are_refused(gallery: Catalog, tmp_path: Path, template: str) -> None:
    with pytest.raises(InputError):
        export(gallery, tmp_path / "out", "plain", names=template)
    assert not (tmp_path / "out").exists()


def test_equal_names_are_refused_or_numbered(gallery: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two images would be called"):
        export(gallery, tmp_path / "out", "plain", names="{subject}")
    done = export(gallery, tmp_path / "out", "plain", names="{subject}", number_names=True)
    names = {path.name for path in (tmp_path / "out").iterdir()} - {
        "README.md",
        "export.json",
        "metadata.csv",
    }
    assert len(names) == done.images
    assert {"panda.png", "panda-2.png", "fox.png"} <= names


def test_numbers_step_over_names_that_are_taken() -> None:
    assert unique_names(["a.png", "a-2.png", "A.png", "a.png"], number=True) == [
        "a.png", "a-2.png", "A-3.png", "a-4.png",
    ]  # fmt: skip
    with pytest.raises(InputError, match="a file and a folder"):
        unique_names(["a.png", "a.png/b.png"], number=True)


@given(
    st.text(max_size=300),
    st.text(max_size=40),
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=20)),
)
def test_any_value_makes_a_name_below_the_folder(subject: str, artist: str, seed: Any) -> None:
    template = NameTemplate("{subject}/{artist}-{seed}.png", ["subject", "artist", "seed"])
    path = PurePosixPath(template.fill({"subject": subject, "artist": artist, "seed": seed}, ".png")[0])
    assert len(path.parts) == 2
    assert not path.is_absolute()
    for part in path.parts:
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 255
        assert not set(part) & set('/\\:*?"<>|\0\n')
        assert part == part.strip()
        assert not part.startswith(".")


@given(st.lists(st.text(string.ascii_letters + "-2", min_size=1, max_size=3), max_size=30))
def test_numbered_names_are_unique_whatever_they_are(stems: list[str]) -> None:
    names = unique_names([f"{stem}.png" for stem in stems], number=True)
    assert len({name.casefold() for name in names}) == len(stems)


def test_names_of_devices_are_avoided() -> None:
    assert safe_part("CON") == "_CON"
    assert safe_part("nul.txt") == "_nul.txt"
    assert safe_part(" .. ") == "_"
    assert safe_part("\xa0. x .\u2003") == "x"
    assert safe_part("a\u202egnp.exe") == "a_gnp.exe"


def _export_until_killed(gallery: Path, out: Path, format: str, after: int) -> None:
    done = 0

    def progress(now: int, total: int) -> None:
        nonlocal done
        done += 1
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    export_catalog(select(Catalog(gallery)), out, ExportRequest(format, images_per_file=4), progress=progress)


@pytest.mark.parametrize("format", ["hf-imagefolder", "webdataset", "hf-parquet"])
def test_a_killed_export_leaves_nothing_half_and_goes_on(
    gallery: Catalog, tmp_path: Path, format: str
) -> None:
    out, calm = tmp_path / "out", tmp_path / "calm"
    export(gallery, calm, format, images_per_file=4)
    context = multiprocessing.get_context("forkserver")
    for after in (2, 6, 11):
        process = context.Process(target=_export_until_killed, args=(gallery.folder, out, format, after))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not out.exists()
    partial = tmp_path / ".out.partial"
    kept = {
        path.name: path.stat().st_ino
        for path in partial.rglob("*")
        if path.suffix in (".tar", ".parquet", ".png")
    }
    assert kept
    export(gallery, out, format, images_per_file=4)
    assert files_of(out) == files_of(calm)
    now = {path.name: path.stat().st_ino for path in out.rglob("*") if path.name in kept}
    assert now == kept  # what was finished before the kills was not written again
    assert not partial.exists()


def test_another_choice_does_not_go_on_with_a_stage(gallery: Catalog, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    out = tmp_path / "out"
    process = context.Process(target=_export_until_killed, args=(gallery.folder, out, "hf-imagefolder", 9))
    process.start()
    process.join()
    chosen = select(gallery, where="subject = 'fox'")
    export_catalog(chosen, out, ExportRequest("hf-imagefolder"))
    assert len(list((out / "images").rglob("*.*"))) == chosen.table.num_rows < 9


def test_two_exports_to_one_place_do_not_meet(gallery: Catalog, tmp_path: Path) -> None:
    def progress(now: int, total: int) -> None:
        if now == 2:
            with pytest.raises(StorageError, match="another export"):
                export(gallery, tmp_path / "out")

    export_catalog(select(gallery), tmp_path / "out", ExportRequest("plain"), progress=progress)
    assert len(list((tmp_path / "out").glob("*.*"))) == IMAGES + 3
