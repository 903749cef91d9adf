"""The watermarks that can be chosen: one protocol, and one clear message where an optional one can't be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from foundation.errors import DependencyError, InputError
from provenance.watermark import ALGORITHM, trustmark
from provenance.watermark.algorithms import ALGORITHMS

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
