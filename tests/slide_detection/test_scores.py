"""`mhkd score`, on files."""

import csv
import hashlib
import json

from mhkd.cli import main
from mhkd.errors import InputError
from mhkd.evaluation.threshold_file import working_threshold
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.slides.slide import Slide
from mhkd.synthetic.slides import to_geojson, write_tiff
from mhkd.visualization.error_sheet import CROP_PX, draw_error_sheet

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from results_folder import write_result
from shapely.geometry import box
from slides_by_hand import at, scored

NORMAL, SCLEROTIC = "normal", "sclerotic"


def write_slide(folder, name, there):
    """A grey slide of 1500 x 1000 px at 2 um, with annotations (None: no file)."""
    folder.mkdir(exist_ok=True)
    slide = folder / f"{name}.tiff"
    write_tiff(slide, np.full((1000, 1500, 3), 210, np.uint8), 2.0, name)
    if there is not None:
        content = to_geojson([(box(*b), NORMAL) for b, _ in there], 0)
        for feature, (_, c) in zip(content["features"], there, strict=True):
            feature["properties"]["classification"] = {"name": c}
        slide.with_suffix(".geojson").write_text(json.dumps(content))
    return slide


def add(tmp_path, name, found, there, **options):
    slide = write_slide(tmp_path / "slides", name, there)
    columns = list(zip(*found)) or [(), (), ()]
    return write_result(tmp_path / "out", slide, *columns, size_px=(1500, 1000), **options)


def run(tmp_path, *options, code=0):
    arguments = ["score", tmp_path / "out", "--annotations", tmp_path / "slides", *options]
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    path = tmp_path / "out" / "scores" / "scores.json"
    return json.loads(path.read_text()) if path.exists() else None, result.output


def test_scores_of_two_slides_by_hand(tmp_path):
    # a: both found, one as the wrong class. b: one of two found, and one where there is nothing.
    add(tmp_path, "a", [(at(100), 0.9, 0), (at(500), 0.8, 0)], [(at(100), NORMAL), (at(500), SCLEROTIC)])
    add(tmp_path, "b", [(at(100), 0.7, 0), (at(900), 0.6, 1)], [(at(100), NORMAL), (at(500), NORMAL)])
    report, text = run(tmp_path, "--bootstrap", 50)
    scores = {k: v["value"] for k, v in report["scores"].items()}
    # normal: hit 0.9, false 0.8, hit 0.7 of 3; 34 recalls at precision 1, 33 at 2/3.
    assert scores["AP-normal"] == pytest.approx(100 * (34 + 33 * 2 / 3) / 101, abs=1e-3)
    assert scores["AP-sclerotic"] == 0
    assert scores["AP50"] == pytest.approx(scores["AP-normal"] / 2, abs=1e-3)
    assert scores["AR"] == pytest.approx((200 / 3 + 0) / 2, abs=1e-3)
    assert scores["normal/sensitivity"] == pytest.approx(200 / 3, abs=1e-3)
    assert scores["normal/precision"] == pytest.approx(200 / 3, abs=1e-3)
    assert scores["any class/sensitivity"] == 75 and scores["any class/precision"] == 75
    # normal: 2 found of 1, 1 of 2; any class: 2 of 2 twice.
    assert scores["normal/count_error"] == 1 and scores["normal/count_bias"] == 0
    assert scores["any class/count_error"] == 0
    point = report["froc"]["normal"][1]
    assert point == {"fp_per_slide": 0.5, "fp_per_mm2": 0.125, "sensitivity": 66.6667, "score": 0.7}
    rows = list(csv.DictReader((tmp_path / "out/scores/slides.csv").open(encoding="utf-8-sig")))
    assert [r["slide"] for r in rows] == ["a.tiff"] * 3 + ["b.tiff"] * 3
    assert rows[0] | {"tissue_mm2": ""} == {
        "slide": "a.tiff", "patient": "a", "tissue_mm2": "", "class": "normal",
        "score_threshold": "0.5", "annotated": "1",
        "detected": "2", "count_error": "1", "true_positives": "1", "false_positives": "1",
        "false_negatives": "0",
    }  # fmt: skip
    assert "| any class | 4 | 4 | 75.0" in text and "2 slides are few" in text
    assert (tmp_path / "out/scores/scores.md").read_text() in text
    assert sorted(p.name for p in (tmp_path / "out/scores/errors").iterdir()) == ["a.tiff.png", "b.tiff.png"]


