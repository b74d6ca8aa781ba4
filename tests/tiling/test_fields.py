"""Fields within which all is annotated: what ``--within`` does, worked out by hand."""

import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.cli import main
from mhkd.data import check_dataset, ensure_registered
from mhkd.data.inspect import inspect_datasets, summary
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.errors import InputError
from mhkd.evaluation.box_scores import box_scores
from mhkd.modeling.ignore import boxes_on
from mhkd.tiling.collect import slides_to_coco
from mhkd.tiling.fields import _largest_rectangles, outside

import numpy as np
import pycocotools.mask as mask_util
import pytest
import shapely
import torch
from click.testing import CliRunner
from detectron2.structures import Boxes
from results_folder import write_result
from shapely.geometry import Point, box
from tiled_slides import manifest_of, run, write_slide

FIELD = "Region*"  # to everyone else a region of interest
WITHIN = ("--within", FIELD, "--split", "train=1")


def add_outline(path, geometry, name=FIELD):
    content = json.loads(path.read_text())
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(geometry)}
    content["features"].append({**feature, "properties": {"classification": {"name": name}}})
    path.write_text(json.dumps(content))


@pytest.fixture
def slides(tmp_path):
    """600 x 400 um with a normal glomerulus around (64, 64) and a sclerotic one around (120, 320), r 50."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder, "ann_1")
    return folder


def annotations_of(out, split="train"):
    content = json.loads((out / f"annotations_{split}.json").read_text())
    return content, [a for a in content["annotations"] if a.get("outside_field")]


def test_rectangles_around_a_rectangle():
    """100 x 80 px around (20, 30) to (60, 50): above, below, left and right, each as long as it may be."""
    found = outside(box(1020, 530, 1060, 550), (1000, 500, 100, 80), 1.0)
    assert sorted(found) == [(0, 0, 20, 80), (0, 0, 100, 30), (0, 50, 100, 30), (60, 0, 40, 80)]
    assert outside(box(0, 0, 2000, 2000), (1000, 500, 100, 80), 1.0) == []
    assert outside(box(0, 0, 1000, 500), (1000, 500, 100, 80), 1.0) == [(0, 0, 100, 80)]  # it touches


def test_a_hole_in_a_field_is_outside():
    ring = box(0, 0, 100, 100) - box(40, 30, 70, 90)
    assert outside(ring, (0, 0, 100, 100), 4.0) == [(40, 30, 30, 60)]


def test_largest_rectangles_are_those_that_are_part_of_no_other():
    rng = np.random.default_rng(3)
    for _ in range(20):
        free = rng.random((5, 6)) < 0.7
        spans = [(a, b) for b in range(7) for a in range(b)]
        all_of = [
            (r0, c0, r1, c1)
            for r0, r1 in spans if r1 < 6
            for c0, c1 in spans if free[r0:r1, c0:c1].all()
        ]  # fmt: skip
        boxes = [box(*r) for r in all_of]
        largest = [r for r, b in zip(all_of, boxes) if sum(o.covers(b) for o in boxes) == 1]
        assert sorted(_largest_rectangles(free)) == sorted(largest)


def test_whatever_lies_outside_a_round_field_lies_in_one_rectangle():
    """Steps of 40 um, of which half may be wrong: 20 px at 1 um."""
    field = Point(512, 512).buffer(300)
    regions = outside(field, (0, 0, 1024, 1024), 1.0)
    covered = shapely.union_all([box(x, y, x + w, y + h) for x, y, w, h in regions])
    assert covered.intersection(field.buffer(-29)).area == 0 and covered.covers(
        box(0, 0, 1024, 1024) - field.buffer(29)
    )
    corners = Boxes(torch.tensor([[x, y, x + w, y + h] for x, y, w, h in regions], dtype=torch.float32))
    rng = np.random.default_rng(0)
    for x, y in rng.uniform(0, 924, (200, 2)):
        glomerulus = box(x, y, x + 100, y + 100)
        is_on = bool(boxes_on(Boxes(torch.tensor([glomerulus.bounds])), corners))
        if glomerulus.distance(field) > 40:
            assert is_on
        if field.contains(glomerulus):
            assert not is_on


def test_a_dataset_of_a_field(slides, out):
    """The field, x 0 to 192 and y 0 to 300 um, cuts the sclerotic one, y 270 to 370, by its edge."""
    add_outline(slides / "ann_1.geojson", box(0, 0, 192, 300))
    printed = run(slides, out, *WITHIN, "--keep-empty", "1")
    assert "1 objects cut by the edge of an annotated field ignored" in printed
    # Two columns of 128 um and three rows; the second column is half outside, the third row from y 300 on.
    content, regions = annotations_of(out)
    places = {i["id"]: (i["region"]["x_px"], i["region"]["y_px"]) for i in content["images"]}
    assert sorted(places.values()) == [(x, y) for x in (0, 128) for y in (0, 128, 256)]
    at = {
        place: sorted({tuple(r["bbox"]) for r in regions if places[r["image_id"]] == place})
        for place in places.values()
    }
    right, below = (32, 0, 32, 64), (0, 22, 64, 42)  # HR pixels of 2 um
    assert at == {(0, 0): [], (0, 128): [], (128, 0): [right], (128, 128): [right],
                  (0, 256): [below], (128, 256): [below, right]}  # fmt: skip
    report = manifest_of(out)["splits"]["train"]
    assert report["objects"] == {"normal": 1, "sclerotic": 0} and report["empty_tiles"] == 3
    assert manifest_of(out)["parameters"]["within"] == [FIELD]
    # A crowd of each class, as COCO scores by class, whose mask is its box.
    for region in regions:
        assert region["iscrowd"] == 1 and mask_util.area(region["segmentation"]) == region["area"]
        assert mask_util.toBbox(region["segmentation"]).tolist() == region["bbox"]
    assert len(regions) == 2 * 5

    [split], warnings = inspect_datasets(["tiled_set_train"])
    figures = summary(split, "um")
    assert figures["objects"] == 1 and figures["ignored"] == report["ignored"] == 2
    assert figures["images_without_objects"] == report["empty_tiles"]

    ensure_registered(["tiled_set_train"])
    mapper = PairedResolutionMapper(is_train=True, lr_factor=4, flip_prob=0)
    entry = next(
        e for e in check_dataset("tiled_set_train") if e["region"]["x_px"] == 128 == e["region"]["y_px"]
    )
    mapped = mapper(entry)
    assert len(mapped["instances"]) == 0
    assert {tuple(b) for b in mapped["ignore_boxes"].tensor.tolist()} == {(32, 0, 64, 64)}


def test_other_tools_do_not_count_what_is_found_outside(slides, out):
    """pycocotools, boxes and masks: a hit inside, and two false positives outside that cost nothing."""
    add_outline(slides / "ann_1.geojson", box(0, 0, 200, 230))
    run(slides, out, *WITHIN, args=["--mode", "whole", "--mpp", "2", "--lr-factor", "4"])
    content, regions = annotations_of(out)
    assert sorted({tuple(r["bbox"]) for r in regions}) == [(0, 115, 300, 85), (100, 0, 200, 200)]
    [glomerulus] = [a for a in content["annotations"] if not a["iscrowd"]]

    def result(x, y, score):
        ring = [x, y, x + 50, y, x + 50, y + 50, x, y + 50]
        mask = mask_util.frPyObjects([ring], 200, 300)[0]
        return {"image_id": 1, "category_id": 1, "bbox": [x, y, 50, 50], "score": score, "segmentation": mask}

    hit = {
        **result(7, 7, 0.5),
        "segmentation": mask_util.merge(mask_util.frPyObjects(glomerulus["segmentation"], 200, 300)),
    }
    outside_too = [hit, result(200, 20, 0.9), result(40, 130, 0.8)]
    for iou_type in ("bbox", "segm"):
        assert box_scores(content, outside_too, 100, iou_type=iou_type)["AP50"] == pytest.approx(100)
        inside_too = [*outside_too, result(40, 60, 0.7)]
        assert box_scores(content, inside_too, 100, iou_type=iou_type)["AP50"] == pytest.approx(50)


def test_objects_outside_are_left_out_and_counted(slides, out):
    add_outline(slides / "ann_1.geojson", box(0, 0, 200, 120))
    printed = run(slides, out, *WITHIN, "--mode", "centred")
    assert "1 objects outside the annotated fields left out" in printed
    content, _ = annotations_of(out)
    assert [c["name"] for c in content["categories"]] == ["normal"] and len(content["images"]) == 1


def test_a_slide_without_a_field_is_left_out_and_said(slides, out):
    write_slide(slides, "bob_1")
    add_outline(slides / "ann_1.geojson", box(0, 0, 200, 120))
    printed = run(slides, out, *WITHIN, exit_code=1)
    assert "bob_1.geojson has no field of the class 'Region*' (--within)" in printed
    assert "'normal', 'sclerotic'" in printed and "tiled_set_train: 1 slides" in printed


def test_within_is_for_tiles_of_annotated_slides(slides, out):
    for more in (["--no-annotations"], ["--task", "classification", "--field-um", "100"]):
        refused = CliRunner().invoke(
            main, ["tile", str(slides), "--out", str(out), "--mpp", "2", "--within", "a", *more]
        )
        assert refused.exit_code and "--within" in refused.output


def test_from_python_one_class_may_be_a_text(slides):
    add_outline(slides / "ann_1.geojson", box(0, 0, 200, 120))
    options = {"mpp": 2, "lr_factor": 4, "tile_size_px": 64, "classes": ["normal", "sclerotic"]}
    one, several = (
        slides_to_coco([str(slides / "ann_1.tiff")], within=w, **options) for w in (FIELD, [FIELD])
    )
    assert one == several and sum(not a["iscrowd"] for a in one["annotations"]) == 1
    for absent in ("Reg", "region*"):
        with pytest.raises(InputError, match="no field of the class"):
            slides_to_coco([str(slides / "ann_1.tiff")], within=absent, **options)


def test_scores_of_a_field(slides, tmp_path):
    """A hit, a false positive inside, and two detections outside, one of them a glomerulus."""
    add_outline(slides / "ann_1.geojson", box(0, 0, 300, 200))
    found = [[14, 14, 114, 114], [150, 50, 250, 150], [70, 270, 170, 370], [260, 100, 350, 190]]
    write_result(tmp_path / "found", slides / "ann_1.tiff", found, [0.9, 0.8, 0.7, 0.95], [0, 0, 1, 0])
    args = [
        "score",
        str(tmp_path / "found"),
        "--annotations",
        str(slides),
        "--sheets",
        "0",
        "--bootstrap",
        "0",
    ]
    result = CliRunner().invoke(main, [*args, "--within", FIELD])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "found" / "scores" / "scores.json").read_text())
    normal = next(row for row in report["slides"] if row["class"] == "normal")
    assert (normal["annotated"], normal["true_positives"], normal["false_positives"]) == (1, 1, 1)
    assert normal["tissue_mm2"] == pytest.approx(0.06)
    assert report["scores"]["AP50"]["value"] == pytest.approx(100)
    assert "2 detections outside the annotated fields left out" in "".join(report["warnings"])
    # Other tools, with all that was found, are told the same.
    truth = json.loads((tmp_path / "found" / "scores" / "coco_annotations.json").read_text())
    results = json.loads((tmp_path / "found" / "ann_1.tiff" / "coco_instances_results.json").read_text())
    assert box_scores(truth, results, 100)["AP50"] == pytest.approx(100)

    (slides / "ann_1.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    refused = CliRunner().invoke(main, [*args, "--within", FIELD])
    assert refused.exit_code and "no field of the class 'Region*'" in refused.output
