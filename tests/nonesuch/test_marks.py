"""`nonesuch mark`, `keys stamp`, `keys watermark` and `recover`, as a person runs them."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.command_line import nonesuch

sys.path.append(str(Path(__file__).parents[1] / "provenance"))
from provenance_samples import picture
from timestamp_authority import authority

from nonesuch.catalogs.query import Catalog
from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.marking.late_timestamps import stamp_paths
from nonesuch.marking.marking_files import mark_files
from nonesuch.marking.recovering import CatalogFolder, recover_from
from nonesuch.provenance.request import SignerChoice
from nonesuch.provenance.sidecar import read_manifest
from nonesuch.provenance.signing import keys
from nonesuch.provenance.verifying.verify import verify_file
from nonesuch.web.repository import Repository

pytestmark = pytest.mark.slow

AWAY = "http://127.0.0.1:9/"  # the discard port: nothing listens there
A1111 = "a fox\nNegative prompt: dog\nSteps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 5, Size: 64x64, Model: mini"


def drawn(folder: Path, name: str = "theirs.png", seed: int = 3) -> Path:
    """A picture of another program, with AUTOMATIC1111's parameters."""
    info = PngInfo()
    info.add_text("parameters", A1111)
    Image.fromarray(picture(seed)).save(folder / name, pnginfo=info if name.endswith("png") else None)
    return folder / name


def stripped(folder: Path, path: Path) -> Path:
    """A JPEG copy without any metadata."""
    Image.fromarray(np.asarray(Image.open(path).convert("RGB"))).save(folder / "stripped.jpg", quality=85)
    return folder / "stripped.jpg"


def test_a_marked_picture_comes_back_with_what_its_metadata_told(tmp_path: Path) -> None:
    path, catalog = drawn(tmp_path), tmp_path / "out"
    (done,) = mark_files([path], catalog / "images", catalog=catalog, source_type="trainedAlgorithmicMedia")
    assert done.error is None
    row = Catalog(catalog).query(as_arrow=True).to_pylist()[0]
    assert (row["prompt"], row["negative_prompt"], row["seed"], row["steps"]) == ("a fox", "dog", 5, 20)
    assert (row["guidance_scale"], row["model"], row["source_type"]) == (
        7.5, "mini", "trainedAlgorithmicMedia",
    )  # fmt: skip
    assert read_manifest(catalog, row["credential_digest"]) is not None
    Path(str(done.out)).unlink()  # the sidecar store has its manifest still
    found = recover_from(catalog, stripped(tmp_path, path))
    assert found is not None
    assert found.recovery.manifest is not None
    assert found.to_json()["prompt"] == "a fox"


def test_ones_own_certificate_signs(tmp_path: Path) -> None:
    pair = keys.load_or_make(tmp_path / "authority", algorithm="ps256")
    (tmp_path / "chain.pem").write_text(pair.chain_pem())
    (tmp_path / "key.pem").write_bytes(pair.key_pem())
    (tmp_path / "key.pem").chmod(0o600)
    own = ["--certificate", tmp_path / "chain.pem", "--key", tmp_path / "key.pem", "--algorithm", "ps256"]
    told = nonesuch("mark", drawn(tmp_path), "--out", tmp_path / "out", *own)
    assert told.returncode == 0, told.stderr
    verdict = verify_file(tmp_path / "out" / "theirs.png", search="aligned")
    assert (verdict.integrity, verdict.trust) == ("intact", "unlisted")


def test_marking_again_brings_the_row_up_to_date(tmp_path: Path) -> None:
    path, catalog = drawn(tmp_path), tmp_path / "out"
    for _ in range(2):
        list(mark_files([path], catalog / "images", catalog=catalog))
    rows = Catalog(catalog).query(as_arrow=True).to_pylist()
    assert len(rows) == 1
    assert rows[0]["sha256"] == keys_digest(catalog / rows[0]["file"])


def keys_digest(path: Path) -> str:
    from nonesuch.foundation.files import file_digest

    return file_digest(path)


def test_a_photograph_that_was_marked_is_not_called_generated_by_the_catalog(tmp_path: Path) -> None:
    path, catalog = drawn(tmp_path, "photo.jpg"), tmp_path / "out"
    list(mark_files([path], catalog / "images", catalog=catalog))
    verdict = verify_file(stripped(tmp_path, path), catalog_lookup=CatalogFolder(catalog), search="aligned")
    assert verdict.catalog is not None
    assert (verdict.verdict, verdict.confidence) == ("no-evidence", "none")


