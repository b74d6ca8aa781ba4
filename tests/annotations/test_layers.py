"""XML of ImageScope and HALO."""

from mhkd.annotations import read_annotations
from mhkd.errors import InputError

import numpy as np
import pytest

SQUARE = [(300, 300), (500, 300), (500, 500), (300, 500)]
HOLE = [(380, 380), (420, 380), (420, 420), (380, 420)]


def region(points, kind="0", text="", negative="0", point="Vertex", within=""):
    vertices = "".join(f'<{point} X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return (
        f'<Region Type="{kind}" Text="{text}" NegativeROA="{negative}">{within}<Vertices>{vertices}'
        "</Vertices></Region>"
    )


def layer(*regions, name="", attributes=(("Description", ""),), number=1):
    found = "".join(f'<Attribute Name="{n}" Id="0" Value="{v}"/>' for n, v in attributes)
    return (
        f'<Annotation Id="{number}" Name="{name}" LineColor="255"><Attributes>{found}</Attributes><Regions>'
        f'<RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>'
        f"{''.join(regions)}</Regions><Plots/></Annotation>"
    )


def read(tmp_path, *layers):
    path = tmp_path / "a.xml"
    path.write_text(f'<Annotations MicronsPerPixel="1.0">{"".join(layers)}</Annotations>')
    return read_annotations(path)


def names(found):
    return [a.name for a in found]


def test_the_name_of_an_attribute_is_the_class_of_its_layer(tmp_path):
    """Whatever the order of the layers, and what is noted beside it."""
    for order in (["Normal", "Sclerotic"], ["Sclerotic", "Normal"]):
        layers = [layer(region(SQUARE), attributes=[(n, "")]) for n in order]
        assert names(read(tmp_path, *layers)) == order
        layers = [layer(region(SQUARE), attributes=[(n, note)]) for n, note in zip(order, ("by AB", "2"))]
        assert names(read(tmp_path, *layers)) == order
    assert names(read(tmp_path, layer(region(SQUARE), attributes=[("Normal", "")]))) == ["Normal"]


def test_the_places_of_a_class_in_their_order(tmp_path):
    found = read(
        tmp_path,
        layer(region(SQUARE, text="crescent"), name="normal", attributes=[("Description", "x")]),
        layer(region(SQUARE, text="crescent"), attributes=[("Class", "sclerotic")]),
        layer(region(SQUARE, text="crescent"), region(SQUARE, text="17"), number=7),
        layer(region(SQUARE, text="4"), attributes=[("Description", "3"), ("Tuft", "")]),
        layer(region(SQUARE, within='<Attributes><Attribute Id="1" Value="tuft"/></Attributes>')),
    )
    assert names(found) == ["normal", "sclerotic", "crescent", "17", "Tuft", "tuft"]
    # a column of the same name in every layer is a heading: its values are the classes
    layers = [layer(region(SQUARE), attributes=[("Glomerulus", v)]) for v in ("normal", "sclerotic")]
    assert names(read(tmp_path, *layers)) == ["normal", "sclerotic"]


def test_halo(tmp_path):
    def halo(points, kind, negative="0"):
        return region(points, kind, negative=negative, point="V", within="<Comments><Comment/></Comments>")

    found = read(
        tmp_path,
        layer(
            halo([*SQUARE, SQUARE[0]], "Polygon"),
            halo(HOLE, "Polygon", negative="1"),
            halo([(1100, 460), (900, 300)], "Ellipse"),
            halo([(1300, 700), (1500, 900)], "Rectangle"),
            halo([(1300, 700), (1500, 900)], "Ruler"),
            halo([(1300, 700)], "Pin"),
            name="Glomeruli",
        ),
    )
    assert found.format == "HALO XML" and names(found) == ["Glomeruli"] * 3
    areas = [a.geometry.area for a in found]
    assert areas == pytest.approx([40000 - 1600, np.pi * 100 * 80, 40000], rel=0.01)
    assert found.annotations[1].geometry.bounds == pytest.approx((900, 300, 1100, 460), abs=0.1)
    assert sum(found.counts.values()) == 2


def test_regions_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="a.xml: none of its 2 objects has an outline that can be read"):
        read(tmp_path, layer(region(SQUARE, point="Corner"), region(HOLE, point="Corner")))
    with pytest.raises(InputError, match="a.xml: the element Shape is of another tool"):
        read(tmp_path, "<Shape X='1' Y='1'/>")
    assert len(read(tmp_path, layer())) == len(read(tmp_path)) == 0
    found = read(tmp_path, layer(region(SQUARE), region(HOLE, point="Corner")))
    assert len(found) == 1 and found.counts == {"outlines without an area left out": 1}
