"""How two slides lie to each other, roughly, from their overviews: any shift and turn, mirrored or not.

SIFT keypoints (Lowe 2004) of optical density and of :func:`structure`, which does not know a stain from its
negative; a similarity by RANSAC.
"""

import math

import cv2
import numpy as np

from ..slides.slide import Slide
from .alignment import Affine
from .structure import as_picture, structure

MAX_OVERVIEW_PX = 2**22
_KEYPOINTS = 6000  # of each picture
_RATIO = 0.85  # of the distances to the nearest and the next descriptor
_NEAR_PX = 4.0
_SURE = 60  # keypoints agree: the mirror's need not be asked, whose few do so by chance


def overview_mpp(hr: Slide, lr: Slide) -> float:
    """A resolution that both have and at which neither has more than MAX_OVERVIEW_PX pixels."""
    areas_um2 = (math.prod(n * m for n, m in zip(s.size_px, s.mpp_xy, strict=True)) for s in (hr, lr))
    return max(lr.mpp, hr.mpp, math.sqrt(max(areas_um2) / MAX_OVERVIEW_PX))


def align_overviews(hr: Slide, lr: Slide, mpp: float) -> tuple[Affine, int] | None:
    """LR base pixels to HR base pixels.

    Args:
        hr, lr: the slides.
        mpp: resolution of the overviews.

    Returns:
        A similarity, mirrored or not, and how many keypoints agree with it; None if there are too few.
    """
    pictures = [_pictures(slide, mpp) for slide in (hr, lr)]
    of_hr = [_keypoints(p) for p in pictures[0]]
    best: tuple[Affine, int] | None = None
    for mirrored in (False, True):
        sources, targets = [], []
        for k, picture in enumerate(pictures[1]):
            points, descriptors = _keypoints(picture[:, ::-1].copy() if mirrored else picture)
            if mirrored:
                points[:, 0] = picture.shape[1] - points[:, 0]
            i, j = _matches(descriptors, of_hr[k][1])
            sources.append(points[i])
            targets.append(of_hr[k][0][j])
        source, target = np.concatenate(sources), np.concatenate(targets)
        if len(source) < 3:
            continue
        # A mirrored similarity is one of mirrored points.
        flip = np.array([-1.0 if mirrored else 1.0, 1.0])
        found, inliers = cv2.estimateAffinePartial2D(
            source * flip, target, ransacReprojThreshold=_NEAR_PX, maxIters=20000, confidence=0.9999
        )
        if found is None:
            continue
        found[:, :2] *= flip
        n = int(inliers.sum())
        if best is None or n > best[1]:
            best = found, n
        if n >= _SURE:
            break
    return None if best is None else (_of_base(best[0], hr, lr, mpp), best[1])


def _pictures(slide: Slide, mpp: float) -> list[np.ndarray]:
    image = slide.read_region(0, 0, *slide.size_at(mpp), mpp, from_base=False)
    density = -np.log10((image.astype(np.float32) + 1) / 256).mean(2)
    return [as_picture(density), as_picture(cv2.GaussianBlur(structure(image), (0, 0), 1.0))]


def _keypoints(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places, shape (n, 2), pixels with (0, 0) at the corner, and descriptors, (n, 128)."""
    sift = cv2.SIFT.create(nfeatures=_KEYPOINTS, contrastThreshold=0.02)
    found, descriptors = sift.detectAndCompute(picture, None)
    if descriptors is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6))  # Arandjelovic 2012
    return np.array([k.pt for k in found], np.float64) + 0.5, root.astype(np.float32)


def _matches(a: np.ndarray, b: np.ndarray) -> tuple[list[int], list[int]]:
    if len(a) < 2 or len(b) < 2:
        return [], []
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a, b, k=2)
    kept = [m for m, other in pairs if m.distance < _RATIO * other.distance]
    return [m.queryIdx for m in kept], [m.trainIdx for m in kept]


def _of_base(affine: Affine, hr: Slide, lr: Slide, mpp: float) -> Affine:
    """Of overview pixels to of base pixels."""
    to_overview = [m / mpp for m in lr.mpp_xy]
    to_base = np.array([[mpp / m] for m in hr.mpp_xy])
    return np.hstack([affine[:, :2] * to_overview, affine[:, 2:]]) * to_base
