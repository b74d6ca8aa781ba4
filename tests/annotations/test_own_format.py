"""A format of the user's own, and which files are a slide's own."""

import textwrap

from mhkd.annotations import AnnotationFormat, find_annotations, formats, is_named_like, read_annotations
from mhkd.annotations import register_format as register
from mhkd.annotations.folders import look_into
from mhkd.errors import InputError

import numpy as np
import pytest


@pytest.fixture
def circles(monkeypatch):
    """The example of the documentation, run as it stands there."""
    monkeypatch.setattr(formats, "_own", [])
    example = formats.__doc__.partition("::\n")[2].partition("\nIt is asked")[0]
    exec(textwrap.dedent(example), {})
    return formats.own_formats()[0]


def test_a_registered_format_is_found_beside_its_slide_and_read(tmp_path, circles):
    (tmp_path / "a.svs").touch()
    path = tmp_path / "a.circles"
    path.write_bytes(b"glomeruli\n10 20 8\n30.5 40 6\n")
    assert find_annotations(tmp_path / "a.svs") == str(path)
    assert [e.kind for e in look_into(str(tmp_path))] == ["annotations", "slide"]
    found = read_annotations(path)
    assert found.format == "circles" and not found.of_many_slides
    np.testing.assert_allclose([a.geometry.centroid.coords[0] for a in found], [(10, 20), (30.5, 40)])
    np.testing.assert_allclose([a.geometry.bounds[2] - a.geometry.bounds[0] for a in found], [8, 6])
    assert {a.name for a in found} == {"glomerulus"}
    path.write_bytes(b"glomeruli\n10 20 0\n")
    with pytest.raises(InputError, match=r"a\.circles: none of its 1 objects .* \(circles\)"):
        read_annotations(path)
    path.write_bytes(b"tubules\n")
    with pytest.raises(InputError, match="no known format.*YOLO labels, circles$"):
        read_annotations(path)


def test_it_is_asked_before_those_of_the_package_and_may_say_what_a_file_turned_out_to_be(tmp_path, circles):
    path = tmp_path / "a.json"
    path.write_text('{"type": "FeatureCollection", "features": [], "by": "us"}')
    assert read_annotations(path).format == "QuPath GeoJSON"
    ours = AnnotationFormat(
        "ours",
        lambda file: file.json if file.is_json and file.json.get("by") else None,
        lambda content, collector: f"ours, by {content['by']}",
        of_many_slides=True,
    )
    register(ours)
    register(ours)  # again, as a module that is imported twice
    found = read_annotations(path)
    assert found.format == "ours, by us" and found.of_many_slides
    with pytest.raises(ValueError, match="'ours' is registered already"):
        register(AnnotationFormat("ours", circles.recognise, circles.read))


@pytest.mark.parametrize(
    "slide, own, others",
    [
        ("a.svs", ["a.geojson", "a.svs.json", "a.png"], ["b.json", "a.b.json", "a.ndpi.json", "train.csv"]),
        ("a.ome.tiff", ["a.geojson", "a.ome.geojson", "a.ome.tiff.json"], ["a.tiff.json", "ome.json"]),
        ("a.b.ndpi", ["a.b.xml", "a.b.ndpi.xml"], ["a.xml"]),
    ],
)
def test_files_that_are_named_like_a_slide(slide, own, others):
    assert [n for n in [*own, *others] if is_named_like(f"annotations/{n}", f"slides/{slide}")] == own
