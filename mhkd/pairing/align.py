"""Two scans of one slide brought onto each other: from the overview to squares of 64 LR pixels.

Half of the squares, as on a chessboard, say how the slides lie to each other; the other half take no part in
that and say how far it is off. What cannot be found again within 8 LR pixels of where it is expected is
unknown, and never taken for right.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import InputError
from ..slides.slide import Slide
from ..slides.tissue import mask_mpp, pen_and_black, tissue_mask
from .alignment import Affine, Alignment, apply
from .overview import align_overviews, overview_mpp
from .patches import Lattice, measure, on_slide

_FINER = 3.0  # from one resolution to the next
_FIRST_RADIUS_PX, _RADIUS_PX = 12, 8
_SAMPLE = 300  # squares that are looked for at each resolution
_NEAR_PX = 2.0
_MIN_TISSUE = 0.25  # of a square
_MIN_SQUARES = 6  # that agree
_MIN_AGREE = 0.4  # share of what was looked for; of other tissue it is below 0.15
_SMOOTH_CELLS = 1.2  # Gaussian over neighbouring squares
_MASK_MPP = 8.0
SCALES = (0.75, 1.33)  # of one slide to the other, after their resolutions


@dataclass(frozen=True)
class Aligned:
    """What is known of a pair.

    Attributes:
        alignment: from LR to HR.
        lattice: the squares of the LR slide.
        is_tissue: which of them are tissue; shape of the lattice.
        error_px: of those that were held out, how far from where they should be, LR base pixels; nan
            elsewhere, and where they were not found.
        held_out: which they are.
        scale: size of things on the LR slide by that on the HR slide, by their resolutions; 1 where these
            are right.
    """

    alignment: Alignment
    lattice: Lattice
    is_tissue: np.ndarray
    error_px: np.ndarray
    held_out: np.ndarray
    scale: float


def align(hr: Slide, lr: Slide) -> Aligned:
    """Find how two scans of one slide lie to each other.

    Args:
        hr, lr: the slides, whose resolutions are known; that of ``lr`` is the same along x and y.

    Raises:
        InputError: one has no tissue, or they do not show the same.
    """
    names = f"{lr.path}: is no second scan of {hr.path}"
    mask, coarse = _tissue(lr)
    for slide, tissue in ((lr, mask), (hr, _tissue(hr)[0])):
        if not tissue.any():
            raise InputError(
                f"{slide.path}: no tissue was found, so that it cannot be brought onto the other scan"
            )
    mask_px = coarse / lr.mpp_xy[0], coarse / lr.mpp_xy[1]
    mpp = overview_mpp(hr, lr)
    seen_alike = align_overviews(hr, lr, mpp)
    if seen_alike is None:
        raise InputError(
            f"{names}: no structures that both show were found; give two scans of the same slide"
        )
    affine, radius = seen_alike[0], _FIRST_RADIUS_PX
    while True:
        lattice = Lattice.of(lr, mpp)
        affine, share = _better(hr, lr, affine, lattice, lattice.tissue(mask, mask_px), radius)
        if share < _MIN_AGREE:
            raise InputError(
                f"{names}: at {mpp:.3g} um per pixel {100 * share:.0f} % of its squares of tissue are where "
                f"they should be, and {100 * _MIN_AGREE:.0f} % are needed; give two scans of the same slide, "
                "both in focus"
            )
        if mpp <= lr.mpp * (1 + 1e-6):
            break
        mpp, radius = max(lr.mpp, mpp / _FINER), _RADIUS_PX
    scale = scale_of(affine, hr, lr)
    if not SCALES[0] <= scale <= SCALES[1]:
        raise InputError(
            f"{names} at their resolutions: things are {scale:.3g} times as large; correct one of them "
            "(--override-hr-mpp, --override-lr-mpp)"
        )
    is_tissue = lattice.tissue(mask, mask_px) >= _MIN_TISSUE
    return _refined(hr, lr, affine, lattice, is_tissue, scale)


def _tissue(slide: Slide) -> tuple[np.ndarray, float]:
    """A mask and its resolution; what is taken for pen counts, as colours that nobody expects are."""
    mpp = mask_mpp(slide, max(_MASK_MPP, slide.mpp))
    return tissue_mask(slide, mpp) | pen_and_black(slide, mpp)[0], mpp


def scale_of(affine: Affine, hr: Slide, lr: Slide) -> float:
    """How large things are on the LR slide by how large they are on the HR slide, in micrometres."""
    hr_per_lr = np.sqrt(abs(np.linalg.det(affine[:, :2])))
    return float(lr.mpp / (hr_per_lr * hr.mpp))


def _better(
    hr: Slide, lr: Slide, affine: Affine, lattice: Lattice, tissue: np.ndarray, radius_px: int
) -> tuple[Affine, float]:
    """An affine map that squares all over the slide agree with, and the share of them that does."""
    alignment = Alignment(affine)
    middles = lattice.middles()
    wanted = (tissue >= _MIN_TISSUE) & on_slide(hr, alignment, middles.reshape(-1, 2)).reshape(lattice.shape)
    if not wanted.any():
        wanted = (tissue > 0) & on_slide(hr, alignment, middles.reshape(-1, 2)).reshape(lattice.shape)
    wanted = _sampled(wanted)
    shifts, _ = measure(hr, lr, alignment, lattice, wanted, radius_px)
    seen = ~np.isnan(shifts[..., 0])
    if seen.sum() < 3:
        return affine, 0.0
    source, target = middles[seen], apply(affine, (middles + shifts)[seen])
    near = _NEAR_PX * lattice.mpp / hr.mpp
    if seen.sum() >= 3 * _MIN_SQUARES:
        found, inliers = cv2.estimateAffine2D(source, target, ransacReprojThreshold=near, maxIters=5000)
    else:
        flip = np.array([np.sign(np.linalg.det(affine[:, :2])), 1.0])
        found, inliers = cv2.estimateAffinePartial2D(
            source * flip, target, ransacReprojThreshold=near, maxIters=5000
        )
        if found is not None:
            found[:, :2] *= flip
    if found is None or inliers.sum() < min(_MIN_SQUARES, wanted.sum()):
        return affine, 0.0
    return found, float(inliers.sum() / wanted.sum())


def _sampled(wanted: np.ndarray) -> np.ndarray:
    """About _SAMPLE of the squares, evenly spread."""
    places = np.argwhere(wanted)
    if len(places) <= _SAMPLE:
        return wanted
    chosen = places[np.random.default_rng(0).permutation(len(places))[:_SAMPLE]]
    out = np.zeros_like(wanted)
    out[tuple(chosen.T)] = True
    return out


def _refined(
    hr: Slide, lr: Slide, affine: Affine, lattice: Lattice, is_tissue: np.ndarray, scale: float
) -> Aligned:
    rough = Alignment(affine)
    middles = lattice.middles()
    wanted = is_tissue & on_slide(hr, rough, middles.reshape(-1, 2)).reshape(lattice.shape)
    shifts, scores = measure(hr, lr, rough, lattice, wanted, _RADIUS_PX)
    held_out = np.indices(lattice.shape).sum(0) % 2 == 1
    weights = np.where(held_out, 0, scores * ~np.isnan(shifts[..., 0]))
    displacement = _smooth(shifts, weights)
    # One that is alone with what it says is wrong.
    far = np.linalg.norm(np.nan_to_num(shifts) - displacement, axis=2)
    displacement = _smooth(shifts, np.where(far > _NEAR_PX, 0, weights))
    alignment = Alignment(affine, lattice.cell_px, displacement)
    error = np.linalg.norm(shifts - displacement, axis=2)
    return Aligned(alignment, lattice, is_tissue, np.where(held_out, error, np.nan), held_out, scale)


def _smooth(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of what is near, and 0 where nothing is."""
    weights = weights.astype(np.float32)

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), _SMOOTH_CELLS, borderType=cv2.BORDER_CONSTANT)

    total = blur(weights)
    sums = [blur(np.nan_to_num(values[..., k]).astype(np.float32) * weights) for k in range(2)]
    return np.stack(sums, -1) / (total[..., None] + 1e-3)
