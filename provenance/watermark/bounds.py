"""How often an unmarked picture can pass for a marked one, and the thresholds that follow.

The bound is over the draw of the key and holds for every picture, however it was made. Three facts:

1. A pilot's phases are uniform over four values, independent for each carrier, and independent of
   the picture. For weights w and whitened carriers X the statistic
   z = sum w Re(X conj(P)) / sqrt(sum |w X|^2 / 2) then has a moment generating function of at most
   exp(t^2 / 2) (term by term, (cosh(t c) + cosh(t s)) / 2 <= exp(t^2 / 4) for c^2 + s^2 = 1), so that
   Chernoff gives P(z >= T) <= exp(-T^2 / 2).
2. The union bound over every hypothesis that a search looks at: variants, shifts, turns, weightings,
   and candidate geometries.
3. A decoded message passes its 32-bit keyed check with probability 2^-32.

A search also decodes the highest peak of the picture as it is, and of the scan's best guess, whatever
their height; each such attempt costs 2^-32 by fact 3 alone.
"""

from __future__ import annotations

import math

from provenance.watermark.code import CHECK_BITS
from provenance.watermark.layout import PILOTS, TILE

SCAN_HYPOTHESES = 340  # scales and tilts that a scan tries
SCAN_KEPT = 6  # of them that are read

TARGET = 1e-9  # false alarms a check, the whole search included
LATTICES = 16  # candidate scales and rotations taken from the autocorrelation
_ATTEMPT = 2.0**-CHECK_BITS
_TURNS_WEIGHTINGS = 8 * 2
_HYPOTHESES = PILOTS * TILE * TILE * _TURNS_WEIGHTINGS  # with variants and shifts
# a scan's hypotheses are looked at unturned and with one weighting; the best are read in full
GEOMETRIES = LATTICES + SCAN_KEPT + math.ceil(SCAN_HYPOTHESES / _TURNS_WEIGHTINGS)
_ALIGNED_PEAKS = 0.15 * TARGET  # spent on peaks of the picture as it is
_SEARCH_PEAKS = TARGET - _ALIGNED_PEAKS - 2.0 * _ATTEMPT  # on those of all other geometries


def false_alarm_bound(threshold: float, geometries: int, attempts: int) -> float:
    """Upper bound on the probability that a search of an unmarked picture reports a mark.

    `threshold` in standard deviations of the pilot's peak, over so many geometries; `attempts`
    messages are decoded regardless.
    """
    peaks = geometries * _HYPOTHESES * math.exp(-(threshold**2) / 2.0)
    return (peaks + attempts) * _ATTEMPT


def _threshold(geometries: int, target: float) -> float:
    return math.sqrt(2.0 * math.log(geometries * _HYPOTHESES * _ATTEMPT / target))


# pilot heights in standard deviations from which every peak is decoded
ALIGNED_THRESHOLD = _threshold(1, _ALIGNED_PEAKS)
SEARCH_THRESHOLD = _threshold(GEOMETRIES, _SEARCH_PEAKS)
ALIGNED_BOUND = false_alarm_bound(ALIGNED_THRESHOLD, 1, 1)
SEARCH_BOUND = false_alarm_bound(SEARCH_THRESHOLD, GEOMETRIES, 1)
