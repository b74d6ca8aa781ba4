"""Whatever is wrong with a file: one InputError that names it, or a count; never anything else."""

import json
import logging

from mhkd.annotations import FORMATS, read_annotations
from mhkd.errors import InputError

import numpy as np
import pytest
import pyvips
from annotations import writers
from annotations.writers import BOX, GLOMERULUS, RING, SIZE_PX
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

SHAPES = [(GLOMERULUS, "normal"), (RING, "sclerotic"), (BOX, "normal")]
WRITERS = {
    "geojson": writers.qupath,
    "aperio": writers.aperio,
    "halo": writers.halo,
    "asap": writers.asap,
    "dsa": writers.dsa,
    "dsa_geojson": writers.dsa_geojson,
    "coco": lambda path, shapes: writers.coco(path, shapes, SIZE_PX),
    "csv": lambda path, shapes: writers.hubmap_csv(path, {"slide": writers.draw(RING, SIZE_PX)}),
    "png": lambda path, shapes: _mask(path, shapes, ".png"),
    "tif": lambda path, shapes: _mask(path, shapes, ".tif"),
}
CONTEXT = {"slide_name": "slide", "size_px": SIZE_PX, "point_diameter_px": 9}
FUZZ = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT_FORMATS = ["geojson", "aperio", "halo", "asap", "dsa", "dsa_geojson", "coco", "csv"]


