"""Damage of every kind, done to a drawn folder, is found by `check` and healed by `run --repair`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moody_backend import Moody, MoodyKind

from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.mending import replace_rows, salvage, whole_rows
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, part_files, publish_shard, read_schema
from nonesuch.catalogs.storage.retention import Policy, retain
from nonesuch.flows.repair.checking import check_output
from nonesuch.flows.repair.damage_found import read_rows
from nonesuch.flows.reporting.progress import Tally, watched_by
from nonesuch.flows.run.output_folder import hold
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.images import decode_rgb
from nonesuch.generators.backends import BACKENDS

SWEEP = """\
name: noisy
model: noise
prompt: "a {subject}"
facets:
  subject: [panda, fox]
seeds: {count: 4}
settings: {width: 400, height: 64, steps: 1}
scoring: {scorers: [technical]}
shard_size: 3
"""
IMAGES = 8
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """A folder with the sweep file and the output `out` that it drew."""
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("drawn")
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep(folder / "sweep.yaml", folder / "out")
    return folder


@pytest.fixture
def out(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn / "out", tmp_path / "out"))


def run(drawn: Path, out: Path, **options: Any) -> Any:
    from nonesuch.flows.sweep import sweep

    return sweep(drawn / "sweep.yaml", out, **options)


class Told:
    """A watcher that keeps what a person should know."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def planned(self, total: int, already: int) -> None: ...

    def advanced(self, tally: Tally) -> None: ...

    def noted(self, text: str) -> None:
        self.notes.append(text)


def images(out: Path) -> list[Path]:
    return sorted((out / "images").rglob("*.png"))


def parts(out: Path) -> list[Path]:
    return part_files(out)


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    data[place] ^= 0xFF
    path.write_bytes(data)


def flip_value(part: Path) -> None:
    """Flip a byte among a part's values: a page's header holds statistics, too, which no reader of rows uses."""
    group = pq.read_metadata(part).row_group(0)
    chunk = max(
        (group.column(i) for i in range(group.num_columns)), key=lambda one: one.total_compressed_size
    )
    data = bytearray(part.read_bytes())
    first = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    data[first + chunk.total_compressed_size - 4] ^= 0xFF
    part.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def first(folder: str, pattern: str) -> Callable[[Path], Path]:
    return lambda out: sorted((out / folder).rglob(pattern))[0]


IMAGE, PACK, THUMBNAIL = first("images", "*.png"), first("manifests", "*.zip"), first("thumbnails", "*.webp")

