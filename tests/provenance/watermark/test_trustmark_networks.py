"""TrustMark's own package and networks, with weights made here: its authors' can't be had offline.

The encoder's weights are random. The decoder's last layer says the bits of one payload whatever it sees, so that
everything after the network (error correction, scheme, soft binding, verdict) is the real thing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from nonesuch.foundation.errors import DependencyError, InputError, ProvenanceError
from nonesuch.importing.folders import ImportOptions, import_folders
from nonesuch.marking.marking_files import mark_files
from nonesuch.marking.recovering import CatalogFolder, recover_from
from nonesuch.provenance import watermark
from nonesuch.provenance.credentials.reading import read_credentials
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.verifying.verify import verify_file
from nonesuch.provenance.watermark import chosen, trustmark
from nonesuch.redrawing.refining import sweep_of_image
from nonesuch.redrawing.reproducing import reproduce
from nonesuch.web.repository import FINGERPRINT, Repository

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("trustmark") is None, reason="the package trustmark is not installed"
    ),
]
PAYLOAD = 0x8123456789ABCDEF
CONFIG = {
    "target": "trustmark.model.TrustMark_Arch",
    "params": {
        "cover_key": "image",
        "secret_key": "secret",
        "secret_len": 100,
        "resolution": 256,
        "secret_encoder_config": {"target": "trustmark.unet.Unet1", "params": {"width": 8}},
        "secret_decoder_config": {"target": "trustmark.unet.SecretDecoder", "params": {"arch": "resnet18"}},
        "discriminator_config": {"target": "trustmark.model.Identity", "params": {}},
        "loss_config": {"target": "trustmark.model.Identity", "params": {}},
        "noise_config": {"target": "trustmark.model.Identity", "params": {}},
    },
}


def write_weights(folder: Path, payload: int) -> dict[str, str]:
    """Config and weights whose decoder says `payload`; returns the digests of the three files."""
    import torch
    from omegaconf import OmegaConf
    from trustmark.datalayer import DataLayer
    from trustmark.trustmark import instantiate_from_config

    torch.manual_seed(0)
    (folder / "trustmark_P.yaml").write_text(json.dumps({"model": CONFIG}))  # JSON is YAML
    model = instantiate_from_config(OmegaConf.create(CONFIG))
    bits = DataLayer(100, verbose=False, encoding_mode=2).encode_binary([trustmark.packed(payload)])[0]
    last = model.decoder.decoder.fc
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(2.0 * np.asarray(bits, np.float32) - 1.0))
    for name in ("encoder_P.ckpt", "decoder_P.ckpt"):
        torch.save({"state_dict": model.state_dict()}, folder / name)
    return {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in trustmark.WEIGHTS}


def use_weights(folder: Path, payload: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    monkeypatch.setattr(trustmark, "WEIGHTS", write_weights(folder, payload))
    monkeypatch.setenv(trustmark.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(chosen, "_opened", {})


def test_networks_from_a_named_folder_mark_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_weights(tmp_path / "weights", PAYLOAD, monkeypatch)
    assert trustmark.ready()
    photo = np.ascontiguousarray(data.astronaut()[:300, :400])
    marked = chosen.put_watermark(photo, PAYLOAD, name="trustmark")
    assert (marked.algorithm, marked.image.shape, marked.image.dtype) == (
        trustmark.NAME,
        photo.shape,
        np.uint8,
    )
    assert (marked.image != photo).any()
    other = chosen.put_watermark(photo, PAYLOAD ^ 1, name="trustmark")
    assert (marked.image != other.image).any()
    found = chosen.open_algorithm("trustmark").detect(marked.image)
    assert found is not None
    assert found.payload == PAYLOAD
    with pytest.raises(InputError, match="has no strength"):
        chosen.put_watermark(photo, PAYLOAD, name="trustmark", strength=2.0)
    with pytest.raises(InputError, match="has no key"):
        chosen.put_watermark(photo, PAYLOAD, name="trustmark", key=b"0123456789abcdef")


def test_a_marked_file_names_it_and_verify_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "theirs.png"
    Image.fromarray(data.coffee()[:300, :300]).save(picture)
    payload = int(hashlib.sha256(picture.read_bytes()).hexdigest()[:16], 16)
    use_weights(tmp_path / "weights", payload, monkeypatch)
    (done,) = mark_files(
        [picture], tmp_path / "out", source_type="trainedAlgorithmicMedia", watermark="trustmark"
    )
    assert done.error is None
    assert done.out is not None
    file = Path(done.out)
    credential = read_credentials(file.read_bytes(), "image/png", load_trust())
    assert credential.active is not None
    assert credential.active.soft_bindings == ((trustmark.NAME, trustmark.binding_value(payload)),)
    verdict = verify_file(file)
    assert verdict.watermark is not None
    assert (verdict.watermark["algorithm"], verdict.watermark["payload"]) == (
        trustmark.NAME,
        done.watermark_id,
    )
    (said,) = [found for found in verdict.evidence if found.kind == "watermark:trustmark"]
    assert (said.says, said.confidence) == ("ai-generated", "strong")
    # stripped of its credential it is no evidence: its own check is too weak
    bare = tmp_path / "bare.png"
    Image.open(file).convert("RGB").save(bare)
    alone = verify_file(bare)
    assert (alone.verdict, alone.confidence) == ("no-evidence", "none")
    assert any("seems to carry the TrustMark" in found.detail for found in alone.evidence)


def test_a_stripped_picture_is_looked_up_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, out = tmp_path / "theirs.png", tmp_path / "out"
    Image.fromarray(data.coffee()[:300, :300]).save(picture)
    payload = int(hashlib.sha256(picture.read_bytes()).hexdigest()[:16], 16)
    use_weights(tmp_path / "weights", payload, monkeypatch)
    marked = mark_files(
        [picture], out, source_type="trainedAlgorithmicMedia", watermark="trustmark", catalog=out
    )
    (done,) = marked
    assert done.out is not None, done.error
    stripped = tmp_path / "stripped.jpg"
    # cropped, so that the fingerprint alone leads nowhere
    part = Image.open(done.out).convert("RGB").crop((0, 0, 200, 240))
    part.save(stripped, quality=90)
    found = recover_from(out, stripped)
    assert found is not None
    assert (found.recovery.found_by, found.recovery.original) == ("watermark", Path(done.out).read_bytes())
    assert found.recovery.manifest is not None
    pixels = Pixels(stripped.read_bytes(), "stripped")
    repository = Repository(out)
    told = read_credentials(Path(done.out).read_bytes(), "image/png", load_trust()).active
    assert told is not None
    for algorithm in (None, trustmark.NAME):
        assert [hit.manifest_id for hit in repository.by_content(pixels, algorithm, 10)] == [told.label]
    assert repository.by_content(pixels, FINGERPRINT, 10) == []
    verdict = verify_file(stripped, catalog_lookup=CatalogFolder(out))
    assert verdict.catalog is not None
    assert (verdict.verdict, verdict.catalog["found_by"]) == ("ai-generated", "watermark")
    # a picture with another algorithm's mark beneath it is found as well
    both = tmp_path / "both.png"
    Image.fromarray(watermark.embed(np.asarray(part), 0x1234567812345678)).save(both)
    again = recover_from(out, both)
    assert again is not None
    assert again.recovery.found_by == "watermark"
    # another picture that bears the mark got it by copying
    Image.fromarray(data.astronaut()[:300, :300]).save(picture)
    with pytest.raises(ProvenanceError, match="another image"):
        recover_from(out, picture)


def test_an_imported_file_keeps_the_payload_of_its_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "theirs.png"
    Image.fromarray(data.coffee()[:300, :300]).save(picture)
    payload = int(hashlib.sha256(picture.read_bytes()).hexdigest()[:16], 16)
    use_weights(tmp_path / "weights", payload, monkeypatch)
    (done,) = mark_files(
        [picture], tmp_path / "marked", source_type="trainedAlgorithmicMedia", watermark="trustmark"
    )
    assert done.out is not None, done.error
    out = tmp_path / "out"
    (entered,) = import_folders([done.out], out, ImportOptions(scorers=()))
    assert entered.error is None
    (record,) = CatalogFolder(out).by_watermark(payload)
    assert record.image_id == entered.recipe_id


def test_a_stripped_drawing_is_drawn_again_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: str
) -> None:
    from nonesuch.flows.sweep import sweep
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import load_sweep

    file = tmp_path / "tiny.yaml"
    file.write_text(
        "name: tiny\nmodel: noise\nprompt: a fox\nmarking: {watermark: trustmark}\nscoring: {scorers: [technical]}\n"
        "settings: {width: 260, height: 260, steps: 2}\n"
    )
    (recipe,) = open_matrix(load_sweep(file))
    use_weights(tmp_path / "weights", recipe.watermark_id, monkeypatch)
    out = tmp_path / "out"
    assert sweep(file, out).done == 1
    (record,) = CatalogFolder(out).by_watermark(recipe.watermark_id)
    assert record.file is not None
    stripped = tmp_path / "stripped.png"
    Image.fromarray(np.asarray(Image.open(record.file).convert("RGB"))).save(stripped)
    told = reproduce(stripped, catalog=out)
    assert (told.source, told.outcome, told.same_recipe) == ("catalog", "bit-identical", True)
    text = sweep_of_image(stripped, catalog=out).text()
    assert "a fox" in text


def test_recovery_tells_what_it_could_not_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, out = tmp_path / "theirs.png", tmp_path / "out"
    Image.fromarray(data.coffee()[:200, :200]).save(picture)
    assert [done.error for done in mark_files([picture], out, catalog=out)] == [None]
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in trustmark.WEIGHTS:
        (folder / name).write_bytes(b"not a network")
    monkeypatch.setenv(trustmark.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(chosen, "_opened", {})
    found = recover_from(out, picture)  # nonesuch's fingerprint leads there without it
    assert found is not None
    Image.fromarray(data.astronaut()[:200, :200]).save(picture)
    with pytest.raises(DependencyError, match="digest differs"):
        recover_from(out, picture)


def test_wrong_weights_are_told_and_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in trustmark.WEIGHTS:
        (folder / name).write_bytes(b"not a network")
    monkeypatch.setenv(trustmark.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(chosen, "_opened", {})
    picture = tmp_path / "theirs.png"
    Image.fromarray(data.coffee()[:200, :200]).save(picture)
    verdict = verify_file(picture)
    assert verdict.error is None
    assert any("digest differs" in found.detail for found in verdict.evidence)
