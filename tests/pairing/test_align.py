"""Where a second scan lies on the first, against where it was put."""

import functools

from mhkd.errors import InputError
from mhkd.pairing.align import align
from mhkd.pairing.alignment import Alignment
from mhkd.pairing.patches import CELL_PX
from mhkd.slides.slide import open_slide
from mhkd.synthetic.render import render_slide

import numpy as np
import pytest
from second_scan import OTHER_STAIN, RECOLOURED, lay, second_scan, write_scan

FACTOR = 4


@functools.cache
def drawn(seed, size_px=1536):
    return render_slide((seed, 0), size_px, 1.0, num_glomeruli=5, stain="HE")[0]


@pytest.fixture(params=["drawn", "real"])
def hr(request, tmp_path):
    """A drawn slide, and a real one where it is there."""
    if request.param == "real":
        return open_slide(request.getfixturevalue("shared_data") / "slides" / "cmu-1-small-region.svs")
    return open_slide(write_scan(tmp_path / "hr.tiff", drawn(3), 1.0))


def scan(hr, folder, *, quality=90, seen=None, **place):
    """An LR slide of an HR slide, and LR to HR base pixels as it was made."""
    affine, size = lay(hr.size_px, FACTOR, **place)
    pixels = hr.read_region(0, 0, *hr.size_px, hr.mpp)
    pixels = second_scan(pixels, affine, size, FACTOR, **(seen or {}))
    return open_slide(write_scan(folder / "lr.tiff", pixels, FACTOR * hr.mpp, quality)), affine


def errors_px(found, affine, hr):
    """Of the tissue's squares that the HR slide has, LR pixels."""
    places = found.lattice.middles()[found.is_tissue]
    true = places @ affine[:, :2].T + affine[:, 2]
    there = ((true > 0) & (true < hr.size_px)).all(1)
    return np.linalg.norm(found.alignment.to_hr(places) - true, axis=1)[there] / FACTOR


EVERYTHING = dict(shift=(0.05, -0.04), turn=3, stretch=1.01, seen=dict(mixed=RECOLOURED))
WORSE = dict(
    shift=(0.1, -0.08), turn=-5, stretch=0.97, quality=40, seen=dict(mixed=OTHER_STAIN, blur_px=0.8, noise=6)
)
MIRRORED = dict(turn=177, mirrored=True, stretch=(1.01, 0.99), seen=dict(mixed=RECOLOURED))
PART = dict(shift=(0.15, 0.1), turn=2, lr_size_px=(220, 260), seen=dict(mixed=RECOLOURED))
MORE_GLASS = dict(turn=90, lr_size_px=(600, 900), seen=dict(blur_px=1.5))


@pytest.mark.slow
@pytest.mark.parametrize("how", [EVERYTHING, WORSE])
def test_is_within_a_pixel_wherever_it_was_put(hr, tmp_path, how):
    _check_alignment(hr, tmp_path, how)


@pytest.mark.slow
@pytest.mark.parametrize("how", [MIRRORED, PART, MORE_GLASS])
def test_is_within_a_pixel_mirrored_in_part_and_with_more_glass(tmp_path, how):
    _check_alignment(open_slide(write_scan(tmp_path / "hr.tiff", drawn(3), 1.0)), tmp_path, how)


def _check_alignment(hr, tmp_path, how):
    lr, affine = scan(hr, tmp_path, **how)
    found = align(hr, lr)
    assert errors_px(found, affine, hr).max() < 1
    checked = found.error_px[~np.isnan(found.error_px)]
    assert len(checked) >= 3 and np.median(checked) < 1
    scale = np.sqrt(abs(np.linalg.det(affine[:, :2]))) / FACTOR
    assert found.scale == pytest.approx(1 / scale, abs=0.005)


@pytest.mark.slow
def test_a_slide_that_is_bent_is_followed(tmp_path):
    hr = open_slide(write_scan(tmp_path / "hr.tiff", drawn(3), 1.0))

    def bend(places):
        return 3 * np.sin(places[..., ::-1] / 150)

    lr, affine = scan(hr, tmp_path, seen=dict(bend=bend, mixed=RECOLOURED))
    found = align(hr, lr)
    places = found.lattice.middles()[found.is_tissue]
    moved = found.alignment.to_hr(places)
    true = (places + bend(places)) @ affine[:, :2].T + affine[:, 2]
    there = ((true > 0) & (true < hr.size_px)).all(1)
    assert (np.linalg.norm(moved - true, axis=1) / FACTOR)[there].max() < 1.2
    assert found.alignment.to_lr(moved) == pytest.approx(places, abs=0.01)


@pytest.mark.slow
def test_a_jump_shows_in_the_squares_that_were_held_out(tmp_path):
    """The right of it is elsewhere, further right far away: what is wrong must not pass for right."""
    hr = open_slide(write_scan(tmp_path / "hr.tiff", drawn(3, 2304), 1.0))
    steps = ((200, 6), (400, 30))  # LR pixels: where, and how far

    def bend(places):
        return sum((places[..., :1] > x) * np.array([0.0, jump]) for x, jump in steps)

    lr, affine = scan(hr, tmp_path, seen=dict(bend=bend))
    found = align(hr, lr)
    places = found.lattice.middles()
    true = (places + bend(places)).reshape(-1, 2) @ affine[:, :2].T + affine[:, 2]
    off = np.linalg.norm(found.alignment.to_hr(places.reshape(-1, 2)) - true, axis=1) / FACTOR
    off = off.reshape(found.is_tissue.shape)
    there = ((true > 0) & (true < hr.size_px)).all(1).reshape(off.shape)
    straddles = np.any([np.abs(places[..., 0] - x) < CELL_PX / 2 for x, _ in steps], axis=0)
    checked = found.held_out & found.is_tissue & there & ~straddles
    assert (off[checked] > 2).any()
    with np.errstate(invalid="ignore"):
        passed = checked & (found.error_px < 1)
    assert passed.any() and off[passed].max() < 1.5


@pytest.mark.slow
def test_other_tissue_and_none_are_errors(tmp_path):
    hr = open_slide(write_scan(tmp_path / "hr.tiff", drawn(3), 1.0))
    other = open_slide(write_scan(tmp_path / "other.tiff", drawn(4)[::4, ::4].copy(), 4.0))
    with pytest.raises(InputError, match=r"other.tiff: is no second scan of .*hr.tiff"):
        align(hr, other)
    glass = open_slide(write_scan(tmp_path / "glass.tiff", np.full((384, 384, 3), 244, np.uint8), 4.0))
    with pytest.raises(InputError, match="glass.tiff: no tissue was found"):
        align(hr, glass)


def test_an_alignment_and_its_inverse_by_hand():
    displacement = np.zeros((1, 2, 2))
    displacement[0, 1] = 4, 0  # from (5, 5), none, to (15, 5), 4 px to the right
    there = Alignment(np.array([[2.0, 0, 1], [0, 2, 0]]), (10, 10), displacement)
    places = np.array([[5.0, 5], [10, 5], [15, 9], [99, 5]])
    assert there.to_hr(places).tolist() == [[11, 10], [25, 10], [39, 18], [207, 10]]
    assert there.to_lr(there.to_hr(places)) == pytest.approx(places, abs=0.1)
    assert Alignment.from_dict(there.as_dict()).to_hr(places).tolist() == there.to_hr(places).tolist()