# what is done → the kinds that check finds, and (images drawn again, rows made from files, images put back)
KINDS: dict[str, tuple[Damage, set[str], tuple[int, int, int]]] = {
    "image deleted": (lambda out: IMAGE(out).unlink(), {"missing"}, (1, 0, 0)),
    "image flipped": (lambda out: flip(IMAGE(out)), {"changed"}, (1, 0, 0)),
    "image cut short": (lambda out: truncate(IMAGE(out)), {"changed"}, (1, 0, 0)),
    "image empty": (lambda out: IMAGE(out).write_bytes(b""), {"changed"}, (1, 0, 0)),
    "image replaced": (lambda out: shutil.copy(images(out)[1], images(out)[0]), {"changed"}, (1, 0, 0)),
    "images swapped": (lambda out: swap(*images(out)[:2]), {"changed"}, (0, 0, 2)),
    "image renamed": (
        lambda out: IMAGE(out).rename(IMAGE(out).with_name("holiday.png")), {"missing"}, (0, 0, 1)
    ),
    "all images deleted": (lambda out: shutil.rmtree(out / "images"), {"missing"}, (IMAGES, 0, 0)),
    "part deleted": (lambda out: parts(out)[0].unlink(), set(), (0, -1, 0)),
    "part cut short": (lambda out: truncate(parts(out)[0]), {"part"}, (0, -1, 0)),
    "part flipped": (lambda out: flip_value(parts(out)[0]), {"part"}, (0, -1, 0)),
    "part empty": (lambda out: parts(out)[0].write_bytes(b""), {"part"}, (0, -1, 0)),
    "row doubled": (lambda out: shutil.copy(parts(out)[0], out / "catalog/noisy-again.parquet"), {"twice"}, (0, 0, 0)),
    "schema file deleted": (lambda out: (out / "catalog" / SCHEMA_FILE).unlink(), {"schema"}, (0, 0, 0)),
    "schema file junk": (lambda out: (out / "catalog" / SCHEMA_FILE).write_text("junk"), {"schema"}, (0, 0, 0)),
    "pack of manifests deleted": (lambda out: PACK(out).unlink(), {"manifest"}, (0, 0, 0)),
    "pack of manifests flipped": (lambda out: flip(PACK(out), 0.2), {"manifest"}, (0, 0, 0)),
    "pack of manifests cut short": (lambda out: truncate(PACK(out)), {"manifest"}, (0, 0, 0)),
    "thumbnail cut short": (lambda out: truncate(THUMBNAIL(out)), {"thumbnail"}, (0, 0, 0)),
    "copy of the sweep file junk": (lambda out: (out / "sweeps/noisy.yaml").write_text("name: ["), {"sweep file"}, (0, 0, 0)),
    "copy of the sweep file deleted": (lambda out: (out / "sweeps/noisy.yaml").unlink(), {"sweep file"}, (0, 0, 0)),
}  # fmt: skip


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found_and_healed(drawn: Path, out: Path, kind: str) -> None:
    damage, kinds, (again, made, put_back) = KINDS[kind]
    before = pd.read_parquet(out / "catalog").set_index("recipe_id")
    damage(out)
    found = check_output(out)
    assert set(found.kinds) == kinds
    if kinds or found.left_over:
        assert len(found.commands) == 1
        assert found.commands[0].endswith(f"--out {out} --repair")

    repaired = run(drawn, out, repair=True).repaired
    healed = check_output(out)
    assert (healed.rows, healed.files, healed.signatures) == (IMAGES, IMAGES, IMAGES)
    assert (healed.findings, healed.left_over, healed.commands) == ((), 0, ())
    assert (repaired.drawn, repaired.same) == (again, again)
    assert repaired.put_back == put_back
    assert (repaired.rows > 0) == (made != 0)
    after = pd.read_parquet(out / "catalog").set_index("recipe_id").loc[before.index]
    pairs = zip(after["phash"], before["phash"], strict=True)
    # rows made from files have the hashes of the marked picture
    assert all((one ^ other).bit_count() <= (8 if made else 0) for one, other in pairs)
    if not made:
        unchanged = ["prompt", "subject", "seed", "sharpness", "watermark_id", "status"]
        assert after[unchanged].equals(before[unchanged])
    assert run(drawn, out).planned == 0


