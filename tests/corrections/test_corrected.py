import json
from dataclasses import replace
from pathlib import Path

from mhkd.annotations import read_annotations
from mhkd.cli import main
from mhkd.corrections.corrected import corrected, object_ids
from mhkd.corrections.export import corrected_geojson, geojson_text
from mhkd.corrections.fields import next_fields
from mhkd.corrections.journal import ACCEPTED, FIELD, REJECTED, WITHDRAWN, Correction, CorrectionFile
from mhkd.evaluation.detections import Detections
from mhkd.slide_detection.finished import FinishedSlide, find_finished
from mhkd.synthetic.slides import write_tiff
from mhkd.tables import read_csv

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from results_folder import write_result

NAMES = ("normal", "sclerotic")
BOXES = [[100, 100, 200, 200], [300, 300, 400, 420], [600, 100, 700, 200], [700, 600, 800, 700]]
FOUND = Detections(np.array(BOXES), np.array([0.9, 0.8, 0.7, 0.3]), np.array([0, 0, 1, 0]), NAMES)


def word(number, box, verdict=ACCEPTED, name="normal"):
    return Correction(number, tuple(map(float, box)), verdict, name if verdict == ACCEPTED else None)


def by_id(*words):
    return {w.id: w for w in words}


def test_without_corrections_it_is_what_was_found_from_the_threshold_on():
    now = corrected(FOUND, {}, 0.5)
    assert now.detections.boxes_px.tolist() == BOXES[:3] and not now.drawn.any() and len(now.fields_px) == 0


def test_rejected_ones_go_and_accepted_and_drawn_ones_come_whatever_the_score():
    ids = object_ids(FOUND, {})
    assert len(set(ids)) == 4
    drawn = word("d", [10, 500, 90, 560], name="sclerotic")
    said = by_id(
        word(ids[0], BOXES[0], REJECTED), word(ids[1], BOXES[1], name="sclerotic"), word(ids[3], BOXES[3]),
        drawn, word("f", [0, 0, 500, 500], FIELD),
    )  # fmt: skip
    now = corrected(FOUND, said, 0.5)
    assert now.detections.boxes_px.tolist() == [BOXES[1], BOXES[2], BOXES[3], list(drawn.box_px)]
    assert [NAMES[c] for c in now.detections.classes] == ["sclerotic", "sclerotic", "normal", "sclerotic"]
    assert now.drawn.tolist() == [False, False, False, True]
    assert now.fields_px.tolist() == [[0, 0, 500, 500]]


def test_outlines_stay_and_what_a_person_drew_has_its_box():
    discs = shapely.buffer(shapely.points([(b[0] + 30, b[1] + 30) for b in BOXES]), 20)
    found = replace(FOUND, outlines=discs)
    drawn = word("d", [10, 500, 90, 560])
    now = corrected(found, by_id(word(object_ids(found, {})[0], BOXES[0], REJECTED), drawn), 0.5)
    expected = [*discs[1:3], shapely.box(*drawn.box_px)]
    assert [a.equals(b) for a, b in zip(now.detections.outlines, expected, strict=True)] == [True] * 3
    for mpp_xy in ([0.5, 0.5], None):
        content = corrected_geojson(FinishedSlide(Path("a.svs"), {"mpp_xy": mpp_xy}), now)
        of_disc, of_drawn = (content["features"][k]["properties"]["measurements"] for k in (0, 2))
        assert len(content["features"][0]["geometry"]["coordinates"][0]) > 5
        assert ("Area um2" in of_disc) == ("Mean diameter um" in of_disc) == bool(mpp_xy)
        assert not {"Area um2", "Mean diameter um", "Score"} & of_drawn.keys()
    assert corrected(found, {}, 0.5).detections.outlines[0].equals(discs[0])


