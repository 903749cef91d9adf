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
"""

from __future__ import annotations

import math

from provenance.watermark.code import CHECK_BITS
from provenance.watermark.layout import PILOTS, TILE

TARGET = 1e-9  # false alarms a check, the whole search included
ALIGNED_SHARE = 0.4  # of the target, spent on the look at the picture as it is; the search has the rest
_HYPOTHESES = PILOTS * TILE * TILE * 8 * 2  # variants, shifts, turns, weightings
GEOMETRIES = 64  # candidate scales and rotations that a full search may look at


def false_alarm_bound(threshold: float, geometries: int) -> float:
    """Upper bound on the probability that a search of an unmarked picture reports a mark."""
    return geometries * _HYPOTHESES * math.exp(-(threshold**2) / 2.0) * 2.0**-CHECK_BITS


def _threshold(geometries: int, target: float) -> float:
    return math.sqrt(2.0 * math.log(geometries * _HYPOTHESES * 2.0**-CHECK_BITS / target))


# pilot heights in standard deviations from which a peak is decoded
ALIGNED_THRESHOLD = _threshold(1, TARGET * ALIGNED_SHARE)
SEARCH_THRESHOLD = _threshold(GEOMETRIES, TARGET * (1.0 - ALIGNED_SHARE))
