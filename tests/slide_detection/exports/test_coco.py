import json

from mhkd.slide_detection import Detections
from mhkd.slide_detection.exports.coco_results import coco_results, slide_image_id

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def ground_truth(found):
    """The same objects as a COCO dataset."""
    dataset = COCO()
    annotations = [
        {"id": k, "image_id": 1, "category_id": int(c) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0],
         "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
        for k, ((x0, y0, x1, y1), c) in enumerate(zip(found.boxes_px.tolist(), found.classes), 1)
    ]  # fmt: skip
    categories = [{"id": k, "name": n} for k, n in enumerate(found.class_names, 1)]
    dataset.dataset = {
        "images": [{"id": 1, "file_name": "case.tiff", "width": 600, "height": 400}],
        "annotations": annotations, "categories": categories,
    }  # fmt: skip
    dataset.createIndex()
    return dataset


def test_boxes_and_categories(found):
    assert coco_results(found, 7)[1] == {
        "image_id": 7, "category_id": 2, "bbox": [300.25, 200.5, 80.0, 80.0], "score": 0.8
    }  # fmt: skip


def test_pycocotools_loads_and_scores_it(found, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(coco_results(found, 1)))
    dataset = ground_truth(found)
    evaluation = COCOeval(dataset, dataset.loadRes(str(path)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0


def test_scores_are_written_short():
    found = Detections([[0, 0, 10, 10]], np.float32([0.9]), [0], ("normal",))
    assert json.dumps(coco_results(found, 1)[0]["score"]) == "0.9"


def test_slides_have_ids_of_their_own():
    ids = [slide_image_id(name) for name in ("a.tiff", "b.tiff", "A.tiff", "a.tif", "é.svs")]
    assert len(set(ids)) == 5 and all(0 < k < 2**53 for k in ids)
    assert slide_image_id("/elsewhere/a.tiff") == ids[0] == 3500666290566149


def test_no_detections_load_too_and_change_no_score(found, tmp_path):
    """pycocotools cannot load an empty list."""
    none = Detections.empty(found.class_names)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(coco_results(none, 1)))
    dataset = ground_truth(found)
    results = dataset.loadRes(str(path))
    assert [a["bbox"] for a in results.dataset["annotations"]] == [[0, 0, 0, 0]]
    # A second slide, where all is found: one of two slides found, with and without the mark.
    dataset.dataset["images"].append({"id": 2, "file_name": "b.tiff", "width": 600, "height": 400})
    dataset.dataset["annotations"] += [
        {**a, "id": a["id"] + 9, "image_id": 2} for a in dataset.dataset["annotations"]
    ]
    dataset.createIndex()
    stats = []
    for marks in ([], coco_results(none, 1)):
        evaluation = COCOeval(dataset, dataset.loadRes([*coco_results(found, 2), *marks]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        stats.append(evaluation.stats.tolist())
    assert stats[0] == stats[1] and 0.4 < stats[0][0] < 0.6
