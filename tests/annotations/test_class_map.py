from collections import Counter

from mhkd.annotations import Annotation, AnnotationSet, ClassMap
from mhkd.annotations.names import ObjectName
from mhkd.errors import InputError

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
    result = classes.apply(annotations("x", None, "artery", "y"))
    assert names(result) == ["glomerulus"] * 2  # what has no class is not the rest of the classes
    assert result[1]["objects without a class left out"] == 1
    assert names(ClassMap.parse(["*=a", "=b"]).apply(annotations("x", None))) == ["a", "b"]
    result = ClassMap.parse(["x=glomerulus", "*="]).apply(annotations("x", "y"), strict=True)
    assert names(result) == ["glomerulus"] and sum(result[1].values()) == 1


@pytest.mark.parametrize("region", ["ROI", "roi_3", "Region*", "Region of interest 2", "Ignore*"])
def test_regions_of_interest_are_no_objects(region):
    for pairs in ([], ["*=glomerulus"], ["=glomerulus"]):
        result = ClassMap.parse(pairs).apply(annotations("glomerulus", region))
        assert names(result) == ["glomerulus"]
        assert result[1] == Counter({f"regions of interest ({region}) left out": 1})
    assert names(ClassMap.parse([f"{region}=tuft"]).apply(annotations(region))) == ["tuft"]


@pytest.mark.parametrize("name", ["17", "Layer 2", "Annotation 5"])
def test_numbers_and_default_names_are_doubted_until_they_are_named(name):
    kept, counts = ClassMap.parse([]).apply(annotations(name, "normal"))
    assert [target for _, target in kept] == [name, "normal"]
    [doubt] = counts
    assert f"'{name}'" in doubt and f"--class '{name}=...'" in doubt
    named = ClassMap.parse([f"{name}=sclerotic"]).apply(annotations(name))
    assert names(named) == ["sclerotic"] and not named[1]


def test_the_rest_has_classes():
    """Layers without a name have none; a number is one, as in a label mask."""
    result = ClassMap.parse(["*=normal"]).apply(annotations("Layer 2", "2"))
    assert [a.name for a, _ in result[0]] == ["2"] and "'Layer 2'" in next(iter(result[1]))
    assert names(ClassMap.parse(["=normal"]).apply(annotations("Layer 2"))) == ["normal"]


def test_the_name_of_an_object_is_its_class_where_no_object_has_one():
    own = ObjectName("left kidney")
    assert names(ClassMap.parse(["*=normal"]).apply(annotations(own))) == ["normal"]
    for pairs, found in (([], ["a", "left kidney"]), (["*=normal"], ["normal"]), (["=b"], ["a", "b"])):
        result = ClassMap.parse(pairs).apply(annotations("a", own))
        assert names(result) == found and bool(result[1]) == (pairs != ["=b"])


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
