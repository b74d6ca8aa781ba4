import json

from mhkd.annotations import read_annotations
from mhkd.slide_detection.exports.dsa import dsa_annotation

import jsonschema
import pytest

# What large_image_annotation's schema (1.35, JSON schema draft 6) demands of an annotation of rectangles.
_COORDINATE = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
_COLOR = {"type": "string", "pattern": r"^(#[0-9a-fA-F]{6}|rgb\(\d+,\s*\d+,\s*\d+\))$"}
_RECTANGLE = {
    "type": "object",
    "properties": {
        "type": {"enum": ["rectangle"]},
        "id": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
        "center": _COORDINATE,
        "normal": _COORDINATE,
        "width": {"type": "number", "minimum": 0},
        "height": {"type": "number", "minimum": 0},
        "rotation": {"type": "number"},
        "lineColor": _COLOR,
        "fillColor": _COLOR,
        "lineWidth": {"type": "number", "minimum": 0},
        "group": {"type": "string"},
        "label": {
            "type": "object",
            "properties": {"value": {"type": "string"}},
            "required": ["value"],
            "additionalProperties": False,
        },
        "user": {"type": "object"},
    },
    "required": ["type", "center", "width", "height"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "display": {"type": "object"},
        "attributes": {"type": "object"},
        "elements": {"type": "array", "items": _RECTANGLE},
    },
    "additionalProperties": False,
}


@pytest.fixture
def annotation(found):
    return dsa_annotation(found, "Glomeruli", "case.svs: 2 normal, 1 sclerotic")


def test_fits_the_servers_schema(annotation):
    jsonschema.Draft6Validator(SCHEMA).validate(annotation)


def test_the_schema_tells(annotation):
    annotation["elements"][0]["score"] = 0.9
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft6Validator(SCHEMA).validate(annotation)


def test_rectangles_by_their_centres(annotation):
    first = annotation["elements"][0]
    assert (first["center"], first["width"], first["height"]) == ([150.0, 100.0, 0], 100.0, 80.0)
    assert first["group"] == "normal" and first["user"] == {"score": 0.9}


def test_reads_back_as_annotations(annotation, found, tmp_path):
    path = tmp_path / "case.json"
    path.write_text(json.dumps(annotation))
    read = read_annotations(str(path))
    assert read.format == "Digital Slide Archive JSON" and not read.counts
    assert [a.name for a in read] == ["normal", "sclerotic", "normal"]
    for a, box in zip(read, found.boxes_px.tolist()):
        assert a.geometry.bounds == pytest.approx(box)