@pytest.mark.usefixtures("prefect_server")
class TestRun:
    def test_a_plain_run_says_what_is_missing_and_how_to_heal_it(self, drawn: Path, out: Path) -> None:
        IMAGE(out).unlink()
        images(out)[0].write_bytes(b"")
        told = Told()
        with watched_by(told):
            summary = run(drawn, out)
        assert (summary.missing, summary.planned) == (2, 0)
        assert len(told.notes) == 1
        assert told.notes[0].endswith(f"nonesuch run {drawn / 'sweep.yaml'} --out {out} --repair")
        assert "2 catalogued images are missing" in summary.markdown()

    def test_what_is_replaced_is_kept_aside_and_every_step_is_logged(self, drawn: Path, out: Path) -> None:
        flip(IMAGE(out))
        edited, file = IMAGE(out).read_bytes(), IMAGE(out).relative_to(out)
        repaired = run(drawn, out, repair=True).repaired
        assert (out / repaired.aside / file).read_bytes() == edited
        log = [json.loads(line) for line in (out / "repairs.jsonl").read_text().splitlines()]
        assert [entry["did"] for entry in log] == ["changed file moved aside", "drawn again"]
        assert log[1]["file"] == file.as_posix()
        assert log[1]["pixels"] == "same"

    def test_rows_of_a_lost_part_are_made_from_files_and_never_from_edited_ones(
        self, drawn: Path, out: Path
    ) -> None:
        part = parts(out)[0]
        lost = pq.read_table(part).to_pylist()
        part.unlink()
        flip(out / lost[0]["file"])
        repaired = run(drawn, out, repair=True).repaired
        assert repaired.rows == len(lost) - 1
        found = {row["recipe_id"]: row for row in whole_rows(out, [row["recipe_id"] for row in lost])}
        for old in lost[1:]:
            new = found[old["recipe_id"]]
            kept = (
                "prompt",
                "subject",
                "seed",
                "sha256",
                "manifest_id",
                "credential_digest",
                "watermark_id",
                "file",
            )
            assert [new[name] for name in kept] == [old[name] for name in kept]
            assert new["device"] is None
            assert new["sharpness"] is not None
        assert found[lost[0]["recipe_id"]]["sha256"] != lost[0]["sha256"]
        assert check_output(out).findings == ()

    def test_a_flipped_page_loses_its_column_only(self, drawn: Path, out: Path) -> None:
        part = parts(out)[0]
        before = pd.read_parquet(part).set_index("recipe_id")
        with pq.ParquetFile(part) as file:
            chunk = file.metadata.row_group(0).column(file.schema_arrow.names.index("sharpness"))
        data = bytearray(part.read_bytes())
        data[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 0xFF
        part.write_bytes(data)
        assert len(salvage(part).torn) == len(before)
        assert run(drawn, out, repair=True).repaired.rows == len(before)
        after = pd.read_parquet(out / "catalog").set_index("recipe_id").loc[before.index]
        same = ["phash", "device", "draw_seconds", "drawn_at", "watermark_psnr"]
        assert after[same].astype(str).equals(before[same].astype(str))
        assert after["sharpness"].notna().all()

    def test_retained_files_are_neither_missing_nor_drawn_again(self, drawn: Path, out: Path) -> None:
        with hold(out):
            retain(out, Policy(where="seed = 0"), apply=True)
        summary = run(drawn, out)
        assert (summary.missing, summary.planned) == (0, 0)
        repaired = run(drawn, out, repair=True).repaired
        assert (repaired.drawn, repaired.rows, repaired.beyond) == (0, 0, ())
        assert len(images(out)) == IMAGES - 2

    def test_a_compacted_catalog_keeps_the_rows_that_can_be_read(self, drawn: Path, out: Path) -> None:
        compact(out)
        assert check_output(out).findings == ()
        index = sorted((out / "catalog").glob("_index-*"))[0]
        flip(index)
        IMAGE(out).unlink()
        found = check_output(out)
        assert set(found.kinds) == {"missing", "index"}
        assert run(drawn, out, repair=True).repaired.same == 1
        assert check_output(out).findings == ()

    def test_the_budget_ends_a_repair_and_the_next_one_draws_the_rest(
        self, drawn: Path, out: Path, tmp_path: Path
    ) -> None:
        tight = tmp_path / "tight.yaml"
        tight.write_text(SWEEP + "budget: {images: 3}\n")
        shutil.rmtree(out / "images")
        for drawn_now, left in ((3, 5), (3, 2), (2, 0)):
            from nonesuch.flows.sweep import sweep

            repaired = sweep(tight, out, repair=True).repaired
            assert (repaired.drawn, repaired.left) == (drawn_now, left)
        assert check_output(out).findings == ()

    def test_processes_repair_too(self, drawn: Path, out: Path) -> None:
        shutil.rmtree(out / "images")
        repaired = run(drawn, out, repair=True, engine={"name": "processes", "devices": 1}).repaired
        assert (repaired.drawn, repaired.same) == (IMAGES, IMAGES)
        assert check_output(out).findings == ()

    def test_a_recipe_that_another_sweep_has_a_row_of_gets_no_second_one(
        self, drawn: Path, out: Path, tmp_path: Path
    ) -> None:
        from nonesuch.flows.sweep import sweep

        twin = tmp_path / "twin.yaml"
        twin.write_text(SWEEP.replace("name: noisy", "name: twin"))
        left = out / "images/twin" / IMAGE(out).relative_to(out / "images/noisy")
        left.parent.mkdir(parents=True)
        shutil.copy(IMAGE(out), left)
        assert sweep(twin, out, repair=True).repaired.rows == 0
        assert check_output(out).rows == IMAGES

    def test_a_url_is_refused_by_name(self, drawn: Path) -> None:
        with pytest.raises(InputError, match=r"memory://bucket/out: --repair works in a folder"):
            run(drawn, "memory://bucket/out", repair=True)

    def test_a_recipe_that_cannot_be_drawn_any_more_keeps_its_row(self, tmp_path: Path) -> None:
        from nonesuch.flows.sweep import sweep

        BACKENDS.register("moody", MoodyKind)
        Moody.failing = False
        file, out = tmp_path / "moody.yaml", tmp_path / "out"
        file.write_text(
            'name: moody\nmodel: moody:1\nprompt: "a panda"\nseeds: {count: 4}\n'
            "settings: {width: 64, height: 64, steps: 1}\nscoring: {scorers: []}\n"
        )
        sweep(file, out)
        before = pd.read_parquet(out / "catalog").set_index("recipe_id").sort_index()
        edited = out / before[before["seed"] == 1]["file"].iloc[0]
        for path in images(out):
            path.unlink()
        edited.write_bytes(b"edited")
        Moody.failing = True
        summary = sweep(file, out, repair=True)
        assert (summary.repaired.failed, summary.repaired.drawn, summary.failed) == (1, 3, 1)
        after = pd.read_parquet(out / "catalog").set_index("recipe_id").sort_index()
        assert list(after["status"]) == list(before["status"])
        assert edited.read_bytes() == b"edited"
        assert check_output(out).kinds == {"changed": 1}


def test_images_of_other_sweeps_get_a_command_each_and_imported_ones_a_reason(
    drawn: Path, out: Path, tmp_path: Path
) -> None:
    from nonesuch.flows.sweep import sweep

    other = tmp_path / "other one.yaml"
    other.write_text(SWEEP.replace("noisy", "other").replace("count: 4", "count: 1, base: 9"))
    sweep(other, out)
    row = whole_rows(out, [pd.read_parquet(out / "catalog")["recipe_id"][0]])[0]
    imported = row | {
        "recipe_id": "ab" * 32, "sweep": "imported", "init_digest": "ab" * 32, "file": "images/imported/cat.png",
        "credential_digest": None,
    }  # fmt: skip
    schema = read_schema(out)
    assert schema is not None
    publish_shard(out, "imported-1", [imported], schema)
    for sweep_name in ("noisy", "other"):
        sorted((out / "images" / sweep_name).rglob("*.png"))[0].unlink()
    found = check_output(out)
    assert [
        f"{out}/sweeps/{name}.yaml" in line
        for name, line in zip(("noisy", "other"), found.commands, strict=True)
    ]
    (found_foreign,) = (finding for finding in found.findings if finding.sweep == "imported")
    assert found_foreign.beyond is not None
    assert "import it again" in found_foreign.beyond
    repaired = run(drawn, out, repair=True).repaired
    assert repaired.drawn == 1
    assert repaired.beyond == (
        "1 images of other are missing or cut short, too: run that sweep with --repair",
    )
    assert len(check_output(out).commands) == 1


def test_the_embedded_model_draws_the_same_pixels(tmp_path: Path, prefect_server: str) -> None:
    from nonesuch.flows.sweep import sweep

    file, out = tmp_path / "panda.yaml", tmp_path / "out"
    file.write_text(
        'name: panda\nmodel: embedded\nprompt: "a photo of a panda"\nseeds: {count: 2}\nsettings: {steps: 2}\n'
        "scoring: {scorers: [alignment]}\n"
    )
    sweep(file, out)
    pixels = [decode_rgb(path.read_bytes(), where=path.name) for path in images(out)]
    names = [path.name for path in images(out)]
    shutil.rmtree(out / "images")
    repaired = sweep(file, out, repair=True).repaired
    assert (repaired.drawn, repaired.same) == (2, 2)
    assert [path.name for path in images(out)] == names
    again = [decode_rgb(path.read_bytes(), where=path.name) for path in images(out)]
    assert all((one == other).all() for one, other in zip(pixels, again, strict=True))
    assert check_output(out).findings == ()


def test_a_row_takes_the_place_of_another_and_costs_add_up(drawn: Path, out: Path) -> None:
    schema = read_schema(out)
    assert schema is not None
    old = whole_rows(out, list(pd.read_parquet(out / "catalog")["recipe_id"][:4]))
    assert replace_rows(out, [row | {"cost": 0.25} for row in old], schema) == 4
    assert replace_rows(out, [row | {"cost": 0.5, "prompt": "new"} for row in old[:2]], schema) == 2
    unknown = old[0] | {"recipe_id": "0" * 64}
    assert replace_rows(out, [unknown], schema) == 0
    table = pd.read_parquet(out / "catalog").set_index("recipe_id")
    assert len(table) == IMAGES
    assert sorted(table["cost"].dropna()) == [0.25, 0.25, 0.75, 0.75]
    assert (table["prompt"] == "new").sum() == 2


@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_flipped_byte_in_a_part_is_damage_or_harmless_and_never_another_error(
    drawn: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bits: int
) -> None:
    part = parts(drawn / "out")[0]
    data = bytearray(part.read_bytes())
    data[int(place * len(data))] ^= bits
    flipped = tmp_path_factory.mktemp("flip") / part.name
    flipped.write_bytes(data)
    try:
        found = len(read_rows(flipped))
    except CatalogError:
        found = None
    count = pq.read_metadata(part).num_rows
    assert found in (None, count)
    saved = salvage(flipped)
    assert len(saved.torn) + (0 if saved.whole is None else saved.whole.num_rows) in (0, count)
