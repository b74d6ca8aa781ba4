"""One slide in memory: reproducible, sound outlines, and detail that low resolution loses."""

from mhkd.errors import InputError
from mhkd.synthetic import CLASSES, render_slide
from mhkd.synthetic.texture import cell_mosaic, jittered_points, stamp_max

import cv2
import numpy as np
import pytest
from scipy import ndimage
from shapely.geometry import box


@pytest.fixture(scope="module")
def slide():
    return render_slide(5, 2048, 1.0, num_glomeruli=14, stain="HE")


def _mask(polygon, shape, shrink_px=0.0):
    mask = np.zeros(shape, np.uint8)
    ring = np.array(polygon.buffer(-shrink_px).exterior.coords)
    cv2.fillPoly(mask, [np.round(ring).astype(np.int32)], 1)
    return mask.astype(bool)


def _at(rgb, factor):
    """The slide as seen ``factor`` times coarser, brought back to its size."""
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.slow
def test_same_seed_same_slide_other_seed_other_slide():
    first, again, other = (render_slide(s, 800, 1.0, num_glomeruli=2) for s in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert [(p.wkt, c) for p, c in first[1]] == [(p.wkt, c) for p, c in again[1]]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.slow
def test_outlines_are_valid_apart_and_on_tissue(slide):
    rgb, glomeruli = slide
    assert rgb.shape == (2048, 2048, 3) and rgb.dtype == np.uint8
    assert len(glomeruli) == 14
    assert {c for _, c in glomeruli} == set(CLASSES)
    glass = np.percentile(rgb.reshape(-1, 3), 99, axis=0)
    blurred = cv2.GaussianBlur(rgb, (0, 0), 20).astype(float)
    for i, (polygon, _) in enumerate(glomeruli):
        assert polygon.is_valid and box(0, 0, 2048, 2048).contains(polygon)
        diameter_um = 2 * np.sqrt(polygon.area / np.pi)  # 1 mpp
        assert 125 <= diameter_um <= 225
        assert all(polygon.disjoint(other) for other, _ in glomeruli[:i])
        inside = blurred[_mask(polygon, rgb.shape[:2], 15)]
        assert (inside[:, 1] < glass[1] - 40).all()  # green is what the stains absorb


@pytest.mark.slow
def test_diameter_is_physical_whatever_the_base_resolution():
    _, glomeruli = render_slide(1, 2000, 0.5, num_glomeruli=3)
    for polygon, _ in glomeruli:
        assert 125 <= 2 * np.sqrt(polygon.area / np.pi) * 0.5 <= 225


@pytest.mark.slow
def test_glass_is_bright_and_tissue_fills_a_good_part(slide):
    green = slide[0][..., 1]
    assert np.median(green[:8, :8]) > 220
    assert 0.4 < (cv2.GaussianBlur(green, (0, 0), 10) < 200).mean() < 0.95


@pytest.mark.slow
def test_the_detail_is_there_at_2_mpp_and_gone_at_8_mpp(slide):
    """Detail: the green channel's deviation at scales below 12 um, inside each glomerulus."""
    rgb, glomeruli = slide
    detail = {}
    for factor in (2, 8):
        green = _at(rgb, factor)[..., 1].astype(np.float32)
        fine = green - cv2.GaussianBlur(green, (0, 0), 6)
        detail[factor] = {
            c: [fine[_mask(p, green.shape, 6)].std() for p, k in glomeruli if k == c] for c in CLASSES
        }
    for name in CLASSES:
        assert np.mean(detail[8][name]) < 0.4 * np.mean(detail[2][name])
    # At 2 mpp the loops and nuclei of every normal one stand out from every sclerotic one.
    assert min(detail[2]["normal"]) > 1.2 * max(detail[2]["sclerotic"])
    gap = {f: np.mean(d["normal"]) - np.mean(d["sclerotic"]) for f, d in detail.items()}
    assert gap[8] < 0.5 * gap[2]  # and most of that difference goes


def test_bowmans_space_is_a_bright_rim_only_up_close(slide):
    """Share of nearly white pixels in the outer 12 um of normal glomeruli."""
    rgb, glomeruli = slide
    white = {}
    for factor in (1, 8):
        green = _at(rgb, factor)[..., 1]
        rims = [
            green[_mask(p, green.shape, 2) & ~_mask(p, green.shape, 12)]
            for p, c in glomeruli
            if c == "normal"
        ]
        white[factor] = float(np.mean(np.concatenate(rims) > 210))
    assert white[1] > 0.10
    assert white[8] < 0.35 * white[1]


@pytest.mark.slow
def test_stains_differ_and_bad_values_say_what_to_do():
    he, pas = (render_slide(2, 700, 1.0, num_glomeruli=1, stain=s)[0] for s in ("HE", "PAS"))
    assert abs(he.astype(int) - pas.astype(int)).mean() > 2
    for kwargs, word in (
        ({"size_px": 400}, "size_px"),
        ({"size_px": 800, "num_glomeruli": 200}, "num_glomeruli"),
        ({"mpp": 8.0}, "mpp"),
        ({"num_glomeruli": (5, 2)}, "num_glomeruli"),
        ({"stain": "Masson"}, "stain"),
    ):
        with pytest.raises(InputError, match=word):
            render_slide(0, **kwargs)


def test_no_glomeruli_is_a_slide_without_annotations():
    rgb, glomeruli = render_slide(0, 700, 1.0, num_glomeruli=0)
    assert glomeruli == [] and rgb.std() > 5


def test_jittered_points_put_one_in_each_cell():
    points = jittered_points(np.random.default_rng(0), 40, 60, 20)
    cells = {(int(y) // 20, int(x) // 20) for y, x in points}
    assert len(points) == 6 and cells == {(r, c) for r in range(2) for c in range(3)}


def test_stamp_keeps_the_maximum_and_stays_inside():
    canvas = np.zeros((5, 5), np.float32)
    canvas[2, 2] = 9.0
    stamp_max(canvas, np.array([[2, 2], [0, 0]]), np.ones((1, 3, 3), np.float32), np.random.default_rng(0))
    assert canvas[2, 2] == 9.0  # what was there is larger
    assert (canvas[1:4, 1:4] > 0.6).all()
    assert canvas[0].max() == 0  # a stamp that would reach over the border is left out


def test_cell_mosaic_measures_the_distance_to_the_border():
    still = np.zeros((64, 64), np.float32)
    labels, border = cell_mosaic(np.random.default_rng(1), (64, 64), 16, still, still)
    # More than 2 px from a border, a pixel and its eight neighbours share one label.
    flat = ndimage.maximum_filter(labels, 3) == ndimage.minimum_filter(labels, 3)
    assert flat[border > 2].all()
    assert len(np.unique(labels)) == 16


def test_outlines_hug_the_drawing(slide):
    """A normal glomerulus' capsule is darker in green than the space just inside it."""
    rgb, glomeruli = slide
    green = cv2.GaussianBlur(rgb[..., 1], (0, 0), 0.7).astype(float)
    steps = []
    for polygon, name in glomeruli:
        if name != "normal":
            continue
        line = [polygon.buffer(-d).exterior for d in (1.2, 3.5)]
        values = []
        for ring in line:
            points = [ring.interpolate(t, normalized=True) for t in np.linspace(0, 1, 200)]
            values.append(np.mean([green[int(p.y), int(p.x)] for p in points]))
        steps.append(values[1] - values[0])
    assert min(steps) > 0 and np.median(steps) > 10