def test_patients_who_are_alike_leave_no_doubt(tmp_path):
    for name in ("p1_a", "p1_b", "p2_a", "p2_b"):
        found = [(at(100), 0.9, 0)] if name.endswith("a") else []
        add(tmp_path, name, found, [(at(100), NORMAL)])
    options = ("--bootstrap", 100, "--sheets", 0)
    by_patient, _ = run(tmp_path, *options, "--patient-pattern", "^(?P<patient>[^_]+)_")
    assert by_patient["num_patients"] == 2
    assert by_patient["scores"]["AR"] == {"value": 50.0, "interval": [50.0, 50.0]}
    assert by_patient["scores"]["normal/count_error"] == {"value": 0.5, "interval": [0.5, 0.5]}
    by_slide, _ = run(tmp_path, *options)
    low, high = by_slide["scores"]["AR"]["interval"]
    assert low < 50 < high
    table = tmp_path / "patients.csv"
    table.write_text("slide,patient\np1_a,x\np1_b,x\np2_a,y\np2_b,y\n")
    assert run(tmp_path, *options, "--patient-csv", table)[0]["scores"] == by_patient["scores"]
    assert run(tmp_path, *options, "--patient-csv", table, "--patient-pattern", "(?P<patient>p)", code=2)


def test_slides_without_annotations_are_named_and_empty_ones_count(tmp_path):
    add(tmp_path, "annotated", [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    add(tmp_path, "empty", [(at(100), 0.8, 0)], [])
    add(tmp_path, "unknown", [(at(100), 0.7, 0)], None)
    report, text = run(tmp_path, "--sheets", 0)
    assert report["num_slides"] == 2 and list(report["without_annotations"]) == ["unknown.tiff"]
    assert report["scores"]["normal/precision"]["value"] == 50 and "unknown.tiff" in text
    (tmp_path / "slides/empty.geojson").write_text("{")
    report, text = run(tmp_path, "--sheets", 0, code=1)
    assert report["num_slides"] == 1 and "empty.geojson" in report["failed"]["empty.tiff"]


def test_other_classes_are_one_error_that_names_both_lists(tmp_path):
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), "NG"), (at(500), "GS")])
    _, text = run(tmp_path, code=2)
    assert text.startswith("mhkd: error: ") and text.count("\n") == 1
    assert "GS, NG" in text and "normal, sclerotic" in text and "--class from=to" in text
    report, _ = run(tmp_path, "--class", "NG=normal", "--class", "GS=sclerotic", "--sheets", 0)
    assert report["scores"]["AP-normal"]["value"] == 100 and report["scores"]["AP-sclerotic"]["value"] == 0
    report, _ = run(tmp_path, "--one-class", "--sheets", 0)
    assert report["classes"] == ["glomerulus"]
    assert report["scores"]["glomerulus/sensitivity"]["value"] == 50


def test_one_class_leaves_out_what_has_none_beside_others(tmp_path):
    """It is a region of interest; in a file without classes it is a glomerulus."""
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), "NG"), ((20, 20, 900, 900), None)])
    add(tmp_path, "b", [(at(100), 0.9, 0)], [(at(100), None)])
    report, text = run(tmp_path, "--one-class", "--sheets", 0)
    assert report["scores"]["glomerulus/sensitivity"]["value"] == 100
    assert "a.tiff: 1 objects without a class left out" in text and "b.tiff: 1" not in text


def test_annotations_that_are_not_used_are_named(tmp_path):
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    (tmp_path / "slides/eve.geojson").write_text("{}")
    (tmp_path / "slides/notes.txt").symlink_to("nowhere")
    report, text = run(tmp_path, "--sheets", 0)
    assert "eve.geojson: named like none of the slides" in text and "notes.txt: is a dead link" in text
    (tmp_path / "slides/eve.xml").symlink_to("nowhere")
    report, text = run(tmp_path, "--sheets", 0, code=1)
    [reason] = report["failed"].values()
    assert report["num_slides"] == 1 and "dead link" in reason