def test_a_photograph_that_lost_everything_is_not_called_generated(tmp_path: Path) -> None:
    path = drawn(tmp_path, "photo.jpg")
    (unsaid,) = mark_files([path], tmp_path / "unsaid")
    (said,) = mark_files([path], tmp_path / "said", source_type="trainedAlgorithmicMedia")
    verdict = verify_file(stripped(tmp_path, Path(str(unsaid.out))), search="aligned")
    assert verdict.watermark is not None
    assert verdict.watermark["payload"] == unsaid.watermark_id
    assert (verdict.verdict, verdict.confidence) == ("no-evidence", "none")
    verdict = verify_file(stripped(tmp_path, Path(str(said.out))), search="aligned")
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")
    (again,) = mark_files([Path(str(said.out))], tmp_path / "again")  # its credential says what it is
    verdict = verify_file(stripped(tmp_path, Path(str(again.out))), search="aligned")
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")


def test_a_secret_key_marks_and_finds(tmp_path: Path) -> None:
    made = nonesuch("keys", "watermark", tmp_path / "mark.key")
    assert made.returncode == 0, made.stderr
    key = tmp_path / "mark.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert nonesuch("keys", "watermark", key).returncode == 2
    path, catalog = drawn(tmp_path), tmp_path / "out"
    told = nonesuch(
        "mark", path, "--out", catalog / "images", "--catalog", catalog, "--watermark-key", key, "--json"
    )
    assert told.returncode == 0, told.stderr
    secret = key.read_text().strip()
    assert secret not in told.stdout + told.stderr
    copy = stripped(tmp_path, Path(json.loads(told.stdout)["out"]))
    blind = json.loads(nonesuch("verify", copy, "--json").stdout)
    seeing = json.loads(nonesuch("verify", copy, "--json", "--watermark-key", key).stdout)
    assert blind["watermark"] is None
    assert seeing["watermark"]["payload"] == json.loads(told.stdout)["watermark_id"]
    found = nonesuch("recover", copy, "--catalog", catalog, "--watermark-key", key, "--json")
    assert json.loads(found.stdout)["found_by"] == "watermark"
    assert not [p for p in catalog.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]


def test_queued_images_of_a_catalog_are_stamped_once(tmp_path: Path) -> None:
    catalog, tsa = tmp_path / "out", tmp_path / "tsa"
    tsa.mkdir()
    pictures = [drawn(tmp_path, f"{seed}.png", seed) for seed in range(3)]
    choice = SignerChoice(timestamp_url=AWAY, timestamp_policy="queue")
    done = list(mark_files(pictures, catalog / "images", catalog=catalog, signer=choice))
    assert [one.timestamp for one in done] == ["queued"] * 3
    before = Catalog(catalog).query(as_arrow=True).to_pylist()
    with pytest.raises(ProvenanceError, match="timestamp authority"):
        list(stamp_paths([catalog], choice))
    (catalog / before[0]["file"]).write_bytes(b"changed")
    with authority(tsa) as (url, root):
        first = list(stamp_paths([catalog], SignerChoice(timestamp_url=url)))
        assert sorted(stamp.stamped for stamp in first) == [False, True, True]
        told = nonesuch("keys", "stamp", catalog, "--timestamp", url)
        assert told.returncode == 1  # the changed one, still
        assert "0 timestamped, 0 already had a timestamp, 1 failed" in told.stderr
    table = pd.DataFrame(Catalog(catalog).query(as_arrow=True).to_pylist()).set_index("recipe_id")
    assert sorted(table["timestamp"]) == ["authority", "authority", "queued"]
    (keys.keys_dir() / "anchors" / "tsa.pem").write_bytes(root)
    try:
        for old in before[1:]:
            row = table.loc[old["recipe_id"]]
            assert row["manifest_id"] != old["manifest_id"]
            assert row["sha256"] == keys_digest(catalog / row["file"])
            assert read_manifest(catalog, row["credential_digest"]) is not None
            for known in (old, row):  # who wrote down the first id finds the first store
                store = Repository(catalog).manifest(known["manifest_id"])
                assert store == read_manifest(catalog, known["credential_digest"])
            verdict = verify_file(catalog / row["file"], search="aligned")
            assert (verdict.integrity, verdict.trust, verdict.time) == ("intact", "own", "ok")
            assert verdict.signed_at is not None
    finally:
        (keys.keys_dir() / "anchors" / "tsa.pem").unlink()


