"""What is laid beside an image, or imported, never lowers its verdict: real files, real catalogs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.storage.parts import prepare_catalog, publish_shard
from nonesuch.cli.app import app
from nonesuch.flows.catalog_folder import CatalogFolder
from nonesuch.foundation.errors import ProvenanceError
from nonesuch.foundation.images import RGB
from nonesuch.importing.folders import ImportOptions, import_folders
from nonesuch.marking.recovering import recover_from
from nonesuch.provenance.credentials.reading import sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.request import MarkRequest
from nonesuch.provenance.signing.signer import open_signer
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import verify_bytes
from nonesuch.provenance.verifying.verify_options import VerifyOptions
from nonesuch.provenance.watermark import embed

PAYLOAD = 0x0C65_7626_CE18_AB90
RECIPE_ID = f"{PAYLOAD:016x}" + "0" * 48
GRADES = ["none", "claimed", "strong", "proven"]
BY_MODEL = ("ai-generated", "ai-edited")
CAMERA_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/></rdf:RDF></x:xmpmeta>'
)


def picture(seed: int, size: int = 256) -> RGB:
    rng = np.random.default_rng(seed)
    out = np.zeros((size, size, 3))
    for cells in (4, 8, 16, 32, 64):
        out += np.kron(
            rng.normal(0, 60 / np.sqrt(cells), (cells, cells, 3)), np.ones((size // cells,) * 2 + (1,))
        )
    return np.clip(out + 128, 0, 255).astype(np.uint8)


def encoded(image: RGB, format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **{"quality": 85, **options})
    return file.getvalue()


def camera(data: bytes) -> bytes:
    """The file with a camera's EXIF and an XMP packet that says digitalCapture, its pixels as they are."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "EOS R5"
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        kept = {"quality": "keep"} if image.format == "JPEG" else {}
        image.save(file, image.format, exif=exif, xmp=CAMERA_XMP.encode(), **kept)
    return file.getvalue()


opened = cache(CatalogFolder)


@dataclass(frozen=True)
class World:
    """The files that are asked about, and every catalog that they are looked up in."""

    folder: Path
    drawn: MarkedFile
    files: dict[str, bytes]
    catalogs: dict[str, Path]
    trust: TrustSet

    def ask(self, data: bytes, catalog: Path | None = None) -> Verdict:
        lookup = None if catalog is None else opened(catalog)
        return verify_bytes(data, "picture", VerifyOptions(catalog=lookup, search="aligned"), self.trust)


def draw(out: Path, drawn: MarkedFile, **changes: Any) -> Path:
    """A catalog with the row of a drawn image."""
    file = out / "images" / "fox.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(drawn.data)
    row = {
        "recipe_id": RECIPE_ID, "sweep": "foxes", "status": "ok", "backend": "diffusers", "model": "embedded",
        "prompt": "a fox", "seed": 7, "width": 256, "height": 256, "steps": 20, "loras": "[]", "options": "{}",
        **perceptual_hashes(drawn.image), "watermark_id": PAYLOAD, "source_type": "trainedAlgorithmicMedia",
        "file": "images/fox.png", "sha256": drawn.sha256, "credential_digest": drawn.manifest_digest,
    }  # fmt: skip
    prepare_catalog(out, catalog_schema({}, {}, None))
    publish_shard(out, "foxes-0", [row | changes], catalog_schema({}, {}, None))
    return out


