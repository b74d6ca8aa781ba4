import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.slides.slide import Slide
from mhkd.tiling.layout import MAX_IMAGE_PX, Layout, lay_tiles

import cv2
import numpy as np
import pytest
from shapely.geometry import box

# 400 x 300 base pixels of 0.5 um, at 1 um per HR pixel 200 x 150; tiles are 200 base pixels
OPTIONS = {"mpp": 1.0, "lr_factor": 4, "tile_size_px": 100}


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("slides") / "s.png")
    cv2.imwrite(path, np.full((300, 400, 3), 245, np.uint8))
    return Slide(path, slide_mpp=0.5)


def lay(slide, *geometries, ignored=False, **options):
    objects = [(g, "tuft", ignored) for g in geometries]
    return list(lay_tiles(slide, objects, Layout(**{**OPTIONS, **options})))


def corners(tiles):
    return [(t["x_px"], t["y_px"]) for t in tiles]


def test_a_tile_around_every_object(slide):
    middle, corner = box(180, 130, 220, 170), box(0, 0, 20, 20)
    tiles = lay(slide, corner, middle, mode="centred", keep_empty=0)
    assert corners(tiles) == [(0, 0), (100, 50)]  # the first is moved to stay on the slide
    assert [o["bbox"] for o in tiles[0]["objects"]] == [[0, 0, 10, 10], [90, 65, 10, 20]]
    assert [o["bbox"] for o in tiles[1]["objects"]] == [[40, 40, 20, 20]]
    assert (tiles[1]["width"], tiles[1]["height"], tiles[1]["mpp"]) == (100, 100, 1.0)
    far = lay(slide, box(390, 290, 400, 300), mode="centred", keep_empty=0)
    assert corners(far) == [(200, 100)]


def test_centred_tiles_are_there_once_and_not_for_ignored_objects(slide):
    near = [box(0, 0, 20, 20), box(10, 30, 30, 50)]
    [tile] = lay(slide, *near, mode="centred", keep_empty=0)
    assert len(tile["objects"]) == 2
    assert lay(slide, *near, ignored=True, mode="centred", keep_empty=0) == []


def test_centred_tiles_can_be_followed_by_empty_ones(slide):
    tiles = lay(slide, box(0, 0, 20, 20), mode="centred", keep_empty=1, tissue_only=False)
    assert corners(tiles) == [(0, 0), (200, 0), (0, 200), (200, 200)]
    assert [len(t["objects"]) for t in tiles] == [1, 0, 0, 0]
    assert len(lay(slide, box(0, 0, 20, 20), mode="centred")) == 1  # the others are glass


def test_tiles_larger_than_the_slide_begin_at_its_corner(slide):
    tiles = lay(slide, box(180, 130, 220, 170), mode="centred", keep_empty=0, tile_size_px=400)
    assert corners(tiles) == [(0, 0)]


def test_the_whole_slide_as_one_image(slide):
    [tile] = lay(slide, box(360, 260, 400, 300), mode="whole")
    assert (tile["width"], tile["height"]) == (200, 152)  # nothing is cropped away
    [obj] = tile["objects"]
    assert obj["bbox"] == [180, 130, 20, 20] and obj["iscrowd"] == 0


def test_the_whole_slide_fitted_into_an_image(slide):
    """200 x 150 um into 96 x 48 px: 3.125 um per pixel."""
    [tile] = lay(slide, box(0, 0, 400, 300), mode="whole", mpp=None, fit_px=(96, 48))
    assert (tile["width"], tile["height"], tile["mpp"]) == (96, 48, 3.125)
    assert tile["objects"][0]["bbox"] == [0, 0, 64, 48]


def test_an_upright_slide_becomes_an_upright_image(slide):
    """200 x 150 um into 48 x 96 px, lying: 3.125 um per pixel all the same."""
    [tile] = lay(slide, box(0, 0, 400, 300), mode="whole", mpp=None, fit_px=(48, 96))
    assert (tile["width"], tile["height"], tile["mpp"]) == (96, 48, 3.125)


def test_what_is_to_be_ignored_stays_so(slide):
    [tile] = [t for t in lay(slide, box(20, 20, 60, 60), ignored=True) if t["objects"]]
    assert [o["iscrowd"] for o in tile["objects"]] == [1]


def test_pixels_that_are_not_square(tmp_path):
    class Stretched(Slide):
        mpp_xy = (0.5, 1.0)

    path = str(tmp_path / "s.png")
    cv2.imwrite(path, np.full((150, 400, 3), 245, np.uint8))
    tiles = lay(Stretched(path), box(180, 65, 220, 85), mode="centred", keep_empty=0)
    assert corners(tiles) == [(100, 25)]
    assert tiles[0]["objects"][0]["bbox"] == [40, 40, 20, 20]


@pytest.mark.parametrize(
    "bad,message",
    [
        ({"mode": "spiral"}, "mode is 'spiral'"),
        ({"mpp": None}, "mpp is needed"),
        ({"mpp": float("nan")}, "mpp is nan"),
        ({"fit_px": (96, 48)}, "for whole slides only"),
        ({"mode": "whole", "fit_px": (96, 48)}, "mpp is needed"),
        ({"mode": "whole", "mpp": None, "fit_px": (97, 48)}, "multiple of lr_factor"),
        ({"lr_factor": 0}, "lr_factor"),
        ({"tile_size_px": 16384}, "256 megapixels"),
        ({"overlap_um": float("nan")}, "overlap_um"),
        ({"min_tissue": -0.1}, "min_tissue"),
        ({"min_tissue_um2": float("nan")}, "min_tissue_um2"),
        ({"max_hole_um2": -1}, "max_hole_um2"),
    ],
)
def test_parameters_that_make_no_sense(bad, message):
    with pytest.raises(InputError, match=message):
        Layout(**{**OPTIONS, **bad})


def test_a_slide_too_large_for_one_image(slide):
    mpp = (200 * 150 / MAX_IMAGE_PX) ** 0.5
    with pytest.raises(InputError, match=r"s\.png: as one image of .* coarser mpp"):
        lay(slide, mode="whole", mpp=mpp * 0.98)
