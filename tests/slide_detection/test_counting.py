"""What is kept and what is counted are two thresholds."""

import csv
import json
import shutil

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import Choice
from mhkd.evaluation.threshold_file import FILE, record_threshold, working_threshold
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.slide_detection.slide_folder import publish

import pytest
from blob_student import blob_student, write_disks
from PIL import Image

CHOICE = Choice(0.83, 78.0, 80.0, 76.0, 100)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp("slides") / "small.tiff", (1500, 1200))[0]


class NotAgain(type(blob_student().network)):
    def forward(self, batch):
        raise AssertionError("the network is not to be run")


def detect(slide, out, network=None, **options):
    student = blob_student(**({"network": network} if network else {}))
    return detect_slide(slide, out, student, DetectOptions(**options), progress=False)


def contents(folder):
    found = {p.name: p.read_bytes() for p in folder.iterdir()}
    run = json.loads(found.pop("run.json"))
    return found, {k: v for k, v in run.items() if k not in ("timings", "command")}


def test_another_threshold_counts_anew_without_the_network(slide, tmp_path):
    folder = tmp_path / "out" / "small.tiff"
    every = detect(slide, tmp_path / "out")
    coco = (folder / "coco_instances_results.json").read_bytes()
    scores = sorted(d["score"] for d in json.loads(coco))
    middle = scores[len(scores) // 2]
    fewer = detect(slide, tmp_path / "out", NotAgain(), score_threshold=middle)
    assert every["glomeruli"] == len(scores) and fewer["glomeruli"] == len(scores) - len(scores) // 2
    assert fewer["score_threshold"] == middle and every["score_threshold"] == 0.5
    assert (folder / "coco_instances_results.json").read_bytes() == coco
    assert len(json.loads((folder / "detections.geojson").read_text())["features"]) == fewer["glomeruli"]
    dsa = json.loads((folder / "detections_dsa.json").read_text())
    assert len(dsa["elements"]) == fewer["glomeruli"] and f"score {middle:g} or more" in dsa["description"]
    with open(folder / "glomeruli.csv", encoding="utf-8-sig") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == fewer["glomeruli"] and {r["score_threshold"] for r in rows} == {str(middle)}
    # The same bytes as of a run that began with it.
    detect(slide, tmp_path / "fresh", score_threshold=middle)
    assert contents(folder) == contents(tmp_path / "fresh" / "small.tiff")
    assert detect(slide, tmp_path / "out", NotAgain()) == every


@pytest.mark.parametrize("moved", range(8))
@pytest.mark.slow
def test_killed_while_it_is_counted_anew_it_needs_no_network(slide, tmp_path, monkeypatch, moved):
    """After so many files were put in their place."""
    detect(slide, tmp_path)
    folder, done = tmp_path / "small.tiff", []

    def replace(source, target):
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(shutil.move(source, target))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mhkd.slide_detection.slide_folder.os.replace", replace)
        detect(slide, tmp_path, NotAgain(), score_threshold=0.84)
    for threshold in (0.84, 0.5):
        detect(slide, tmp_path, NotAgain(), score_threshold=threshold)
        detect(slide, tmp_path / f"fresh {threshold}", score_threshold=threshold)
        assert contents(folder) == contents(tmp_path / f"fresh {threshold}" / "small.tiff")


@pytest.mark.slow
def test_a_file_that_is_missing_is_made_anew_and_a_damaged_one_detected_again(slide, tmp_path):
    detect(slide, tmp_path)
    folder = tmp_path / "small.tiff"
    whole = contents(folder)
    (folder / "overview.png").unlink()
    detect(slide, tmp_path, NotAgain())
    assert contents(folder) == whole
    for name in ("coco_instances_results.json", "summary.json", "run.json"):
        (folder / name).write_text('{"half')
        detect(slide, tmp_path)
        assert contents(folder) == whole


def test_a_run_that_fails_leaves_the_finished_result_in_its_place(slide, tmp_path):
    detect(slide, tmp_path)
    whole = contents(tmp_path / "small.tiff")

    class Broken(type(blob_student().network)):
        def forward(self, batch):
            raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        detect(slide, tmp_path, Broken(), overlap_um=200.0)
    found = find_finished(tmp_path)
    assert [one.name for one in found.finished] == ["small.tiff"] and not found.unfinished
    shutil.rmtree(tmp_path / "small.tiff" / ".work")
    assert contents(tmp_path / "small.tiff") == whole


def test_results_of_before_are_not_taken_for_those_of_another_key(slide, tmp_path):
    """A run with other options, killed while it puts its files in place, leaves nothing to count from."""
    detect(slide, tmp_path)
    folder = tmp_path / "small.tiff"
    (folder / ".work" / "results").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        publish(folder, counted_anew=False)
    with pytest.raises(AssertionError, match="not to be run"):
        detect(slide, tmp_path, NotAgain(), score_threshold=0.6)


@pytest.mark.parametrize(
    "options", [{"score_threshold": 0.04}, {"keep_from_score": 0.6}, {"keep_from_score": 1.5}]
)
def test_a_threshold_below_what_is_kept_is_refused(options):
    with pytest.raises(InputError, match="--keep-from-score"):
        DetectOptions(**options)


def student_folder(path, content=b"weights"):
    path.mkdir(exist_ok=True)
    (path / "model_final.pth").write_bytes(content)
    return path


def test_the_students_folder_records_the_threshold(tmp_path):
    folder = student_folder(tmp_path / "student")
    assert working_threshold(folder).score == 0.5
    record_threshold(folder, CHOICE, "mine_val")
    found = working_threshold(folder)
    assert found.score == 0.83 and "best F1 on mine_val" in found.source
    assert working_threshold(folder, 0.3).score == 0.3
    assert json.loads((folder / FILE).read_text())["f1"] == 78.0
    student_folder(folder, b"other weights")
    assert working_threshold(folder).score == 0.5 and "other weights" in working_threshold(folder).source
    (folder / FILE).write_text('{"score_threshold": "high"}')
    with pytest.raises(InputError, match="threshold.json.*--choose-threshold"):
        working_threshold(folder)


def test_the_overview_says_from_which_score_it_counts(slide, tmp_path):
    detect(slide, tmp_path)
    with Image.open(tmp_path / "small.tiff" / "overview.png") as picture:
        said = picture.crop((0, 600, picture.width, picture.height)).tobytes()
    detect(slide, tmp_path, score_threshold=0.51)  # the same boxes
    with Image.open(tmp_path / "small.tiff" / "overview.png") as picture:
        assert picture.crop((0, 600, picture.width, picture.height)).tobytes() != said
