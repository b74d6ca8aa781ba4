from collections import Counter

from mhkd.errors import InputError
from mhkd.wsi.annotations import Annotation, AnnotationSet, ClassMap

import pytest
from shapely.geometry import box


def annotations(*names):
    found = [Annotation(box(0, 0, 1, 1), n) for n in names]
    return AnnotationSet("a.geojson", "QuPath GeoJSON", found)


def names(result):
    return [target for _, target in result[0]]


def test_rename_merge_drop():
    classes = ClassMap.parse(["GS=sclerotic", "GGS = sclerotic", "artery="])
    result = classes.apply(annotations("GS", "GGS", "artery", "normal", "artery"))
    assert names(result) == ["sclerotic", "sclerotic", "normal"]
    assert result[1] == Counter({"objects of the class 'artery' dropped by the map": 2})


def test_objects_without_a_class():
    result = ClassMap.parse(["a=b"]).apply(annotations(None, "a"))
    assert names(result) == ["b"]
    assert result[1] == Counter({"objects without a class left out": 1})
    assert names(ClassMap.parse(["=glomerulus"]).apply(annotations(None, "a"))) == ["glomerulus", "a"]


def test_the_rest():
    classes = ClassMap.parse(["artery=", "*=glomerulus"])
    assert names(classes.apply(annotations("x", None, "artery", "y"))) == ["glomerulus"] * 3
    result = ClassMap.parse(["x=glomerulus", "*="]).apply(annotations("x", "y"), strict=True)
    assert names(result) == ["glomerulus"] and sum(result[1].values()) == 1


def test_unknown_classes_are_counted_or_an_error():
    classes = ClassMap.parse(["GS=sclerotic"], classes=["normal", "sclerotic"])
    result = classes.apply(annotations("GS", "normal", "tumour"))
    assert names(result) == ["sclerotic", "normal"]
    assert result[1] == Counter({"objects of the unknown class 'tumour' left out": 1})
    with pytest.raises(InputError, match="a.geojson.*'tumour'.*normal, sclerotic.*--class"):
        classes.apply(annotations("tumour"), strict=True)


def test_yaml_and_pairs(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text("GS: sclerotic\nartery:\n1: normal\n'': unknown\n")
    classes = ClassMap.parse(["GS=global"], path)
    result = classes.apply(annotations("GS", "artery", "1", None))
    assert names(result) == ["global", "normal", "unknown"]


@pytest.mark.parametrize("pairs", [["nothing"], ["a=b", "a=c"]])
def test_bad_pairs(pairs):
    with pytest.raises(InputError, match="--class"):
        ClassMap.parse(pairs)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1]\n", "a: {", "!!python/object:os.x {}\n"])
def test_bad_yaml(tmp_path, text):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="classes.yaml"):
        ClassMap.parse(path=path)
