"""The watermarks that can be chosen: one protocol, and one clear message where an optional one can't be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.marking.marking_files import mark_files
from nonesuch.marking.recovering import CatalogFolder, recover_from
from nonesuch.provenance.verifying.verify import verify_file
from nonesuch.provenance.watermark import ALGORITHM, chosen, trustmark
from nonesuch.provenance.watermark.algorithms import ALGORITHMS
from nonesuch.provenance.watermark.base import RGB, Found

PAYLOAD = 0x8000000000000001
installed = importlib.util.find_spec("trustmark") is not None


def test_registry_names_both_and_others_are_refused() -> None:
    assert {"nonesuch", "trustmark"} <= set(ALGORITHMS)
    with pytest.raises(InputError, match="trustmark"):
        ALGORITHMS.get("nothing of the kind")


def test_own_watermark_through_the_protocol() -> None:
    own = ALGORITHMS.get("nonesuch")()
    photo = np.ascontiguousarray(data.astronaut()[:256, :256])
    found = own.detect(own.embed(photo, PAYLOAD))
    assert own.name == ALGORITHM
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.false_alarm <= 1e-9
    assert own.detect(photo) is None


class Corner:
    """Another package's watermark: 64 bits as plain pixels in a corner."""

    name = "org.example.corner"

    def embed(self, image: RGB, payload: int) -> RGB:
        bits = np.frombuffer(f"{payload:064b}".encode(), np.uint8) - ord("0")
        marked = image.copy()
        marked[0, :64] = 255 * bits[:, None]
        return marked

    def detect(self, image: RGB) -> Found | None:
        row = image[0, :64, 0]
        if not np.isin(row, (0, 255)).all():
            return None
        return Found(int("".join("1" if bit else "0" for bit in row), 2), 2.0**-448)


def test_another_packages_watermark_is_read_wherever_marks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "_opened", {})
    monkeypatch.setitem(ALGORITHMS._factories, "corner", Corner)
    picture, out = tmp_path / "theirs.png", tmp_path / "out"
    photo = np.ascontiguousarray(data.astronaut()[:300, :300])
    Image.fromarray(photo).save(picture)
    kind = "trainedAlgorithmicMedia"
    (done,) = mark_files([picture], out, source_type=kind, watermark="corner", catalog=out)
    assert done.out is not None, done.error
    marked = np.asarray(Image.open(done.out).convert("RGB"))
    stripped = tmp_path / "stripped.png"
    Image.fromarray(marked[:150, :250]).save(stripped)
    found = recover_from(out, stripped)
    assert found is not None
    assert found.recovery.found_by == "watermark"
    verdict = verify_file(stripped, catalog_lookup=CatalogFolder(out))
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")
    assert verdict.watermark is not None
    assert (verdict.watermark["algorithm"], verdict.watermark["payload"]) == (Corner.name, done.watermark_id)
    assert verify_file(stripped).verdict == "no-evidence"
    assert [e.says for e in verify_file(Path(done.out)).evidence] == [
        "ai-generated",
        "ai-generated",
        "ai-generated",
    ]


def test_another_packages_fault_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Corner):
        def detect(self, image: RGB) -> Found | None:
            raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(chosen, "_opened", {})
    monkeypatch.setitem(ALGORITHMS._factories, "broken", Broken)
    Image.fromarray(data.coffee()[:200, :200]).save(tmp_path / "theirs.png")
    verdict = verify_file(tmp_path / "theirs.png")
    assert (verdict.verdict, verdict.error) == ("no-evidence", None)
    assert any("no such luck" in found.detail for found in verdict.evidence)


@pytest.mark.skipif(installed, reason="the package trustmark is installed")
def test_missing_package_is_one_clear_message() -> None:
    with pytest.raises(DependencyError, match=r"needs the package trustmark[\s\S]*nonesuch\[trustmark\]"):
        ALGORITHMS.get("trustmark")()


def test_missing_weights_are_named_with_their_folder(tmp_path: Path) -> None:
    (tmp_path / "trustmark_P.yaml").write_bytes(b"")
    with pytest.raises(DependencyError, match=r"missing: encoder_P\.ckpt, decoder_P\.ckpt") as raised:
        trustmark.check_weights(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_wrong_weights_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    for name in trustmark.WEIGHTS:
        (tmp_path / name).write_bytes(b"not a network")
    with pytest.raises(DependencyError, match="digest differs"):
        trustmark.check_weights(tmp_path)


@given(st.integers(0, 2**64 - 1))
def test_payload_fits_the_scheme(payload: int) -> None:
    bits = trustmark.packed(payload)
    assert len(bits) == 68
    assert trustmark.unpacked(bits) == payload
    assert trustmark.bound_payload(trustmark.binding_value(payload)) == payload
    assert trustmark.bound_payload(f"1*{bits}") is None


@given(st.text("01x", max_size=70))
def test_other_bits_are_no_payload(bits: str) -> None:
    payload = trustmark.unpacked(bits)
    assert payload is None or trustmark.packed(payload) == bits


@pytest.mark.parametrize("payload", [-1, 2**64])
def test_payload_out_of_range(payload: int) -> None:
    with pytest.raises(InputError):
        trustmark.packed(payload)


def test_chance_of_a_false_alarm_is_stated() -> None:
    # counted over all patterns of up to four errors: about one in five thousand
    assert pytest.approx(3_469_497 / 2**34) == trustmark.FALSE_ALARM