def test_what_was_accepted_keeps_its_outline_and_a_box_drawn_around_one_takes_its_place(tmp_path):
    discs = shapely.buffer(shapely.points([(b[0] + 50, b[1] + 50) for b in BOXES]), 50)
    write_result(tmp_path, "a.tiff", BOXES, FOUND.scores.tolist(), FOUND.classes.tolist(),
                 size_px=(1000, 800), mpp_xy=[0.5, 0.5], outlines=list(discs))  # fmt: skip
    slide = find_finished(tmp_path).finished[0]
    found, file = slide.detections(), CorrectionFile(slide)
    ids = object_ids(found, {})
    around = [305, 290, 400, 410]
    file.append(word(ids[3], BOXES[3], name="sclerotic"))  # below the threshold
    file.append(replace(word(ids[1], around), drawn=True))
    features = json.loads(geojson_text(slide, file))["features"]
    shapes = [shapely.from_geojson(json.dumps(f["geometry"])) for f in features]
    expected = [discs[0], discs[2], discs[3], shapely.box(*around)]
    assert [a.equals_exact(b, 1e-6, normalize=True) for a, b in zip(shapes, expected, strict=True)] == [
        True
    ] * 4
    assert features[2]["properties"]["classification"]["name"] == "sclerotic"
    measured = [f["properties"]["measurements"] for f in features]
    assert measured[2]["Score"] == 0.3 and measured[2]["Area um2"] == pytest.approx(np.pi * 25**2, rel=0.01)
    assert not {"Area um2", "Score"} & measured[3].keys()
    # Another student's outline of what was accepted is taken, and none that lies where a box was drawn.
    moved = replace(found, boxes_px=found.boxes_px + 5, outlines=shapely.buffer(discs, 1))
    now = corrected(moved, file.standing(), 0.5)
    assert now.drawn.tolist() == [False, False, False, True]
    assert now.detections.outlines[2].equals(moved.outlines[3])
    assert now.detections.boxes_px[2:].tolist() == [[v + 5 for v in BOXES[3]], around]
    # Without outlines it is the box that was accepted.
    now = corrected(replace(moved, outlines=None), file.standing(), 0.5)
    assert now.detections.boxes_px[2:].tolist() == [BOXES[3], around]


def test_what_another_student_finds_anew_keeps_the_word_that_was_said():
    """Boxes 10 px to the right: 90 of 110 px along x are shared, an IoU of 0.82; the third is not found."""
    ids = object_ids(FOUND, {})
    said = by_id(
        word(ids[0], BOXES[0], REJECTED), word(ids[1], BOXES[1], name="sclerotic"),
        word(ids[2], BOXES[2], name="sclerotic"),
    )  # fmt: skip
    anew = Detections(np.array(BOXES[:2]) + [10, 0, 10, 0], np.array([0.6, 0.6]), np.array([1, 0]), NAMES)
    assert object_ids(anew, said) == [ids[0], ids[1]]
    now = corrected(anew, said, 0.5)
    assert now.detections.boxes_px.tolist() == [BOXES[1], BOXES[2]]  # as the person saw them
    assert now.drawn.tolist() == [False, True] and now.detections.classes.tolist() == [1, 1]


def test_a_box_that_overlaps_too_little_is_another_glomerulus():
    """40 px to the right: 60 of 140, an IoU of 0.43."""
    ids = object_ids(FOUND, {})
    anew = Detections(np.array(BOXES[:1]) + [40, 0, 40, 0], np.array([0.6]), np.array([0]), NAMES)
    assert object_ids(anew, by_id(word(ids[0], BOXES[0], REJECTED)))[0] not in ids


def test_no_detections_and_no_words():
    none = Detections.empty(NAMES)
    assert object_ids(none, {}) == [] and object_ids(none, by_id(word("d", BOXES[0]))) == []
    assert len(corrected(none, by_id(word("d", BOXES[0])), 0.5).detections) == 1


