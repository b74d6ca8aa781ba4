import contextlib
import io
import itertools
import json
import math
import os
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.evaluation.evaluator import CocoEvaluator

import detectron2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator, DatasetEvaluators, inference_on_dataset
from detectron2.structures import Boxes, BoxMode, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KIDNEY_ROI = Path(__file__).parents[3] / "shared" / "data" / "kidney_roi"
_names = itertools.count()


def ann(x, y, w, h, category_id=0, **more):
    return {
        "bbox": [x, y, w, h],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": category_id,
        "iscrowd": 0,
        **more,
    }


def entries(*images, size=1000):
    return [
        {"file_name": f"{k}.png", "image_id": k, "height": size, "width": size, "annotations": anns}
        for k, anns in enumerate(images)
    ]


@pytest.fixture
def register():
    """Registers dataset dicts (a list, or a function for ones that change) and cleans up."""
    registered = []

    def _register(dicts, classes=("glomerulus",), **metadata):
        name = f"test_coco_{next(_names)}"
        DatasetCatalog.register(name, dicts if callable(dicts) else lambda: dicts)
        MetadataCatalog.get(name).set(thing_classes=list(classes), **metadata)
        registered.append(name)
        return name

    yield _register
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def instances(boxes_xywh, scores, classes=None, size=1000):
    boxes = torch.tensor(boxes_xywh, dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    result = Instances((size, size))
    result.pred_boxes = Boxes(boxes)
    result.scores = torch.tensor(scores, dtype=torch.float32)
    result.pred_classes = torch.tensor(classes or [0] * len(scores), dtype=torch.int64)
    return result


def evaluate(name, predictions, **kwargs):
    """predictions: {image_id: Instances}."""
    evaluator = CocoEvaluator(name, **kwargs)
    evaluator.reset()
    for image_id, result in predictions.items():
        evaluator.process([{"image_id": image_id}], [{"instances": result}])
    return evaluator.evaluate()["bbox"]


def test_perfect_detections_score_100(register):
    name = register(entries([ann(10, 10, 50, 50), ann(500, 500, 80, 40)], [ann(0, 0, 70, 70)], []))
    result = evaluate(
        name,
        {
            0: instances([[10, 10, 50, 50], [500, 500, 80, 40]], [0.9, 0.8]),
            1: instances([[0, 0, 70, 70]], [0.7]),
            2: instances([], []),
        },
    )
    for key in ("AP", "AP50", "AP75", "AR", "APm", "AP-glomerulus"):
        assert result[key] == pytest.approx(100)
    assert math.isnan(result["APs"]) and math.isnan(result["APl"])  # no ground truth of that size


def test_one_of_two_found(register):
    name = register(entries([ann(10, 10, 50, 50), ann(500, 500, 50, 50)]))
    result = evaluate(name, {0: instances([[10, 10, 50, 50]], [0.9])})
    assert result["AP50"] == pytest.approx(100 * 51 / 101)  # recall points 0, 0.01 ... 0.50 of 101
    assert result["AR"] == pytest.approx(50)


def test_iou_threshold_decides(register):
    """Shifted by a quarter of its width, IoU is 75/125 = 0.6: a hit at 3 of the 10 thresholds."""
    name = register(entries([ann(100, 100, 100, 100)]))
    result = evaluate(name, {0: instances([[125, 100, 100, 100]], [0.9])})
    assert (result["AP50"], result["AP75"]) == (pytest.approx(100), 0)
    assert result["AP"] == pytest.approx(30)
    assert result["AR"] == pytest.approx(30)


def test_false_positive_above_halves_precision(register):
    name = register(entries([ann(100, 100, 50, 50)]))
    found = instances([[100, 100, 50, 50], [600, 600, 50, 50]], [0.5, 0.9])
    assert evaluate(name, {0: found})["AP"] == pytest.approx(50)


def test_crowd_is_neither_missed_nor_a_false_positive(register):
    name = register(entries([ann(0, 0, 50, 50), ann(300, 300, 400, 400, iscrowd=1)]))
    found = instances([[310, 310, 50, 50], [320, 400, 60, 60], [0, 0, 50, 50]], [0.99, 0.98, 0.5])
    result = evaluate(name, {0: found})
    assert result["AP"] == pytest.approx(100)
    assert result["AR"] == pytest.approx(100)


@pytest.mark.parametrize("processed", [True, False])
def test_nothing_found_is_zero_not_missing(register, processed):
    classes = ["normal", "sclerotic"]
    name = register(entries([ann(10, 10, 50, 50)], []), classes)
    result = evaluate(name, {0: instances([], []), 1: instances([], [])} if processed else {})
    for key in ("AP", "AP50", "AP75", "APm", "AR", "AP-normal"):
        assert result[key] == 0
    assert math.isnan(result["AP-sclerotic"])  # no ground truth: cannot be measured


def test_without_any_ground_truth_all_is_nan(register):
    name = register(entries([], []))
    result = evaluate(name, {0: instances([[1, 1, 9, 9]], [0.9])})
    assert all(math.isnan(value) for value in result.values())


def test_image_without_prediction_counts_as_missed(register):
    name = register(entries([ann(10, 10, 50, 50)], [ann(10, 10, 50, 50)]))
    result = evaluate(name, {0: instances([[10, 10, 50, 50]], [0.9])})
    assert result["AR"] == pytest.approx(50)


def test_ground_truth_is_read_anew(register, tmp_path):
    dicts = entries([ann(10, 10, 50, 50)])
    name = register(lambda: dicts)
    found = {0: instances([[10, 10, 50, 50]], [0.9])}
    assert evaluate(name, found, output_dir=str(tmp_path))["AR"] == pytest.approx(100)
    dicts = entries([ann(10, 10, 50, 50), ann(200, 10, 50, 50), ann(400, 10, 50, 50)])
    assert evaluate(name, found, output_dir=str(tmp_path))["AR"] == pytest.approx(100 / 3)


def test_sizes_go_by_the_outline(register):
    """A 40 x 40 box is medium, a triangle in it (800 px) small; a stated area has the last word."""
    triangle = {"segmentation": [[10, 10, 50, 10, 10, 50]]}
    found = {0: instances([[10, 10, 40, 40]], [0.9])}
    sizes = []
    for more in ({}, triangle, {**triangle, "area": 10000}):
        result = evaluate(register(entries([ann(10, 10, 40, 40, **more)])), found)
        sizes.append([key for key in ("APs", "APm", "APl") if not math.isnan(result[key])])
    assert sizes == [["APm"], ["APs"], ["APl"]]


def test_result_file_has_the_category_ids_of_the_dataset(register, tmp_path):
    name = register(
        entries([ann(10, 10, 50, 50, 0), ann(200, 200, 30, 30, 1)]),
        ["normal", "sclerotic"],
        thing_dataset_id_to_contiguous_id={7: 0, 3: 1},  # not in ascending order
    )
    found = {0: instances([[10, 10, 50, 50], [210, 200, 30, 30]], [0.75, 0.5], [0, 1])}
    result = evaluate(name, found, output_dir=str(tmp_path / "new"))
    assert result["AP-normal"] == pytest.approx(100)
    assert result["AP-sclerotic"] == pytest.approx(10)  # IoU 20/40
    assert result["AP"] == pytest.approx(55)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["coco_instances_results.json"]
    assert json.loads((tmp_path / "new" / "coco_instances_results.json").read_text()) == [
        {"image_id": 0, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.75},
        {"image_id": 0, "category_id": 3, "bbox": [210, 200, 30, 30], "score": 0.5},
    ]


def test_more_than_100_detections(register):
    boxes = [[30 * (k % 30), 30 * (k // 30), 20, 20] for k in range(300)]
    name = register(entries([ann(*box) for box in boxes]))
    found = {0: instances(boxes, np.linspace(0.9, 0.1, 300).tolist())}
    assert evaluate(name, found)["AR"] == pytest.approx(100 / 3)
    result = evaluate(name, found, max_dets=300)
    assert result["AR"] == pytest.approx(100)
    assert result["AP"] == pytest.approx(100)


def test_class_that_the_dataset_does_not_have(register):
    name = register(entries([ann(10, 10, 50, 50)]), ["glomerulus"])
    with pytest.raises(InputError, match="class 2.*only 1: glomerulus.*NUM_CLASSES"):
        evaluate(name, {0: instances([[10, 10, 50, 50]], [0.9], [2])})


def random_case(rng, num_images=12, num_classes=3):
    """Ground truth with crowds and all sizes, detections jittered from it, with ties and noise."""
    dicts, found = entries(*[[] for _ in range(num_images)]), {}
    for entry in dicts:
        boxes, scores, classes = [], [], []
        for _ in range(rng.integers(0, 15)):
            box = np.concatenate([rng.uniform(0, 800, 2), rng.uniform(8, 150, 2)])
            category = int(rng.integers(num_classes))
            crowd = int(rng.random() < 0.1)
            entry["annotations"].append(ann(*box.tolist(), category, iscrowd=crowd))
            for _ in range(rng.integers(0, 3)):
                boxes.append(box + rng.normal(0, 4, 4).clip(-7, 7))
                scores.append(round(rng.random(), 1))
                classes.append(category if rng.random() < 0.8 else int(rng.integers(num_classes)))
        found[entry["image_id"]] = instances(np.array(boxes), scores, classes)
    return dicts, found


def pycocotools_result(ground_truth, detections, max_dets=100):
    with contextlib.redirect_stdout(io.StringIO()):
        if isinstance(ground_truth, dict):
            coco = COCO()
            coco.dataset = ground_truth
            coco.createIndex()
        else:
            coco = COCO(str(ground_truth))
        coco_eval = COCOeval(coco, coco.loadRes(detections), "bbox")
        coco_eval.params.maxDets = [1, 2, max_dets]  # COCOeval sorts them
        coco_eval.evaluate()
        coco_eval.accumulate()

    def mean(values):
        values = values[values > -1]
        return 100 * values.mean() if values.size else math.nan

    precision, recall = (coco_eval.eval[k][..., -1] for k in ("precision", "recall"))
    result = {
        "AP": mean(precision[..., 0]),
        "AP50": mean(precision[0, ..., 0]),
        "AP75": mean(precision[5, ..., 0]),
        "AR": mean(recall[..., 0]),
    }
    for k, key in enumerate(("APs", "APm", "APl")):
        result[key] = mean(precision[..., k + 1])
    for k, category in enumerate(coco.loadCats(sorted(coco.getCatIds()))):
        result[f"AP-{category['name']}"] = mean(precision[:, :, k, 0])
    return result


@pytest.mark.parametrize("seed,max_dets", [(0, 100), (1, 100), (2, 3), (3, 300)])
def test_equals_pycocotools(register, tmp_path, seed, max_dets):
    dicts, found = random_case(np.random.default_rng(seed))
    classes = ["a", "b", "c"]
    name = register(dicts, classes)
    result = evaluate(name, found, output_dir=str(tmp_path), max_dets=max_dets)

    annotations = [
        {**a, "image_id": entry["image_id"], "area": a["bbox"][2] * a["bbox"][3]}
        for entry in dicts
        for a in entry["annotations"]
    ]
    ground_truth = {
        "images": [{"id": entry["image_id"]} for entry in dicts],
        "annotations": [{**a, "id": k} for k, a in enumerate(annotations, 1)],
        "categories": [{"id": k, "name": n} for k, n in enumerate(classes)],
    }
    detections = json.loads((tmp_path / "coco_instances_results.json").read_text())
    expected = pycocotools_result(ground_truth, detections, max_dets)
    assert 5 < expected["AP"] < 95
    assert result == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.skipif(not KIDNEY_ROI.is_dir(), reason="kidney_roi is not here")
def test_equals_pycocotools_on_a_coco_file(register, tmp_path):
    """A dataset that Detectron2 registered from a file, scored against that file."""
    json_file = KIDNEY_ROI / "annotations_val.json"
    name = f"test_coco_{next(_names)}"
    register_coco_instances(name, {}, str(json_file), str(KIDNEY_ROI))
    try:
        rng = np.random.default_rng(0)
        found = {}
        for entry in DatasetCatalog.get(name):
            kept = [a for a in entry["annotations"] if rng.random() < 0.8]
            boxes = [np.array(a["bbox"]) + rng.normal(0, 5, 4) for a in kept]
            classes = [a["category_id"] for a in kept]
            found[entry["image_id"]] = instances(np.array(boxes), rng.random(len(kept)), classes)
        result = evaluate(name, found, output_dir=str(tmp_path))
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    detections = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert {d["category_id"] for d in detections} == {1, 2}
    expected = pycocotools_result(json_file, detections)
    assert expected["AP-normal"] > 10
    for key in ("AP", "AP50", "AP75", "AR", "AP-normal", "AP-sclerotic"):
        assert result[key] == pytest.approx(expected[key], abs=1e-6)


class Echo(torch.nn.Module):
    """Finds the ground truth in even images, nothing in odd ones."""

    def forward(self, batch):
        even = [e["annotations"] if e["image_id"] % 2 == 0 else [] for e in batch]
        boxes = [[a["bbox"] for a in anns] for anns in even]
        return [{"instances": instances(b, [0.9] * len(b))} for b in boxes]


def _evaluate_a_share(output_dir):
    from detectron2.utils import comm

    dicts = entries(*[[ann(10 * k, 10, 50, 50)] for k in range(4)])
    DatasetCatalog.register("test_coco_shared", lambda: dicts)
    MetadataCatalog.get("test_coco_shared").set(thing_classes=["glomerulus"])
    share = [[entry] for entry in dicts[comm.get_rank() :: 2]]
    evaluator = DatasetEvaluators([CocoEvaluator("test_coco_shared")])
    results = inference_on_dataset(Echo(), share, evaluator)
    with open(os.path.join(output_dir, f"{comm.get_rank()}.json"), "w") as f:
        json.dump(results, f)


def _gloo_worker(rank, init_file, output_dir):
    import torch.distributed as dist
    from detectron2.utils import comm

    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    comm._LOCAL_PROCESS_GROUP = dist.new_group([0, 1])
    _evaluate_a_share(output_dir)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_gather_on_the_main_one(tmp_path):
    context = torch.multiprocessing.spawn(
        _gloo_worker, args=(str(tmp_path / "init"), str(tmp_path)), nprocs=2, join=False
    )
    while not context.join():
        pass
    result = json.loads((tmp_path / "0.json").read_text())["bbox"]
    assert result["AR"] == pytest.approx(50)  # images 0 and 2, both the first process's, of four
    assert result["AP50"] == pytest.approx(100 * 51 / 101)
    assert json.loads((tmp_path / "1.json").read_text()) in ({}, None)


def test_what_the_evaluator_relies_on_is_detectron2s_own():
    """Private to Detectron2 0.6: another version must be read before this one is raised."""
    assert detectron2.__version__ == "0.6"
    code = [f.__code__ for f in (COCOEvaluator.process, COCOEvaluator.reset)]
    read = {name for c in code for name in c.co_names if name.startswith("_")}
    assert read == {"_predictions", "_cpu_device"}
