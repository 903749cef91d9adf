"""How often an unmarked image can be taken for a watermarked one, and the thresholds that follow.

The bound is over the draw of the key and holds for every image, however it was made. Three facts:

1. A pilot's phases are uniform over four values, independent for each carrier, and independent of
   the image. For weights w and whitened carriers X the statistic
   z = sum w Re(X conj(P)) / sqrt(sum |w X|^2 / 2) then has a moment generating function of at most
   exp(t^2 / 2) (term by term, (cosh(t c) + cosh(t s)) / 2 <= exp(t^2 / 4) for c^2 + s^2 = 1), so that
   Chernoff gives P(z >= T) <= exp(-T^2 / 2).
2. The union bound over every hypothesis that a search looks at: variants, shifts, turns, weightings,
   and candidate geometries (the image with its luma equalised, or flattened widely, counts as one each).
3. A decoded message passes its 32-bit keyed check with probability 2^-32.

A message is believed when one of these holds; the bounds of all three add up:

a. Its pilot's peak is at least a threshold high (1, 2 and 3 together).
b. Pilot and message agree with the image as no unmarked image would: the message's dimensions bear
   keyed signs of their own, so that for any one message fact 1 gives P(z_pilot >= p and z_data >= d)
   <= exp(-(p^2 + d^2) / 2), to be multiplied by the 2^64 messages that pass the check, by all hypotheses, and
   by the steps that p is rounded down to.
c. It came from one of three attempts that are believed whatever their heights: the highest peak of the
   image as it is, of the image flattened widely, and of the scan's best guess. Each costs 2^-32 (3 alone).
"""

from __future__ import annotations

import math

from nonesuch.provenance.watermark.pattern.code import CHECK_BITS, PAYLOAD_BITS
from nonesuch.provenance.watermark.pattern.layout import PILOTS, TILE

SCAN_HYPOTHESES = 272  # scales and tilts that a scan tries, at most
SCAN_KEPT = 4  # of them that are read

TARGET = 1e-9  # false alarms a check, the whole search included
LATTICES = 6  # candidate scales and rotations taken from the autocorrelation
LEAST_PILOT = 3.5  # standard deviations of a pilot's peak under which nothing is believed by agreement
_MOST_PILOT = 7.5  # and over which it counts for no more
_STEP = 0.5  # of the pilot's height, rounded down
_ATTEMPT = 2.0**-CHECK_BITS
_TURNS_WEIGHTINGS = 8 * 2
_HYPOTHESES = PILOTS * TILE * TILE * _TURNS_WEIGHTINGS  # with variants and shifts
# the first two are the image equalised, and flattened widely; a scan's hypotheses are looked at unturned and with one weighting,
# and the best are read in full, the very best through two windows
GEOMETRIES = 2 + LATTICES + SCAN_KEPT + 1 + math.ceil(SCAN_HYPOTHESES / _TURNS_WEIGHTINGS)
_ALIGNED_PEAKS = 0.1 * TARGET  # spent on peaks of the image as it is
_AGREEMENT = 0.05 * TARGET  # on agreement of pilot and message, over the whole search
_SEARCH_PEAKS = TARGET - _ALIGNED_PEAKS - _AGREEMENT - 3.0 * _ATTEMPT  # on peaks of all other geometries


def false_alarm_bound(threshold: float, geometries: int, attempts: int) -> float:
    """Upper bound on the probability that a search of an unmarked image reports a watermark by pilot or attempt.

    `threshold` in standard deviations of the pilot's peak, over so many geometries; `attempts`
    messages are believed regardless.
    """
    peaks = geometries * _HYPOTHESES * math.exp(-(threshold**2) / 2.0)
    return (peaks + attempts) * _ATTEMPT


def _threshold(geometries: int, target: float) -> float:
    return math.sqrt(2.0 * math.log(geometries * _HYPOTHESES * _ATTEMPT / target))


def _agreement_squared() -> float:
    steps = (_MOST_PILOT - LEAST_PILOT) / _STEP + 1.0
    messages = PAYLOAD_BITS * math.log(2.0)
    return 2.0 * (messages + math.log((1 + GEOMETRIES) * _HYPOTHESES * steps / _AGREEMENT))


# pilot heights in standard deviations from which every checked message is believed
ALIGNED_THRESHOLD = _threshold(1, _ALIGNED_PEAKS)
SEARCH_THRESHOLD = _threshold(GEOMETRIES, _SEARCH_PEAKS)
AGREEMENT = math.sqrt(_agreement_squared())  # of pilot and message together, in standard deviations
ALIGNED_BOUND = false_alarm_bound(ALIGNED_THRESHOLD, 1, 1) + _AGREEMENT
SEARCH_BOUND = false_alarm_bound(SEARCH_THRESHOLD, GEOMETRIES, 2)


def agrees(pilot: float, message: float) -> bool:
    """Whether a checked message is to be believed for its agreement, both in standard deviations."""
    if pilot < LEAST_PILOT:
        return False
    rounded = min(math.floor(pilot / _STEP) * _STEP, _MOST_PILOT)
    return rounded**2 + max(message, 0.0) ** 2 >= AGREEMENT**2
