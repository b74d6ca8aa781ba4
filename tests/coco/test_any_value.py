"""Whatever a dataset's file holds: what it says, or one InputError that names it; never anything else."""

import json
import math

from mhkd.coco.read import coco_to_dicts, read_coco, sorted_categories
from mhkd.errors import InputError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(["id", "file_name", "bbox", "counts", "size", "slide_file", "mpp", "name"])
ANYTHING = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
FUZZ = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sound():
    region = {"slide_file": "../a.svs", "x_px": 0, "y_px": 0, "mpp": 0.5}
    box = {"category_id": 4, "bbox": [1, 2, 30, 20], "segmentation": [[1, 2, 31, 2, 31, 22]], "iscrowd": 0}
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 64, "height": 48, "slide": "s1", "mpp": 0.5},
            {"id": 8, "file_name": "../a.svs", "width": 64, "height": 48, "region": region, "patient": 3},
        ],
        "annotations": [{"id": 1, "image_id": 7, **box}, {"id": 2, "image_id": 8, **box}],
        "categories": [{"id": 4, "name": "normal"}],
    }


def places(value, path=()):
    """Of all that is in the content."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places(value[key], (*path, key))


PLACES = list(places(sound()))


@pytest.mark.slow
@FUZZ
@given(st.sampled_from(PLACES), ANYTHING)
def test_a_value_becomes_any_other(tmp_path, place, new):
    content = sound()
    node = content
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = new
    path = tmp_path / "annotations_train.json"
    path.write_text(json.dumps(content))
    try:
        found = read_coco(str(path))
        ids = {number: k for k, (number, _) in enumerate(sorted_categories(found, str(path)))}
        dicts = coco_to_dicts(found, str(path), str(tmp_path), ids, check_images=False)
    except InputError as e:
        assert str(path) in str(e) and "\n" not in str(e)
        return
    for entry in dicts:
        assert min(entry["width"], entry["height"]) > 0
        assert "region" in entry or entry["file_name"].startswith(str(tmp_path))
        for one in entry["annotations"]:
            assert all(math.isfinite(v) for v in one["bbox"]) and min(one["bbox"][2:]) > 0