def enter(out: Path, files: Iterable[Path], **options: Any) -> Path:
    """A catalog into which files were imported; their marks read as they stand, unless `options` say otherwise."""
    wanted = ImportOptions(**{"scorers": (), "search": "aligned", **options})
    assert {done.status for done in import_folders(files, out, wanted)} == {"imported"}
    return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    recipe = {"prompt": "a fox", "seed": 7, "steps": 20, "width": 256, "height": 256}
    drawn = mark_image(picture(1), MarkRequest(PAYLOAD, recipe, "fox.png", "embedded", "1"), open_signer())
    unmarked = MarkRequest(PAYLOAD, recipe, "fox.png", "embedded", watermark=None, credentials=False)
    bare = mark_image(picture(5), unmarked)
    told = PngInfo()
    told.add_text("parameters", "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 256x256")
    files = {
        "signed": drawn.data,
        "stripped": encoded(drawn.image),
        "claimed": encoded(picture(2), "PNG", pnginfo=told),
        "photograph": encoded(picture(3)),
        "near": encoded(bare.image, quality=60),
        "copied mark": encoded(embed(picture(4), PAYLOAD), quality=95),
    }
    paths = []
    (folder / "in").mkdir()
    for name, data in files.items():
        paths.append(folder / "in" / f"{name}{'.png' if sniff_mime(data) == 'image/png' else '.jpg'}")
        paths[-1].write_bytes(data)
    row_of_bare = {**perceptual_hashes(bare.image), "sha256": bare.sha256, "watermark_id": 0}
    catalogs = {
        "drawn": draw(folder / "drawn", drawn),
        "drawn without mark": draw(folder / "bare", bare, **row_of_bare),
        "imported": enter(folder / "imported", paths),
        "imported, marks unread": enter(folder / "unread", paths, search="none"),
        "imported as photographs": enter(folder / "photographs", paths, source_type="digitalCapture"),
        "drawn and imported": enter(draw(folder / "both", drawn), paths[1:]),
        "near and imported": enter(draw(folder / "near", bare, **row_of_bare), paths),
        "removed": draw(folder / "removed", drawn, file=None, status="removed"),
        "failed": draw(folder / "failed", drawn, file=None, status="failed", watermark_id=0, phash=0, sha256=None),
    }  # fmt: skip
    (folder / "empty").mkdir()
    prepare_catalog(folder / "empty", catalog_schema({}, {}, None))
    damaged = draw(folder / "damaged", drawn)
    (damaged / "catalog" / "foxes-0.parquet").write_bytes(b"PAR1 no more")
    names = ("source_type", "ways", "parent", "dtype", "init_digest")
    older = pa.schema([field for field in catalog_schema({}, {}, None) if field.name not in names])
    row = {
        "recipe_id": RECIPE_ID,
        "sweep": "foxes",
        "status": "ok",
        "file": "gone.png",
        "watermark_id": PAYLOAD,
    }
    publish_shard(folder / "older", "foxes-0", [row | perceptual_hashes(drawn.image)], older)
    catalogs |= {"empty": folder / "empty", "damaged": damaged, "older": folder / "older"}
    return World(folder, drawn, files, catalogs, load_trust())


def check_not_lower(before: Verdict, after: Verdict, what: str) -> None:
    """docs/verify.md, "Nothing is silenced"."""
    told = f"{what}: {before.verdict} ({before.confidence}) became {after.verdict} ({after.confidence})"
    if after.verdict == "conflict":
        assert any(item.says == "conflict" and item.detail for item in after.evidence), told
        return
    assert before.verdict != "conflict", told
    assert GRADES.index(after.confidence) >= GRADES.index(before.confidence), told
    assert before.verdict not in BY_MODEL or after.verdict in BY_MODEL, told


def test_naming_a_catalog_or_adding_metadata_never_lowers_a_verdict(world: World) -> None:
    alone = {name: world.ask(data) for name, data in world.files.items()}
    assert {name: (one.verdict, one.confidence) for name, one in alone.items()} == {
        "signed": ("ai-generated", "proven"), "stripped": ("ai-generated", "strong"),
        "claimed": ("ai-generated", "claimed"), "photograph": ("no-evidence", "none"),
        "near": ("no-evidence", "none"), "copied mark": ("ai-generated", "strong"),
    }  # fmt: skip
    dressed = {name: camera(world.files[name]) for name in ("stripped", "photograph")}
    for name, data in dressed.items():
        check_not_lower(alone[name], world.ask(data), f"{name} with a camera's metadata")
    for shelf, catalog in world.catalogs.items():
        for name, data in world.files.items():
            after = world.ask(data, catalog)
            check_not_lower(alone[name], after, f"{name} with the catalog {shelf}")
            if name == "photograph":
                assert after.verdict == "no-evidence", shelf  # not generated for having been imported
            if name in dressed:
                check_not_lower(after, world.ask(dressed[name], catalog), f"{name} dressed, with {shelf}")


