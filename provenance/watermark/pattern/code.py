"""The message's error protection: a keyed 32-bit check and a tail-biting convolutional code with soft decoding.

96 message bits (64 payload, 32 check) become 576 coded bits. Rate 1/6, memory 12, free distance 49;
the generators were the best of a random search over some hundred sets. Tail-biting: Ma and Wolf, IEEE
Trans. Comm. 34(2), 1986; decoding wraps the trellis around (Shao, Lin and Fossorier, IEEE Trans. Comm. 51(10), 2003).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

PAYLOAD_BITS = 64
CHECK_BITS = 32
MESSAGE_BITS = PAYLOAD_BITS + CHECK_BITS
GENERATORS = (0o17157, 0o13061, 0o12453, 0o15135, 0o17327, 0o11371)  # newest bit first
MEMORY = 12
STATES = 1 << MEMORY
CODED_BITS = MESSAGE_BITS * len(GENERATORS)
_WRAP = 64  # trellis steps run before and after the message, for the circular start state to settle

Bits = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _check(payload: int, key: bytes) -> int:
    digest = hashlib.blake2b(
        payload.to_bytes(8, "big"), digest_size=CHECK_BITS // 8, key=hashlib.sha256(key).digest()
    )
    return int.from_bytes(digest.digest(), "big")


def message_bits(payload: int, key: bytes) -> Bits:
    """[96] of 0 and 1: the payload, most significant bit first, then its keyed check."""
    word = (payload << CHECK_BITS) | _check(payload, key)
    return np.array([(word >> (MESSAGE_BITS - 1 - i)) & 1 for i in range(MESSAGE_BITS)], np.uint8)


def checked_payload(bits: Bits, key: bytes) -> int | None:
    """The payload of a decoded message [96], or None when its check disagrees."""
    word = int("".join(map(str, bits.tolist())), 2)
    payload = word >> CHECK_BITS
    return payload if word & ((1 << CHECK_BITS) - 1) == _check(payload, key) else None


@lru_cache(maxsize=1)
def _output_signs() -> Floats:
    # [6, STATES]: +1 for an output bit of 0, when the dropped bit is 0; columns by input bit, then kept bits.
    # All generators take both the newest and the oldest bit: dropping a 1 turns all six output bits round
    entered, kept = np.meshgrid(np.arange(2), np.arange(STATES // 2), indexing="ij")
    registers = ((entered << MEMORY) | (kept << 1)).reshape(-1).tolist()
    rows = [[1.0 - 2.0 * ((r & g).bit_count() & 1) for r in registers] for g in GENERATORS]
    return np.array(rows, np.float32)


def encode(message: Bits) -> Bits:
    """[96] message bits to [576] coded bits, six for each message bit in turn."""
    ring = np.concatenate([message[-MEMORY:], message])
    coded = np.empty((MESSAGE_BITS, len(GENERATORS)), np.uint8)
    for column, generator in enumerate(GENERATORS):
        taps = np.array([(generator >> (MEMORY - i)) & 1 for i in range(MEMORY + 1)])
        coded[:, column] = np.convolve(ring, taps)[MEMORY : MEMORY + MESSAGE_BITS] & 1
    return coded.reshape(-1)


def decode(soft: Floats) -> Bits:
    """The most likely message [96] for soft values [576], positive where a coded 0 is likely."""
    gains = soft.reshape(MESSAGE_BITS, len(GENERATORS)).astype(np.float32) @ _output_signs()
    gains = gains.reshape(MESSAGE_BITS, 2, STATES // 2)
    steps = [i % MESSAGE_BITS for i in range(-_WRAP, MESSAGE_BITS + _WRAP)]
    metric = np.zeros((2, STATES // 2), np.float32)
    pairs = metric.reshape(STATES // 2, 2).T  # the two states that differ in the bit to be dropped
    before, kept, turned = (np.empty_like(metric) for _ in range(3))
    choices = np.empty((len(steps), 2, STATES // 2), np.bool_)
    for number, step in enumerate(steps):
        before[...] = pairs
        np.add(before[0], gains[step], out=kept)
        np.subtract(before[1], gains[step], out=turned)
        np.greater(turned, kept, out=choices[number])
        np.maximum(kept, turned, out=metric)
    chosen = choices.reshape(len(steps), STATES)
    state = int(metric.argmax())
    message = np.empty(MESSAGE_BITS, np.uint8)
    for number in range(len(steps) - 1, -1, -1):
        place = number - _WRAP
        if 0 <= place < MESSAGE_BITS:
            message[place] = state >> (MEMORY - 1)
        state = ((state << 1) & (STATES - 1)) | int(chosen[number, state])
    return message
