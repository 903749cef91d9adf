"""Whether one image is part of another, turned, scaled, cropped or mirrored.

ORB features (Rublee et al., ICCV 2011) matched with Lowe's ratio test, a similarity fitted by RANSAC, and the
correlation of the images where that similarity lays them on one another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nonesuch.foundation.images import RGB

_LONG_SIDE = 768  # px at which features are sought
_RATIO = 0.8
_MIN_INLIERS = 8
_MIN_CORRELATION = 0.7


def part_of(image: RGB, original: RGB) -> bool:
    """True when `image` (uint8 [H, W, 3]) lies on `original` with a correlation of at least 0.7.

    Images with hardly any structure have no features and give False.
    """
    import cv2

    part, whole = _grey(image), _grey(original)
    return any(_lies_on(candidate, whole) for candidate in (part, cv2.flip(part, 1)))


def _grey(image: RGB) -> Any:
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = _LONG_SIDE / max(grey.shape)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=interpolation)


def _lies_on(part: Any, whole: Any) -> bool:
    import cv2

    detector = cv2.ORB.create(nfeatures=1500, fastThreshold=5)
    points_a, features_a = detector.detectAndCompute(part, None)
    points_b, features_b = detector.detectAndCompute(whole, None)
    if features_a is None or features_b is None or len(points_b) < 2:
        return False
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(features_a, features_b, k=2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < _RATIO * p[1].distance]
    if len(good) < _MIN_INLIERS:
        return False
    source = np.array([points_a[m.queryIdx].pt for m in good], np.float32)
    target = np.array([points_b[m.trainIdx].pt for m in good], np.float32)
    similarity, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=5.0)
    if similarity is None or int(inliers.sum()) < _MIN_INLIERS:
        return False
    size = (whole.shape[1], whole.shape[0])
    laid = cv2.warpAffine(part, similarity, size)
    covered = cv2.warpAffine(np.full_like(part, 255), similarity, size) > 128
    if covered.sum() < 1024:
        return False
    a, b = laid[covered].astype(np.float64), whole[covered].astype(np.float64)
    if a.std() < 1 or b.std() < 1:
        return False
    return float(np.corrcoef(a, b)[0, 1]) >= _MIN_CORRELATION
