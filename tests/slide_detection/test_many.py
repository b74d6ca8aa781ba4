"""The command with a real, tiny student."""

import csv
import json
import ntpath
import os
import shutil
import sys

import mhkd  # noqa: F401  (first)
from mhkd.cli import main
from mhkd.engine.exported import export_cfg, export_network
from mhkd.engine.unread import load_run_cfg
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import Choice
from mhkd.evaluation.threshold_file import record_threshold
from mhkd.onnx_export import export_onnx
from mhkd.packing import pack_student
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.many import check_names

import numpy as np
import pytest
import shapely
import torch
from blob_student import write_disks, write_slide
from click.testing import CliRunner
from detectron2.modeling import build_model
from support import CONFIGS, tiny_config

pytestmark = pytest.mark.slow

CLASSES = ["normal", "sclerotic"]


NATIVE_MASKS = [
    "MODEL.STUDENT.INPUT", "native",
    "MODEL.STUDENT.RES2_OUT_CHANNELS", 8,
    "MODEL.STUDENT.FPN_CHANNELS", 4,
    "MODEL.STUDENT.STAGES", 3,
    "MODEL.MASK_ON", True,
    "MODEL.ROI_MASK_HEAD.NUM_CONV", 1,
    "MODEL.ROI_MASK_HEAD.CONV_DIM", 8,
]  # fmt: skip


def export_tiny(folder, lr_mpp, more=()):
    torch.manual_seed(0)
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MHKD.CLASSES", CLASSES, "MHKD.LR_MPP", lr_mpp]
    options += ["INPUT.MIN_SIZE_TEST", 256, "INPUT.MAX_SIZE_TEST", 256, "TEST.DETECTIONS_PER_IMAGE", 10]
    cfg = export_cfg(tiny_config(folder, [*options, *more]), "student")
    network = build_model(cfg)
    if cfg.MODEL.MASK_ON:  # else they are 1/2 everywhere
        torch.nn.init.normal_(network.roi_heads.mask_head.predictor.weight)
    export_network(network.state_dict(), cfg, folder)
    return str(folder)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("student"), 8.0)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Three that are good, and what else lies in people's folders."""
    folder = tmp_path_factory.mktemp("slides")
    for k, extent in enumerate(((1500, 1200), (1200, 1500), (600, 500))):
        write_disks(folder / f"good_{k}.tiff", extent, seed=k)
    (folder / "empty.svs").write_bytes(b"")
    (folder / "text.svs").write_text("not a slide")
    (folder / "zeiss.czi").write_text("x")
    (folder / "gone.svs").symlink_to("nowhere")
    (folder / "notes.txt").write_text("x")
    write_disks(folder / "no_mpp.tiff", record_mpp=False, extent_um=(1000, 1000))
    write_slide(folder / "glass.tiff", np.full((300, 300, 3), 245, np.uint8))
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    path = folder / "damaged.tiff"
    write_slide(path, noise, pyramid=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20000] = bytes(20000)
    path.write_bytes(content)
    return folder


def run(*arguments):
    # Scores of a student that has learnt nothing lie around 1/3.
    return CliRunner().invoke(main, ["detect", *map(str, arguments), "--score-threshold", "0.1",
                                     "--overlap-um", "120"])  # fmt: skip


def files(out):
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*")) if p.is_file() and p.name != "run.json"
    }  # fmt: skip


def test_one_bad_slide_does_not_stop_the_others(slides, student, tmp_path):
    result = run(slides, slides / "missing.svs", "--student", student, "--out", tmp_path)
    assert result.exit_code == 1, result.output
    for name, what in (
        ("empty.svs", "0 bytes"),
        ("text.svs", "no slide"),
        ("no_mpp.tiff", "--slide-mpp"),
        ("glass.tiff", "no tissue"),
        ("damaged.tiff", "copy the slide again"),
        ("missing.svs", "there is no such slide"),
        ("zeiss.czi", "convert it"),
        ("gone.svs", "dead link"),
    ):
        lines = [line for line in result.stderr.splitlines() if name in line]
        assert len(lines) == 1 and what in lines[0], (name, lines)
    with open(tmp_path / "summary.csv", encoding="utf-8-sig") as f:
        rows = {row["slide"]: row for row in csv.DictReader(f)}
    assert len(rows) == 11
    assert "notes.txt: neither a slide nor annotations" in result.stdout
    for k in range(3):
        row = rows[f"good_{k}.tiff"]
        assert int(row["glomeruli"]) > 0 and not row["error"]
        record = json.loads((tmp_path / f"good_{k}.tiff" / "run.json").read_text())
        assert record["classes"] == CLASSES and len(record["student"]["sha256"]) == 64
    assert "--slide-mpp" in rows["no_mpp.tiff"]["error"]

    # again: the finished ones are skipped, a remedy is taken
    written = (tmp_path / "good_0.tiff" / "run.json").stat().st_mtime_ns
    good = [slides / f"good_{k}.tiff" for k in range(3)]
    result = run(*good, "--student", student, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "good_0.tiff" / "run.json").stat().st_mtime_ns == written