def test_importing_never_lowers_what_a_catalog_told(world: World) -> None:
    pairs = (
        ("drawn", "drawn and imported"),
        ("drawn without mark", "near and imported"),
        ("empty", "imported"),
    )
    for before, after in pairs:
        for name, data in world.files.items():
            told = [world.ask(data, world.catalogs[one]) for one in (before, after)]
            check_not_lower(told[0], told[1], f"{name}, from {before} to {after}")
    near = world.ask(world.files["near"], world.catalogs["near and imported"])
    assert (near.verdict, near.confidence) == ("ai-generated", "strong")
    assert near.catalog is not None
    assert near.catalog["image_id"] == RECIPE_ID


def test_a_mark_copied_onto_another_picture_stays_a_conflict_after_its_import(world: World) -> None:
    after = world.ask(world.files["copied mark"], world.catalogs["drawn and imported"])
    assert after.verdict == "conflict"
    assert "shows another image" in " ".join(item.detail for item in after.evidence)
    copied = world.folder / "in" / "copied mark.jpg"
    with pytest.raises(ProvenanceError, match="another image"):
        recover_from(world.catalogs["drawn and imported"], copied)


def test_a_strangers_credential_on_a_copied_mark_stays_a_conflict_after_its_import(
    world: World, tmp_path: Path
) -> None:
    lifted = MarkRequest(PAYLOAD, {"prompt": "mine"}, "x.png", "embedded")
    (tmp_path / "x.png").write_bytes(mark_image(picture(8), lifted, open_signer(tmp_path / "home")).data)
    before = world.ask((tmp_path / "x.png").read_bytes(), world.catalogs["drawn"])
    assert before.verdict == "conflict"
    catalog = enter(draw(tmp_path / "out", world.drawn), [tmp_path / "x.png"])
    after = world.ask((tmp_path / "x.png").read_bytes(), catalog)
    assert after.verdict == "conflict"


def test_a_copys_row_neither_hides_the_drawn_row_nor_is_taken_for_a_recipe(
    world: World, tmp_path: Path
) -> None:
    told = world.ask(world.files["stripped"], world.catalogs["drawn and imported"])
    assert told.catalog is not None
    assert (told.catalog["image_id"], told.catalog["found_by"]) == (RECIPE_ID, "watermark")
    assert told.recipe is not None
    assert (told.recipe["prompt"], told.recipe["source"]) == ("a fox", "catalog")
    assert sum("is this very file" in item.detail for item in told.evidence) == 1
    alone = enter(tmp_path / "out", [world.folder / "in" / "stripped.jpg"])
    assert world.ask(world.files["stripped"], alone).recipe is None
    back = recover_from(world.catalogs["drawn and imported"], world.folder / "in" / "stripped.jpg")
    assert back is not None
    assert back.recovery.original == world.drawn.data


def test_rows_that_contradict_one_another_are_a_conflict_with_its_reason(
    world: World, tmp_path: Path
) -> None:
    copy = world.folder / "in" / "stripped.jpg"
    catalog = enter(draw(tmp_path / "out", world.drawn), [copy], source_type="digitalCapture")
    verdict = world.ask(copy.read_bytes(), catalog)
    assert verdict.verdict == "conflict"
    reason = next(item.detail for item in verdict.evidence if item.says == "conflict")
    assert "digitalCapture" in reason
    assert "images/fox.png" in reason


