"""Payloads that say nothing of an image's origin, and how rarely others look like them."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from nonesuch.provenance.watermark.payloads import says_origin, without_origin

PAYLOADS = st.integers(0, 2**64 - 1)


@given(PAYLOADS)
def test_the_first_bits_stay_and_the_form_is_its_own(payload: int) -> None:
    silent = without_origin(payload)
    assert silent >> 20 == payload >> 20
    assert 0 <= silent < 2**64
    assert without_origin(silent) == silent
    assert not says_origin(silent)
    assert says_origin(silent ^ 1)


def test_ids_of_generated_images_say_so() -> None:
    ids = (hashlib.sha256(str(n).encode()).digest()[:8] for n in range(200_000))
    assert sum(not says_origin(int.from_bytes(one)) for one in ids) <= 4  # 0.2 by chance
