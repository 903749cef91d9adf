"""The message's armour: every message comes back from noisy soft values, and no other passes its check."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.provenance.watermark.pattern import code

PAYLOADS = st.integers(0, 2**64 - 1)


@settings(max_examples=25)
@given(PAYLOADS, st.binary(min_size=1, max_size=40), st.integers(0, 2**32))
def test_round_trip_through_noise(payload: int, key: bytes, seed: int) -> None:
    message = code.message_bits(payload, key)
    noise = np.random.default_rng(seed).standard_normal(code.CODED_BITS)
    soft = (1.0 - 2.0 * code.encode(message)) + 0.8 * noise
    decoded = code.decode(soft.astype(np.float32))
    assert (decoded == message).all()
    assert code.checked_payload(decoded, key) == payload


@settings(max_examples=50)
@given(PAYLOADS, st.integers(0, code.MESSAGE_BITS - 1))
def test_one_wrong_bit_fails_the_check(payload: int, place: int) -> None:
    message = code.message_bits(payload, b"key")
    message[place] ^= 1
    assert code.checked_payload(message, b"key") is None


@given(PAYLOADS)
def test_check_depends_on_the_key(payload: int) -> None:
    assert code.checked_payload(code.message_bits(payload, b"one"), b"two") is None


@settings(max_examples=30)
@given(PAYLOADS, PAYLOADS)
def test_code_is_linear(one: int, other: int) -> None:
    a, b = code.message_bits(one, b""), code.message_bits(other, b"")
    assert (code.encode(a ^ b) == code.encode(a) ^ code.encode(b)).all()


def test_short_error_bursts_give_words_of_the_stated_free_distance() -> None:
    # every nonzero message within eight neighbouring bits; none may be lighter than the free distance
    weights = []
    for pattern in range(1, 256, 2):
        message = np.zeros(code.MESSAGE_BITS, np.uint8)
        message[20:28] = [(pattern >> place) & 1 for place in range(8)]
        weights.append(int(code.encode(message).sum()))
    assert min(weights) == 49