def test_a_slide_whose_name_no_result_can_hold_is_one_failed_slide(slides, student, tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in (b"good.tiff", b"caf\xe9.tiff", b"two\nlines.tiff"):
        os.link(slides / "good_0.tiff", os.path.join(os.fsencode(folder), name))
        os.link(slides / "text.svs", os.path.join(os.fsencode(folder), name[:-5] + b".geojson"))
    result = run(folder, "--student", student, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert sum("rename it" in line for line in result.stderr.splitlines()) == 2
    with open(tmp_path / "out" / "summary.csv", encoding="utf-8-sig", newline="") as f:
        errors = {row["slide"]: row["error"] for row in csv.DictReader(f)}
    assert sorted(errors) == ["caf\\udce9.tiff", "good.tiff", "two\nlines.tiff"]
    assert not errors["good.tiff"] and "not UTF-8" in errors["caf\\udce9.tiff"]


@pytest.mark.parametrize("masks", [False, True])
def test_an_onnx_file_finds_what_its_folder_finds(slides, student, tmp_path, masks):
    if masks:
        student = export_tiny(tmp_path / "masks", 8.0, NATIVE_MASKS)
    file = tmp_path / "student.onnx"
    export_onnx(student, file)
    good = [slides / f"good_{k}.tiff" for k in (1, 2)]
    found = []
    for k, given in enumerate((student, file)):
        result = run(*good, "--student", given, "--out", tmp_path / str(k), "--score-threshold", 0.05)
        assert result.exit_code == 0, result.output
        finished = find_finished(tmp_path / str(k)).finished
        assert [one.run["student"]["folder"] for one in finished] == [str(given)] * 2
        found.append([one.detections() for one in finished])
        versions = finished[0].run["versions"]
    assert "onnxruntime" in versions and "torch" not in versions
    for one, other in zip(*found):
        assert len(one.scores) == len(other.scores) > 0
        assert np.abs(one.boxes_px - other.boxes_px).max() <= 1
        assert np.abs(one.scores - other.scores).max() <= 1e-3
        assert (one.classes == other.classes).all()
        if masks:
            ours, theirs = one.outlines, other.outlines
            both, either = shapely.intersection(ours, theirs), shapely.union(ours, theirs)
            assert (shapely.area(both) / shapely.area(either) > 0.99).all()
            assert (shapely.area(ours) < 0.95 * shapely.area(shapely.envelope(ours))).any()  # no boxes
    if masks:  # packed it is the same
        pack_student(file, tmp_path / "student.mhkd", {})
        result = run(
            good[1],
            "--student",
            tmp_path / "student.mhkd",
            "--out",
            tmp_path / "2",
            "--score-threshold",
            0.05,
        )
        assert result.exit_code == 0, result.output
        name = f"{good[1].name}/detections.geojson"
        assert (tmp_path / "2" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Tells two classes of a field of one and a half boxes."""
    folder = tmp_path_factory.mktemp("classifier")
    options = ["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "INPUT.PIXEL_STATISTICS", "config",
               "DATASETS.TRAIN", ("no_images_train",), "OUTPUT_DIR", str(folder)]  # fmt: skip
    cfg = load_run_cfg(CONFIGS / "Lymphoma" / "resnet18_cpu.yaml", options)
    cfg.MHKD.CLASSES, cfg.MHKD.LR_MPP = ["early", "late"], 8.0
    torch.manual_seed(0)
    cfg = export_cfg(cfg, "student")
    export_network(build_model(cfg).state_dict(), cfg, folder)
    return str(folder)


def test_processes_of_dask_find_the_same(slides, student, classifier, tmp_path, capfd):
    """With all that each of them has to load and to do: flips and grades."""
    good = [slides / f"good_{k}.tiff" for k in (1, 2)]
    alone, cluster = tmp_path / "alone", tmp_path / "cluster"
    words = ("--student", student, "--flips", "--grade", classifier, "--grade-field-boxes", 1.5)
    result = run(*good, *words, "--out", alone)
    assert result.exit_code == 0, result.output
    result = run(
        *good, slides / "empty.svs", *words, "--out", cluster, "--scheduler", "local", "--workers", 2
    )
    assert result.exit_code == 1 and "empty.svs" in result.stderr
    assert "INFO" not in capfd.readouterr().err
    one, other = files(alone), files(cluster)
    assert other.pop("summary.csv").startswith("\ufeffslide,glomeruli,normal,sclerotic".encode())
    del one["summary.csv"]
    assert one == other and len(one) >= 2 * 6
    record = json.loads((cluster / "good_1.tiff" / "run.json").read_text())
    assert record["command"] == sys.argv and record["student"]["flips"]
    assert record["grade"]["classes"] == ["early", "late"]
    assert b"grade_probability" in other["good_1.tiff/glomeruli.csv"]


def test_two_slides_of_one_name(slides, student, tmp_path):
    (tmp_path / "other").mkdir()
    write_disks(tmp_path / "other" / "good_0.tiff", (600, 500))
    result = run(slides / "good_0.tiff", tmp_path / "other", "--student", student, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "same name" in result.stderr and "another --out" in result.stderr
    assert not (tmp_path / "out").exists()


def test_two_slides_whose_folders_windows_takes_for_one(monkeypatch, tmp_path):
    slides = ["fine/a.svs", "poor/A.SVS"]
    check_names(slides, tmp_path)
    monkeypatch.setattr(os.path, "normcase", ntpath.normcase)
    with pytest.raises(InputError, match=r"poor/A\.SVS: has the same name as fine/a\.svs"):
        check_names(slides, tmp_path)


def test_student_without_resolution(slides, tmp_path):
    student = export_tiny(tmp_path / "student", 0.0)
    slide = slides / "good_2.tiff"
    result = run(slide, "--student", student, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "--student-mpp" in result.stderr
    result = run(slide, "--student", student, "--out", tmp_path / "out", "--student-mpp", 8)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--batch-size", 0), "--batch-size 0"),
        (("--workers", 0), "--workers 0"),
        (("--tile-size-px", 30), "multiple of the LR factor 4"),
        (("--tile-size-px", 64), "more than half of a tile"),
        (("--device", "nonsense"), "--device nonsense"),
    ],
)
def test_parameters_that_make_no_sense(slides, student, tmp_path, options, what):
    result = run(slides / "good_2.tiff", "--student", student, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2 and what in result.stderr, result.output


def test_the_students_threshold_is_used_and_said_and_a_given_one_decides(slides, student, tmp_path):
    chosen = shutil.copytree(student, tmp_path / "student")
    record_threshold(chosen, Choice(0.34, 50.0, 50.0, 50.0, 9), "mine_val")
    arguments = ["detect", slides / "good_2.tiff", "--student", chosen, "--out", tmp_path / "out"]

    def counted(*options):
        result = CliRunner().invoke(main, [*map(str, arguments), "--overlap-um", "120", *options])
        assert result.exit_code == 0, result.output
        record = json.loads((tmp_path / "out/good_2.tiff/run.json").read_text())
        with open(tmp_path / "out/summary.csv", encoding="utf-8-sig") as f:
            (row,) = csv.DictReader(f)
        assert row["student"] == record["student"]["sha256"][:12]
        parameters = record["parameters"]
        assert float(row["score_threshold"]) == parameters["score_threshold"]
        assert parameters["score_threshold_from"] in result.output and parameters["keep_from_score"] == 0.05
        return parameters["score_threshold"], parameters["score_threshold_from"], record["key"]

    threshold, source, key = counted()
    assert threshold == 0.34 and "threshold.json" in source and "mine_val" in source
    assert counted("--score-threshold", "0.3") == (0.3, "--score-threshold", key)
    record_threshold(chosen, Choice(0.36, 50.0, 50.0, 50.0, 9), "mine_val")
    assert counted()[0] == 0.36 and counted()[2] == key  # still the same student


def test_slides_of_other_settings_are_named_and_a_failing_one_keeps_its_row(slides, student, tmp_path):
    arguments = ("--student", student, "--out", tmp_path)
    assert run(*(slides / f"good_{k}.tiff" for k in (1, 2)), *arguments).exit_code == 0
    result = CliRunner().invoke(main, ["detect", str(slides / "good_2.tiff"), *map(str, arguments),
                                       "--score-threshold", "0.2", "--overlap-um", "100"])  # fmt: skip
    assert result.exit_code == 0
    assert "same score threshold: 0.1 (good_1.tiff); 0.2 (good_2.tiff)" in result.stderr
    assert "same overlap (um): 120 (good_1.tiff); 100 (good_2.tiff)" in result.stderr
    (tmp_path / "good_1.tiff" / "run.json").write_text("{")
    hurt = tmp_path / "slides" / "good_2.tiff"
    hurt.parent.mkdir()
    hurt.write_bytes((slides / "good_2.tiff").read_bytes()[:2000])
    assert run(hurt, *arguments).exit_code == 1
    with open(tmp_path / "summary.csv", encoding="utf-8-sig") as f:
        rows = {row["slide"]: row for row in csv.DictReader(f)}
    assert "run.json" in rows["good_1.tiff"]["error"] and not rows["good_1.tiff"]["glomeruli"]
    assert int(rows["good_2.tiff"]["glomeruli"]) > 0
    assert "the numbers are of an earlier run" in rows["good_2.tiff"]["error"]


def test_results_where_the_slides_are(slides, student):
    before = sorted(p.name for p in slides.iterdir())
    result = run(slides, "--student", student, "--out", slides)
    assert result.exit_code == 2 and "is where the slides are" in result.stderr
    assert sorted(p.name for p in slides.iterdir()) == before


def test_an_overlap_larger_than_the_tile_is_said_to_be_that(slides, student, tmp_path):
    for um in (600, 100_000):
        arguments = ["--student", student, "--out", tmp_path, "--overlap-um", um]
        result = CliRunner().invoke(main, ["detect", str(slides / "good_2.tiff"), *map(str, arguments)])
        assert result.exit_code == 2 and "more than a tile of this student, 512 um" in result.stderr
        assert "tissue" not in result.stderr
