"""HuBMAP's polygons.jsonl by hand: one file for many tiles."""

import json

from mhkd.annotations import belongs_to, find_annotations, read_annotations
from mhkd.errors import InputError

import pytest

SQUARE = [[10, 20], [40, 20], [40, 60], [10, 60], [10, 20]]
HOLE = [[20, 30], [30, 30], [30, 40], [20, 40], [20, 30]]


def line(tile, *objects):
    return json.dumps({"id": tile, "annotations": [{"type": t, "coordinates": c} for t, c in objects]}) + "\n"


TILES = (
    line("0006ff", ("glomerulus", [SQUARE]), ("blood_vessel", [HOLE])),
    line("00a1", ("unsure", [SQUARE, HOLE])),
    line("00b2"),
)


def test_tiles_of_one_file(tmp_path):
    path = tmp_path / "polygons.jsonl"
    path.write_text("".join(TILES))
    (tmp_path / "tile_meta.csv").write_text("id,source_wsi,dataset,i,j\n0006ff,1,2,3,4\n")
    assert find_annotations(tmp_path / "00a1.tif", tmp_path) == str(path)

    found = read_annotations(path, slide_name="0006ff", size_px=(512, 512))
    assert found.format == "HuBMAP polygons.jsonl"
    assert [(a.name, a.geometry.bounds) for a in found] == [
        ("glomerulus", (10, 20, 40, 60)),
        ("blood_vessel", (20, 30, 30, 40)),
    ]
    assert belongs_to(found, "0006ff.tif")
    (unsure,) = read_annotations(path, slide_name="00a1", size_px=(512, 512))
    assert unsure.name == "unsure" and unsure.geometry.area == 30 * 40 - 100
    assert not len(read_annotations(path, slide_name="00b2", size_px=(512, 512)))


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "polygons.jsonl"
    path.write_text("".join(TILES))
    assert len(read_annotations(path, slide_name="0006ff")) == 2
    path.write_text("\n" + line("0006ff", ("glomerulus", [HOLE])))
    assert len(read_annotations(path, slide_name="0006ff")) == 1


@pytest.mark.parametrize(
    "content, fault",
    [
        (TILES[0] + TILES[1][:60] + "\n" + TILES[2], "line 2: is no valid JSON, or cut short"),
        (TILES[0][:60], "line 1: is no valid JSON, or cut short"),
        (TILES[0] + "[]\n", "line 2: has no id with a list of annotations"),
        (TILES[0] + '{"id": "x", "annotations": 3}', "line 2: has no id with a list"),
        (TILES[0] + TILES[1] + TILES[0], "lines 1 and 3 are both of 0006ff"),
        (TILES[1], "has no line for the image 0006ff"),
        (line("0006ff", ("g", "x")), "line 1, annotation 1 has no coordinates"),
        (line("0006ff", ("g", [[["x", 3]]])), "line 1, annotation 1 has coordinates that are no numbers"),
        (line("0006ff", (["g"], [SQUARE])), "line 1, annotation 1 has the class name"),
        ('{"id": "0006ff", "annotations": [5]}', "line 1, annotation 1 is no annotation"),
    ],
)
def test_faults_name_the_line(tmp_path, content, fault):
    path = tmp_path / "polygons.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=fault) as error:
        read_annotations(path, slide_name="0006ff", size_px=(512, 512))
    assert str(path) in str(error.value)


def test_one_of_several_must_be_named(tmp_path):
    path = tmp_path / "polygons.jsonl"
    path.write_text("".join(TILES))
    with pytest.raises(InputError, match="outlines of several images"):
        read_annotations(path)