def test_a_stop_between_file_and_row_is_made_good(tmp_path: Path) -> None:
    from nonesuch.catalogs.storage.amend import amend_rows

    catalog, tsa = tmp_path / "out", tmp_path / "tsa"
    tsa.mkdir()
    choice = SignerChoice(timestamp_url=AWAY, timestamp_policy="queue")
    list(mark_files([drawn(tmp_path)], catalog / "images", catalog=catalog, signer=choice))
    (old,) = Catalog(catalog).query(as_arrow=True).to_pylist()
    with authority(tsa) as (url, _):
        list(stamp_paths([catalog], SignerChoice(timestamp_url=url)))
        (new,) = Catalog(catalog).query(as_arrow=True).to_pylist()
        columns = ("timestamp", "manifest_id", "credential_digest", "bytes", "sha256")
        amend_rows(catalog, {old["recipe_id"]: {name: old[name] for name in columns}})
        (again,) = stamp_paths([catalog], SignerChoice(timestamp_url=url))
    assert again.error is None
    assert Catalog(catalog).query(as_arrow=True).to_pylist() == [new]


def test_a_webp_that_could_never_be_stamped_is_not_queued(tmp_path: Path) -> None:
    Image.fromarray(picture(3)).save(tmp_path / "theirs.webp")
    choice = SignerChoice(timestamp_url=AWAY, timestamp_policy="queue")
    (done,) = mark_files([tmp_path / "theirs.webp"], tmp_path / "out", signer=choice)
    assert "can't be timestamped later" in str(done.error)
    assert not (tmp_path / "out").exists()


def test_single_files_are_stamped_in_place(tmp_path: Path) -> None:
    tsa = tmp_path / "tsa"
    tsa.mkdir()
    (done,) = mark_files([drawn(tmp_path)], tmp_path / "marked")
    plain = drawn(tmp_path, "plain.jpg")
    with authority(tsa) as (url, _):
        told = nonesuch("keys", "stamp", str(done.out), plain, "--timestamp", url, "--json")
        again = nonesuch("keys", "stamp", str(done.out), "--timestamp", url)
    assert told.returncode == 3
    stamps = [json.loads(line) for line in told.stdout.splitlines()]
    assert [stamp["stamped"] for stamp in stamps] == [True, False]
    assert "no sound credential" in stamps[1]["error"]
    assert "0 timestamped, 1 already had a timestamp, 0 failed" in again.stderr
    with pytest.raises(InputError, match="no catalog"), authority(tsa) as (url, _):
        list(stamp_paths([tmp_path], SignerChoice(timestamp_url=url)))


def test_no_marked_copy_takes_another_files_place(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, other = drawn(tmp_path / "a", "x.png", 3), drawn(tmp_path / "b", "x.png", 4)
    out = tmp_path / "out"
    done, refused = mark_files([first, other], out)
    assert done.error is None
    assert refused.error is not None
    assert "is not a marked copy of this image" in refused.error
    (again,) = mark_files([first], out)
    assert again.error is None
    with pytest.raises(InputError, match="unknown digital source type"):
        list(mark_files([first], out, source_type="bogus"))


def test_bad_signing_options_are_refused_before_anything_is_marked(tmp_path: Path) -> None:
    path = drawn(tmp_path)
    for options, said in (
        (["--certificate", tmp_path / "none.pem", "--signer-command", "true"], "none.pem"),
        (["--certificate", path, "--key", path], "chmod 600"),
        (["--key", path], "go together"),
        (["--timestamp", "ftp://x"], "not an http"),
        (["--timestamp", AWAY, "--timestamp-policy", "hope"], "not a timestamp policy"),
        (["--signer-command", "'"], "not a command line"),
        (["--watermark-key", "env:NO_SUCH_VARIABLE"], "is not set"),
    ):
        told = nonesuch("mark", path, "--out", tmp_path / "out", *options)
        assert told.returncode == 2, told.stderr
        assert said in told.stderr
        assert "Traceback" not in told.stderr
    assert not (tmp_path / "out").exists()