def test_a_catalog_that_can_not_be_read_costs_an_error_and_no_evidence(world: World) -> None:
    verdict = world.ask(world.files["stripped"], world.catalogs["damaged"])
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "strong", "unsigned")
    assert verdict.error is not None
    assert "foxes-0.parquet" in verdict.error
    assert str(world.folder) not in json.dumps(verdict.to_json())  # a server tells it to strangers


def test_many_copies_do_not_hide_the_drawn_row(world: World, tmp_path: Path) -> None:
    for quality in range(50, 90, 2):
        (tmp_path / f"{quality}.jpg").write_bytes(encoded(world.drawn.image, quality=quality))
    catalog = enter(draw(tmp_path / "out", world.drawn), sorted(tmp_path.glob("*.jpg")))
    lookup = CatalogFolder(catalog)
    assert lookup.by_watermark(PAYLOAD)[0].image_id == RECIPE_ID
    phash = perceptual_hashes(world.drawn.image)["phash"]
    assert RECIPE_ID in [record.image_id for record, _ in lookup.by_phash(phash, 6)]


def test_an_import_records_the_watermark_and_where_it_leads(world: World, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    small = Image.fromarray(world.drawn.image).resize((205, 205))
    (tmp_path / "in" / "small.jpg").write_bytes(encoded(np.asarray(small), quality=90))
    (tmp_path / "in" / "copied.jpg").write_bytes(world.files["copied mark"])
    (tmp_path / "in" / "photograph.jpg").write_bytes(world.files["photograph"])
    out = draw(tmp_path / "out", world.drawn)
    told = CliRunner().invoke(app, ["import", str(tmp_path / "in"), "--out", str(out), "--scorers", "none"])
    assert told.exit_code == 0, told.output
    assert "3 imported, 0 known, 0 broken" in told.stderr
    assert "2 images have a watermark" in told.stderr
    mark = f"{PAYLOAD:016x}"
    assert f"small.jpg: {mark}, a copy of the catalog's image {RECIPE_ID[:16]}\n" in told.stderr
    assert f"copied.jpg: {mark}, copied from the catalog's image {RECIPE_ID[:16]}, which shows" in told.stderr
    found = Catalog(out).query("sweep = 'imported'", as_arrow=True).to_pylist()
    rows = {Path(row["file"]).stem: (row["watermark_id"], json.loads(row["options"])) for row in found}
    assert rows["small"][0] == rows["copied"][0] == PAYLOAD
    assert rows["photograph"][0] == 0
    link = {"watermark_from": "pixels", "watermark_of": RECIPE_ID, "watermark_shows_it": True}
    assert rows["small"][1].items() >= link.items()
    assert rows["copied"][1].items() >= (link | {"watermark_shows_it": False}).items()


def test_an_import_finds_a_secret_mark_only_with_its_key(tmp_path: Path) -> None:
    key = b"k" * 32
    (tmp_path / "a.png").write_bytes(encoded(embed(picture(6), PAYLOAD, key=key), "PNG"))
    for number, (secret, found) in enumerate(((None, None), (key, f"{PAYLOAD:016x}"))):
        options = ImportOptions(scorers=(), search="aligned", watermark_key=secret)
        (done,) = import_folders([tmp_path / "a.png"], tmp_path / f"out{number}", options)
        assert done.watermark == found


def test_a_manifest_beside_a_file_does_not_hide_the_files_own(world: World, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(world.drawn.data)
    other = mark_image(picture(7), MarkRequest(5, {}, "other.png", "embedded"), open_signer())
    (tmp_path / "fox.c2pa").write_bytes(other.manifest or b"")
    enter(tmp_path / "out", [tmp_path / "fox.png"])
    (row,) = Catalog(tmp_path / "out").query(as_arrow=True).to_pylist()
    assert (row["prompt"], row["manifest_id"]) == ("a fox", world.drawn.manifest_id)
    assert json.loads(row["options"])["watermark_from"] == "credential"
