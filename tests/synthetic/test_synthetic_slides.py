"""Slides as files: what large_image reads back, the annotations, and resuming."""

import json
import uuid

from mhkd.errors import InputError
from mhkd.synthetic import CLASSES, make_slides, render_slide

import cv2
import large_image_source_openslide
import large_image_source_vips
import numpy as np
import pytest
from shapely.geometry import shape
from support import room_for

SIZE_PX = 1100
PARAMS = {"seed": 7, "size_px": SIZE_PX, "mpp": 1.0, "num_glomeruli": (3, 5), "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    paths = make_slides(folder, 2, **PARAMS)
    assert paths == [folder / "slide_000.tiff", folder / "slide_001.tiff"]
    return folder


@pytest.mark.parametrize("source", [large_image_source_openslide, large_image_source_vips])
@pytest.mark.slow
def test_large_image_reads_resolution_levels_and_pixels(folder, source):
    slide = source.open(str(folder / "slide_000.tiff"))
    meta = slide.getMetadata()
    assert (meta["sizeX"], meta["sizeY"]) == (SIZE_PX, SIZE_PX)
    assert meta["mm_x"] == pytest.approx(0.001) and meta["mm_y"] == pytest.approx(0.001)
    assert meta["magnification"] == pytest.approx(10)
    assert meta["tileWidth"] == 256
    assert meta["levels"] == 4  # 256 * 2 ** 3 holds 1100
    rgb, _ = render_slide((7, 0), SIZE_PX, 1.0, num_glomeruli=(3, 5))
    region = {"left": 300, "top": 420, "width": 400, "height": 320, "units": "base_pixels"}
    got, _ = slide.getRegion(region=region, format="numpy")
    want = rgb[420:740, 300:700].astype(int)
    assert np.abs(got[..., :3].astype(int) - want).mean() < 8  # JPEG with halved chroma
    # A quarter of the resolution shows the same tissue.
    small, _ = slide.getRegion(region=region, scale={"mm_x": 0.004}, format="numpy")
    mean = cv2.resize(want.astype(np.float32), (100, 80), interpolation=cv2.INTER_AREA)
    assert small.shape[:2] == (80, 100)
    assert np.abs(small[..., :3] - mean).mean() < 8


@pytest.mark.slow
def test_geojson_is_what_qupath_exports(folder):
    ids = []
    for k in range(2):
        data = json.loads((folder / f"slide_{k:03d}.geojson").read_text())
        assert data["type"] == "FeatureCollection"
        _, glomeruli = render_slide((7, k), SIZE_PX, 1.0, num_glomeruli=(3, 5))
        assert 3 <= len(data["features"]) == len(glomeruli) <= 5
        for feature, (polygon, name) in zip(data["features"], glomeruli, strict=True):
            assert feature["type"] == "Feature"
            assert feature["properties"]["objectType"] == "annotation"
            classification = feature["properties"]["classification"]
            assert classification["name"] == name and name in CLASSES
            assert len(classification["color"]) == 3
            ring = feature["geometry"]["coordinates"][0]
            assert ring[0] == ring[-1]
            drawn = shape(feature["geometry"])
            assert drawn.is_valid
            assert drawn.symmetric_difference(polygon).area < 0.001 * polygon.area
            ids.append(str(uuid.UUID(feature["id"])))
    assert len(set(ids)) == len(ids)


def _state(folder):
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.iterdir()}


@pytest.mark.slow
def test_again_keeps_the_files_and_a_change_redraws(tmp_path):
    params = {**PARAMS, "size_px": 800, "num_glomeruli": 1}
    make_slides(tmp_path, 2, **params)
    before = _state(tmp_path)
    annotations = (tmp_path / "slide_000.geojson").read_bytes()
    make_slides(tmp_path, 2, **params)
    assert _state(tmp_path) == before
    (tmp_path / "slide_000.geojson").unlink()
    make_slides(tmp_path, 2, **params)
    after = _state(tmp_path)
    assert sorted(after) == sorted(before)  # nothing temporary left behind
    assert after["slide_001.tiff"] == before["slide_001.tiff"]
    assert after["slide_000.tiff"] != before["slide_000.tiff"]
    assert (tmp_path / "slide_000.geojson").read_bytes() == annotations
    make_slides(tmp_path, 1, **{**params, "seed": 8})
    assert (tmp_path / "slide_000.geojson").read_bytes() != annotations


@pytest.mark.slow
def test_workers_draw_the_same_slides(folder, tmp_path):
    make_slides(tmp_path, 2, workers=2, **PARAMS)
    for name in ("slide_000", "slide_001"):
        for suffix in (".geojson", ".tiff"):
            one, two = ((f / name).with_suffix(suffix).read_bytes() for f in (folder, tmp_path))
            assert one == two


def test_a_foreign_file_is_left_alone(tmp_path):
    mine = tmp_path / "slide_000.tiff"
    mine.write_bytes(b"my own slide")
    with pytest.raises(InputError, match=r"slide_000\.tiff.*another output folder"):
        make_slides(tmp_path, 1, **PARAMS)
    assert mine.read_bytes() == b"my own slide"


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there(tmp_path):
    make_slides(tmp_path, 1, **PARAMS)
    before = _state(tmp_path)
    # There is room for the annotations, not for the slide, without which they are nothing.
    said = "slide_000.tiff: cannot be written .File too large.: make room"
    with room_for(20_000), pytest.raises(InputError, match=said):
        make_slides(tmp_path, 1, **{**PARAMS, "seed": 8})
    assert _state(tmp_path) == before
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file.* cannot be written"):
        make_slides(tmp_path / "file" / "slides", 1, **PARAMS)