def _mask(path, shapes, suffix):
    drawn = path.with_suffix(suffix)
    writers.mask(drawn, shapes, SIZE_PX, {"normal": 1, "sclerotic": 2})
    drawn.rename(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Format -> the bytes of a good file."""
    found = {}
    for name, write in WRITERS.items():
        path = tmp_path_factory.mktemp("good") / "a"
        write(path, SHAPES)
        found[name] = path.read_bytes()
    return found


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="mhkd")


def read_or_refuse(path, content):
    """The annotations, or None after an InputError that names the file."""
    path.write_bytes(content)
    try:
        found = read_annotations(path, **CONTEXT)
    except InputError as e:
        assert str(path) in str(e)
        return None
    assert all(a.geometry.is_valid and a.geometry.area > 0 for a in found)
    assert all(np.isfinite(a.geometry.bounds).all() for a in found)
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_cut_short(tmp_path, files, name):
    whole = files[name]
    assert read_or_refuse(tmp_path / "a", whole)
    for share in (0.3, 0.6, 0.97):
        cut = read_or_refuse(tmp_path / "a", whole[: int(len(whole) * share)])
        assert cut is None or name == "csv"  # which may end between two runs


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.slow
def test_fuzzed_bytes(tmp_path, files, name):
    whole = files[name]
    at = st.integers(0, len(whole) - 1)
    edits = st.lists(st.tuples(at, st.integers(0, 3), st.binary(min_size=1, max_size=4)), max_size=4)

    @FUZZ
    @given(edits)
    def run(edits):
        content = bytearray(whole)
        for where, cut, new in edits:
            content[where : where + cut] = new
        read_or_refuse(tmp_path / "a", bytes(content))

    run()


@pytest.mark.parametrize("name", ["geojson", "dsa", "dsa_geojson", "coco"])
@pytest.mark.slow
def test_fuzzed_structure(tmp_path, files, name):
    """A value somewhere in the JSON becomes any other."""
    whole = json.loads(files[name])
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    anything = st.recursive(
        leaf,
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "coordinates", "name", "id", "counts", "size"]), c, max_size=3
            )
        ),
        max_leaves=6,
    )

    @FUZZ
    @given(st.randoms(use_true_random=False), anything)
    def run(random, new):
        content = json.loads(json.dumps(whole))
        node = content
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = random.choice(keys)
            if not (isinstance(node[key], (dict, list)) and node[key]) or random.random() < 0.25:
                node[key] = new
                break
            node = node[key]
        read_or_refuse(tmp_path / "a", json.dumps(content).encode())

    run()


@pytest.mark.parametrize("name", ["aperio", "halo", "asap", "csv"])
def test_fuzzed_text(tmp_path, files, name):
    """A value in the XML or CSV becomes any other."""
    parts = files[name].decode().replace('"', "'").split("'" if name != "csv" else " ")
    word = st.sampled_from(
        ["", "nan", "-inf", "1e9", "1" * 30, "-5", "0", "2", "x", "1,5", "\u00e4", "None", "Dot"]
    )

    @FUZZ
    @given(st.integers(0, len(parts) - 1), word)
    def run(at, new):
        changed = [*parts[:at], new, *parts[at + 1 :]]
        content = ("'" if name != "csv" else " ").join(changed)
        read_or_refuse(tmp_path / "a", content.encode())

    run()


@pytest.mark.parametrize(
    "start", [b"", b"<", b"{", b"[", b"id,rle\n", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xef\xbb\xbf"]
)
def test_fuzzed_from_nothing(tmp_path, start):
    @FUZZ
    @given(st.binary(max_size=60))
    def run(rest):
        read_or_refuse(tmp_path / "a", start + rest)

    run()


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [[1, 2], [3]]},
        {"type": "MultiPoint", "coordinates": [[1, 2], ["a", "b"]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, None]]]},
        {"type": "Polygon", "coordinates": {"x": 1}},
        {"type": "GeometryCollection", "geometries": 3},
        {"type": "GeometryCollection", "geometries": [{"type": "Curve"}]},
        {"coordinates": [1, 2]},
        "POINT (1 2)",
    ],
)
def test_a_feature_at_fault_is_named(tmp_path, geometry):
    path = tmp_path / "a.geojson"
    good = feature([[0, 0], [9, 0], [9, 9]])
    path.write_text(json.dumps([good, {**good, "geometry": geometry}]))
    with pytest.raises(InputError, match="a.geojson: feature 2 has "):
        read_annotations(path)


@pytest.mark.parametrize(
    "change",
    [{"center": [1]}, {"center": None}, {"width": "x"}, {"rotation": [[]]}, {"height": True}, {"group": {}}],
)
def test_an_element_at_fault_is_named(tmp_path, change):
    path = tmp_path / "a.json"
    good = {"type": "ellipse", "center": [9, 9, 0], "width": 4, "height": 4, "rotation": None}
    path.write_text(json.dumps({"name": "a", "elements": [good, {**good, **change}]}))
    with pytest.raises(InputError, match="a.json: annotation 1, element 2 has "):
        read_annotations(path)


def test_unknown_content_names_the_known_formats(tmp_path):
    path = tmp_path / "slide.geojson"
    for content in ("hello", '{"shapes": []}', "<svg/>", "a,b\n1,2\n"):
        path.write_text(content)
        with pytest.raises(InputError) as e:
            read_annotations(path)
        assert str(path) in str(e.value) and all(f in str(e.value) for f in FORMATS)


def test_billion_laughs(tmp_path):
    path = tmp_path / "a.xml"
    entities = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(b + 1)} "{f"&{chr(b)};" * 10}">' for b in range(ord("a"), ord("j"))
    )
    path.write_text(f"<!DOCTYPE x [{entities}]><Annotations>&j;</Annotations>")
    with pytest.raises(InputError, match="entities"):
        read_annotations(path)


def test_wrong_encodings(tmp_path, files):
    path = tmp_path / "a"
    text = files["geojson"].decode().replace("normal", "normál")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_annotations(path)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        path.write_bytes(text.encode(encoding))
        assert read_annotations(path).annotations[0].name == "normál"
    path.write_bytes(b"<?xml version='1.0' encoding='no-such'?><Annotations/>")
    with pytest.raises(InputError, match="no valid XML"):
        read_annotations(path)


def feature(*rings):
    return {
        "type": "Feature",
        "properties": {"classification": {"name": "g"}},
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e300", "1" + "0" * 400])
def test_coordinates_that_are_no_place(tmp_path, number):
    path = tmp_path / "a.json"
    text = json.dumps([feature([[0, 0], [10, 0], [10, 10]]), feature([[0, 0], [7, 0], [5, 5]])])
    path.write_text(text.replace("7", number))
    with pytest.raises(InputError, match="feature 2"):
        read_annotations(path)


def test_repaired_and_empty_outlines_are_counted(tmp_path):
    path = tmp_path / "a.json"
    bow_tie = [[0, 0], [10, 10], [10, 0], [0, 10]]
    stray_hole = [[50, 50], [60, 50], [60, 60]]
    content = [
        feature(bow_tie),
        feature([[0, 0], [10, 0], [10, 10], [0, 10]], stray_hole),
        feature([]),
        feature([[1, 1], [5, 5], [9, 9]]),
        feature([[1, 1]]),
        {"type": "Feature", "geometry": None},
    ]
    path.write_text(json.dumps(content))
    found = read_annotations(path)
    assert [a.geometry.area for a in found] == [50, 100]
    assert [a.geometry.bounds for a in found] == [(0, 0, 10, 10)] * 2
    assert found.counts == {
        "outlines that cross themselves repaired": 2,
        "outlines without an area left out": 3,
        "objects without a geometry left out": 1,
    }


def test_an_outline_that_is_noise_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([feature((np.random.default_rng(0).random((3000, 2)) * 99).tolist())]))
    with pytest.raises(InputError, match="crosses itself all over"):
        read_annotations(path)


def test_annotations_of_another_slide(tmp_path, files):
    path = tmp_path / "a"
    path.write_bytes(files["geojson"])
    with pytest.raises(InputError, match="another slide"):
        read_annotations(path, size_px=(50, 50))
    found = read_annotations(path, size_px=(280, 700))
    assert len(found) == 1 and found.counts == {"objects off the slide left out": 2}
    path.write_bytes(files["png"])
    with pytest.raises(InputError, match="another slide"):
        read_annotations(path, size_px=(9000, 3000))
    for name in ("coco", "csv"):
        path.write_bytes(files[name])
        with pytest.raises(InputError, match="other"):
            read_annotations(path, slide_name="other", size_px=SIZE_PX)
    with pytest.raises(InputError, match="does not fit"):
        path.write_bytes(files["csv"])
        read_annotations(path, slide_name="slide", size_px=(200, 100))


def test_a_photograph_is_no_label_mask(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    with pytest.raises(InputError, match="photograph"):
        read_annotations(path)


def smoothed(sigma):
    """A mask of three disks, blurred."""
    y, x = np.mgrid[:300, :300]
    disks = sum(np.hypot(x - a, y - b) < 40 for a, b in ((60, 60), (200, 80), (120, 220)))
    return np.rint(gaussian_filter(disks * 255.0, sigma)).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.5, 1, 3])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.slow
def test_a_smoothed_label_mask_is_refused(tmp_path, sigma, bands):
    path = tmp_path / "a.png"
    pixels = np.repeat(smoothed(sigma)[:, :, None], bands, axis=2)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    with pytest.raises(InputError, match="a.png: .* smoothed, scaled"):
        read_annotations(path)


def test_thin_objects_and_rims_of_one_class_are_no_smoothing(tmp_path):
    path = tmp_path / "a.png"
    mask = np.where(smoothed(1e-3) > 0, 1, 0).astype(np.uint8)
    mask[1:, :][(mask[1:, :] == 1) & (mask[:-1, :] == 0)] = 2  # an upper edge of its own
    mask[290, ::3] = 3
    mask[292, ::3] = 4
    pyvips.Image.new_from_array(mask).write_to_file(str(path))
    found = read_annotations(path)
    assert {a.name for a in found} == {"1", "2", "3", "4"}
    [(what, n)] = found.counts.items()
    assert "at the edge of another class" in what and n == sum(a.name == "2" for a in found)


def test_inputs_are_left_as_they_are(tmp_path, files):
    path = tmp_path / "a"
    for content in files.values():
        path.write_bytes(content)
        read_annotations(path, **CONTEXT)
        assert path.read_bytes() == content
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