@pytest.fixture
def results(tmp_path):
    """Two slides of 1000 x 800 px of 1 um."""
    for name in ("a.tiff", "b.tiff"):
        slide = tmp_path / "slides" / name
        slide.parent.mkdir(exist_ok=True)
        pixels = np.full((800, 1000, 3), (200, 150, 190), np.uint8)
        write_tiff(slide, pixels, 1.0, "pink")
        write_result(tmp_path / "out", slide, BOXES, FOUND.scores.tolist(), FOUND.classes.tolist(),
                     size_px=(1000, 800), mpp_xy=[1.0, 1.0])  # fmt: skip
    return {s.name: s for s in find_finished(tmp_path / "out").finished}


def run(*words):
    result = CliRunner().invoke(main, list(map(str, words)))
    return result.exit_code, result.output


DRAWN = [500, 600, 560, 660]


def correct(slide):
    """Rejects the first, makes the second sclerotic, draws one, and takes back what was said of the third."""
    file, ids = CorrectionFile(slide), object_ids(slide.detections(), {})
    for said in (
        word(ids[0], BOXES[0], REJECTED), word(ids[1], BOXES[1], name="sclerotic"),
        word("00000000-0000-0000-0000-000000000001", DRAWN), word(ids[2], BOXES[2], REJECTED),
        word(ids[2], BOXES[2], WITHDRAWN),
        word("00000000-0000-0000-0000-000000000002", [450, 550, 600, 700], FIELD),
    ):  # fmt: skip
        file.append(said)