def test_results_without_low_scores_are_warned_of(tmp_path):
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), NORMAL)], keep_from_score=0.6, score_threshold=0.7)
    report, text = run(tmp_path, "--sheets", 0)
    assert report["score_threshold"] == 0.7
    assert (
        "--score-threshold 0.5: the results of a.tiff hold only"
        in run(tmp_path, "--score-threshold", 0.5, code=2)[1]
    )
    assert "AP, AR and FROC count only detections with a score of 0.6 or more" in text
    assert "no annotated object is sclerotic" in text


def test_many_glomeruli_on_a_slide_all_count(tmp_path):
    there = [(at(100 * (k % 14), 100 * (k // 14), 60), NORMAL) for k in range(130)]
    add(tmp_path, "a", [(b, 0.9 - k / 1000, 0) for k, (b, _) in enumerate(there)], there)
    report, _ = run(tmp_path, "--sheets", 0)
    assert report["max_dets"] == 130
    assert report["scores"]["AP"]["value"] == pytest.approx(100)
    assert report["scores"]["AR"]["value"] == 100


def test_sheet_shows_each_error_in_its_colour(tmp_path):
    slide = Slide(write_slide(tmp_path / "slides", "a", None))
    right = (at(100), 0.9, 0), (at(100), 0)
    wrong, lost = (at(500, 500), 0.8, 0), (at(1200, 800), 1)
    assert draw_error_sheet(scored([right[0]], [right[1]], slide=slide)) is None
    sheet = draw_error_sheet(scored([right[0], wrong], [right[1], lost], slide=slide))
    red, yellow = (np.abs(sheet.astype(int) - c).max(axis=-1) < 40 for c in ((255, 42, 26), (255, 213, 0)))
    crops_from = sheet.shape[1] // 8
    assert red[:, 30:crops_from].any() and yellow[:, 30:crops_from].any()
    side = CROP_PX * 200 / 500  # 100 px of 2 um in a crop of 500 um
    columns = np.flatnonzero(red[:, :CROP_PX].sum(axis=0) > side / 2)
    assert columns.max() - columns.min() == pytest.approx(side, abs=4)
    # 100 um are 48 px of a crop: the bar at its foot. The sheet's second row is the first of crops.
    foot = np.flatnonzero(red[:, :CROP_PX].sum(axis=1) > side / 2)[-1] + CROP_PX // 2 - round(side / 2) - 8
    black = (sheet[foot - 4 : foot + 4, 4:60] < 60).all(axis=-1).sum(axis=1)
    assert black.max() == pytest.approx(CROP_PX * 100 / 500, abs=2)
    other = (at(500, 500), 0.8, 0), (at(500, 500), 1)  # found as normal, annotated as sclerotic
    sheet = draw_error_sheet(scored([right[0], other[0]], [right[1], other[1]], slide=slide))
    light_blue = np.abs(sheet.astype(int) - (0, 200, 255)).max(axis=-1) < 40
    assert light_blue[:, 30:crops_from].any()
    assert not (np.abs(sheet[:, 30:].astype(int) - (255, 213, 0)).max(axis=-1) < 40).any()


def test_damaged_results_are_one_slide_that_failed(tmp_path):
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    folder = add(tmp_path, "b", [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    (folder / "coco_instances_results.json").write_text("[1]")
    report, _ = run(tmp_path, "--sheets", 0, code=1)
    assert list(report["failed"]) == ["b.tiff"] and report["num_slides"] == 1
    (tmp_path / "slides/a.tiff").unlink()
    with pytest.raises(InputError, match="--slides DIR"):
        find_finished(tmp_path / "out")[0][0].open_slide()


def test_other_results_of_a_folder_are_scored_where_one_is_damaged(tmp_path):
    for name in ("a", "b", "c", "d"):
        add(tmp_path, name, [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    (tmp_path / "out" / "a.tiff" / "run.json").write_text('{"slide_file": "x"\n')
    (tmp_path / "out" / "b.tiff" / "summary.json").unlink()
    (tmp_path / "out" / "c.tiff" / "coco_instances_results.json").unlink()
    report, text = run(tmp_path, "--sheets", 0, code=1)
    assert report["num_slides"] == 1 and report["scores"]["AP-normal"]["value"] == pytest.approx(100)
    for name, file in (("a", "run.json"), ("b", "summary.json"), ("c", "coco_instances_results.json")):
        assert file in report["failed"][f"{name}.tiff"] and f"{name}.tiff/{file}" in text
    assert not report["warnings"] or "a.geojson" not in str(report["warnings"])
    (tmp_path / "out" / "d.tiff" / "run.json").write_text("[]")
    assert "a.tiff/run.json" in run(tmp_path, code=2)[1]


@pytest.mark.parametrize(
    "file, key, value",
    [
        ("run.json", "size_px", ["a"]),
        ("run.json", "size_px", [0, 3]),
        ("run.json", "mpp_xy", [1.0, float("nan")]),
        ("run.json", "slide_file", "a\0.tiff"),
        ("run.json", "parameters", {"score_threshold": float("nan")}),
        ("run.json", "parameters", {"score_threshold": 7}),
        ("run.json", "classes", ["\ud800", "sclerotic"]),
        ("run.json", "grade", {"classes": [3]}),
        ("summary.json", "tissue_mm2", "7"),
        ("summary.json", "tissue_mm2", 5e-324),
        ("summary.json", "tissue_mm2", False),
        ("summary.json", "glomeruli", []),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_slide_that_failed(tmp_path, file, key, value):
    add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    damaged = add(tmp_path, "b", [(at(100), 0.9, 0)], [(at(100), NORMAL)]) / file
    damaged.write_text(json.dumps(json.loads(damaged.read_text()) | {key: value}))
    found = find_finished(tmp_path / "out")
    assert [one.name for one in found.finished] == ["a.tiff"]
    assert f"b.tiff/{file}" in found.damaged["b.tiff"] and "again" in found.damaged["b.tiff"]


@pytest.mark.parametrize(
    "change",
    [
        {"category_id": float("inf")},
        {"score": float("inf")},
        {"score": None},
        {"bbox": [1, 2, 3, float("nan")]},
    ],
)
def test_a_detection_without_a_number_is_damage_and_not_one_less(tmp_path, change):
    path = add(tmp_path, "a", [(at(100), 0.9, 0)], [(at(100), NORMAL)]) / "coco_instances_results.json"
    path.write_text(json.dumps([found | change for found in json.loads(path.read_text())]))
    (one,), _, _ = find_finished(tmp_path / "out")
    with pytest.raises(InputError, match="coco_instances_results.json: holds no detections"):
        one.detections()


def test_a_slide_that_was_replaced_is_warned_of(tmp_path):
    slide = write_slide(tmp_path / "slides", "a", [(at(100), NORMAL)])
    write_result(
        tmp_path / "out", slide, [at(100)], [0.9], [0], size_px=(1500, 1000), slide_checksum=checksum(slide)
    )
    assert "not the file" not in run(tmp_path, "--sheets", 0)[1]
    write_tiff(slide, np.full((1000, 1500, 3), 211, np.uint8), 2.0, "another")
    report, _ = run(tmp_path, "--sheets", 0)
    assert any("a.tiff: is not the file that was looked at" in line for line in report["warnings"])


def test_slides_of_other_settings_are_cut_to_what_all_have_and_named(tmp_path):
    found = [(at(100), 0.95, 0), (at(500), 0.5, 0)]
    there = [(at(100), NORMAL), (at(500), NORMAL)]
    add(tmp_path, "a", found, there, student={"sha256": "a" * 64})
    high = {"keep_from_score": 0.9, "score_threshold": 0.9}
    add(tmp_path, "b", found[:1], there, student={"sha256": "b" * 64}, **high)
    report, text = run(tmp_path, "--sheets", 0)
    assert report["detections_from_score"] == 0.9 and report["score_threshold"] == 0.9
    # Only the one of 0.95 counts on either: half of all is found.
    assert report["scores"]["AR"]["value"] == 50
    for what in (
        "same student: aaaaaaaaaaaa (a.tiff); bbbbbbbbbbbb (b.tiff)",
        "same score threshold: 0.5 (a.tiff); 0.9 (b.tiff)",
        "same lowest score kept: 0.05 (a.tiff); 0.9 (b.tiff)",
    ):  # fmt: skip
        assert what in text
    assert "choose for one at a time" in run(tmp_path, "--choose-threshold", code=2)[1]


def test_counts_are_at_the_working_threshold_and_a_pathologists_are_left_alone(tmp_path):
    found = [(at(100), 0.9, 0), (at(900), 0.6, 0), (at(500), 0.3, 0)]
    folder = add(tmp_path, "a", found, [(at(100), NORMAL), (at(500), NORMAL)])
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    report, _ = run(tmp_path, "--sheets", 0)
    assert report["score_threshold"] == 0.5 and report["scores"]["normal/precision"]["value"] == 50
    assert report["choice"]["score_threshold"] == 0.15 and report["choice"]["f1"] == pytest.approx(80)
    report, _ = run(tmp_path, "--sheets", 0, "--score-threshold", 0.8)
    assert report["scores"]["normal/precision"]["value"] == 100
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_threshold_is_recorded_where_the_student_is(tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    (student / "model_final.pth").write_bytes(b"weights")
    weights = hashlib.sha256(b"weights").hexdigest()
    found = [(at(100), 0.9, 0), (at(900), 0.6, 0)]
    add(tmp_path, "a", found, [(at(100), NORMAL)], student={"sha256": weights, "folder": str(student)})
    _, text = run(tmp_path, "--sheets", 0, "--choose-threshold")
    assert f"0.75 or more (F1 100.0 on a.tiff), recorded in {student}/threshold.json" in text
    assert working_threshold(student).score == 0.75
    moved = student.rename(tmp_path / "moved")
    assert "say where it is with --student" in run(tmp_path, "--choose-threshold", code=2)[1]
    run(tmp_path, "--sheets", 0, "--choose-threshold", "--student", moved)
    (moved / "model_final.pth").write_bytes(b"others")
    _, text = run(tmp_path, "--choose-threshold", "--student", moved, code=2)
    assert "is not the student that these results are of" in text


def test_annotations_are_written_with_the_ids_of_the_results(tmp_path):
    """Results of slides put together are scored as `mhkd score` does."""
    add(tmp_path, "a", [(at(100), 0.9, 0), (at(500), 0.8, 1)], [(at(100), NORMAL), (at(500), SCLEROTIC)])
    add(tmp_path, "b", [(at(100), 0.7, 0), (at(900), 0.6, 1)], [(at(300), NORMAL), (at(900), SCLEROTIC)])
    report, _ = run(tmp_path, "--sheets", 0)
    results = []
    for path in sorted((tmp_path / "out").glob("*/coco_instances_results.json")):
        results += json.loads(path.read_text())
    truth = COCO(str(tmp_path / "out/scores/coco_annotations.json"))
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert 100 * evaluation.stats[0] == pytest.approx(report["scores"]["AP"]["value"], abs=1e-3)
    assert 60 < report["scores"]["AP"]["value"] < 90


def test_a_pattern_that_makes_all_slides_one_patients_is_doubted(tmp_path):
    for name in ("slide_000", "slide_001"):
        add(tmp_path, name, [(at(100), 0.9, 0)], [(at(100), NORMAL)])
    report, _ = run(tmp_path, "--sheets", 0, "--patient-pattern", "^(?P<patient>[^_]+)_")
    assert any("makes all 2 slides those of one patient, slide" in line for line in report["warnings"])


def test_a_slide_whose_name_leaves_no_room_has_a_sheet(tmp_path):
    """248 bytes: with .png and .tmp they would be more than a file system takes."""
    short = write_slide(tmp_path / "slides", "s", [(at(500), NORMAL)])
    slide = short.rename(short.with_stem("s" * 243))
    short.with_suffix(".geojson").rename(slide.with_suffix(".geojson"))
    write_result(tmp_path / "out", slide, [at(100)], [0.9], [0], size_px=(1500, 1000))
    run(tmp_path)
    (sheet,) = (tmp_path / "out/scores/errors").iterdir()
    assert sheet.name.startswith("s" * 200) and sheet.suffix == ".png"