def test_corrections_become_a_dataset(results, tmp_path):
    correct(results["a.tiff"])
    annotations = tmp_path / "annotations"
    status, said = run("corrections", tmp_path / "out", "--out", annotations)
    assert status == 0 and "1 slides" in said and "not corrected, so left out: b.tiff" in said
    [path] = annotations.iterdir()
    objects = [(a.name, list(a.geometry.bounds)) for a in read_annotations(path)]
    field = ("Corrected field*", [450, 550, 600, 700])
    expected = [("sclerotic", BOXES[1]), ("sclerotic", BOXES[2]), ("normal", DRAWN)]
    assert objects == [*expected, field]
    scores = [
        f["properties"].get("measurements", {}).get("Score") for f in json.loads(path.read_text())["features"]
    ]
    assert scores == [0.8, 0.7, None, None]
    status, said = run(
        "tile", tmp_path / "slides" / "a.tiff", "--annotations", annotations, "--out", tmp_path / "mine",
        "--mpp", 1, "--tile-size-px", 1024, "--lr-factor", 1, "--split", "train=1", "--glass-too",
    )  # fmt: skip
    assert status == 0, said
    coco = json.loads((tmp_path / "mine" / "annotations_train.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    boxes = [(names[a["category_id"]], a["bbox"]) for a in coco["annotations"] if not a["iscrowd"]]
    assert sorted(boxes) == sorted((n, [x0, y0, x1 - x0, y1 - y0]) for n, (x0, y0, x1, y1) in expected)
    # Only the field that was gone through is learned from.
    status, said = run(
        "tile", tmp_path / "slides" / "a.tiff", "--annotations", annotations, "--out", tmp_path / "field",
        "--mpp", 1, "--tile-size-px", 1024, "--lr-factor", 1, "--split", "train=1", "--glass-too",
        "--within", "Corrected field*",
    )  # fmt: skip
    assert status == 0 and "2 objects outside the annotated fields left out" in said, said
    coco = json.loads((tmp_path / "field" / "annotations_train.json").read_text())
    assert [a["bbox"] for a in coco["annotations"] if not a["iscrowd"]] == [[500, 600, 60, 60]]


def test_what_is_in_the_folder_is_not_overwritten_unasked(results, tmp_path):
    correct(results["a.tiff"])
    out = tmp_path / "annotations"
    words = ("corrections", tmp_path / "out", "--out", out)
    assert run(*words)[0] == 0 and run(*words)[0] == 0  # the same again
    path = out / "a.tiff.geojson"
    path.write_text("[]")
    status, said = run(*words)
    assert status == 2 and "--overwrite" in said and path.read_text() == "[]"
    assert run(*words, "--overwrite")[0] == 0 and path.read_text() != "[]"


def test_nothing_corrected_is_one_line_and_all_writes_what_was_found(results, tmp_path):
    words = ("corrections", tmp_path / "out", "--out", tmp_path / "annotations")
    status, said = run(*words)
    assert status == 2 and "nobody has corrected" in said and said.count("\n") == 1
    assert run(*words, "--all", "--score-threshold", 0.75)[0] == 0
    assert len(read_annotations(tmp_path / "annotations" / "b.tiff.geojson")) == 2


def test_next_names_the_fields_with_the_most_scores_near_the_threshold(tmp_path):
    """At 0.5 and a band of 0.25: 0.5 weighs 1, 0.6 and 0.4 weigh 0.6, 0.8 and 0.2 nothing."""
    scores = [0.5, 0.6, 0.4, 0.8, 0.2, 0.6]
    boxes = [[x, y, x + 100, y + 100] for x, y in
             [(100, 100), (300, 100), (3000, 3000), (3100, 3100), (3200, 3200), (5000, 100)]]  # fmt: skip
    size = {"size_px": (6000, 4000), "mpp_xy": [1.0, 1.0]}
    write_result(tmp_path / "out", "a.tiff", boxes, scores, [0] * 6, **size)
    write_result(tmp_path / "out", "b.tiff", boxes[:1], [0.45], [0], **size)
    write_result(tmp_path / "out", "c.tiff", boxes[:1], [0.9], [0], **size)
    slides = find_finished(tmp_path / "out").finished
    found = next_fields(slides, 3)
    assert [(s.slide.name, s.unsure) for s in found] == [("a.tiff", 4), ("b.tiff", 1), ("c.tiff", 0)]
    assert [s.weight for s in found] == pytest.approx([2.8, 0.8, 0])
    assert [f.weight for f in found[0].fields] == pytest.approx([1.6, 0.6]) and len(found[1].fields) == 1
    assert found[0].fields[0].box_px == (0, 0, 1000, 1000)
    for field, middle in zip(found[0].fields[1:], [(3050, 3050), (5050, 150)]):
        x0, y0, x1, y1 = field.box_px
        assert x0 <= middle[0] <= x1 and y0 <= middle[1] <= y1 and x1 <= 6000 and y1 <= 4000
    # What was said of a detection, or of the field that it is in, is no longer asked.
    [first, *_] = object_ids(slides[0].detections(), {})
    CorrectionFile(slides[0]).append(word(first, boxes[0], REJECTED))
    number = "00000000-0000-0000-0000-000000000002"
    CorrectionFile(slides[0]).append(word(number, [2900, 2900, 3200, 3200], FIELD))
    assert [(s.slide.name, s.unsure) for s in next_fields(slides, 3)][:2] == [("a.tiff", 2), ("b.tiff", 1)]


def test_next_is_a_table_and_a_file(results, tmp_path):
    status, said = run("next", tmp_path / "out", "--score-threshold", 0.75, "--field-um", 500)
    assert status == 0 and "a.tiff" in said
    columns, rows = read_csv(tmp_path / "out" / "next.csv", "fields")
    assert columns[:4] == ["rank", "slide", "unsure", "weight"]
    # 0.9, 0.8, 0.7 weigh 0.4, 0.8, 0.8, with middles at x of 150, 350, 650: the last two are in one field.
    first = dict(zip(columns, rows[0][1]))
    assert (
        first["slide"] == "a.tiff" and first["unsure"] == "2" and float(first["weight"]) == pytest.approx(1.6)
    )
    assert (float(first["x_px"]), float(first["width_px"])) == (250, 500)
