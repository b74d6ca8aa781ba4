"""A student as an .onnx file finds what it finds in PyTorch, and knows what slides need."""

import os
import re
import subprocess

import mhkd  # noqa: F401  (first)
from mhkd.cli import main
from mhkd.engine.exported import export_cfg, export_network, exported_cfg, load_deployed
from mhkd.enlarge import upsample
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import Choice
from mhkd.evaluation.threshold_file import record_threshold, working_threshold
from mhkd.onnx_export import export_onnx
from mhkd.onnx_export.compare import compare, found_again
from mhkd.onnx_export.enlarge import enlarge
from mhkd.onnx_export.inference import PlainInference
from mhkd.onnx_export.tiles import drawn_tiles
from mhkd.onnx_file import OnnxNetwork
from mhkd.slide_detection.student import load_student
from mhkd.training_data import COLOUR, TrainingData, write_training_data

import numpy as np
import onnx
import pytest
import shapely
import torch
from click.testing import CliRunner
from detectron2.modeling import build_model
from support import mounted, tiny_config

FACTOR, TRAINED_PX, LIMIT = 3, 96, 10
OPTIONS = [
    "INPUT.LR_FACTOR", FACTOR,
    "INPUT.MIN_SIZE_TEST", TRAINED_PX,
    "INPUT.MAX_SIZE_TEST", TRAINED_PX,
    "MODEL.ROI_HEADS.NUM_CLASSES", 2,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.01,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.9,
    "TEST.DETECTIONS_PER_IMAGE", LIMIT,
    "MHKD.CLASSES", ["normal", "sclerotic"],
    "MHKD.LR_MPP", 2.0,
]  # fmt: skip
MASKS = ["MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.NUM_CONV", 1, "MODEL.ROI_MASK_HEAD.CONV_DIM", 8]
# LR height and width: as trained, larger, hardly any; and the most detections there may be.
SIZES = {(32, 32): LIMIT, (50, 81): 4 * LIMIT, (5, 3): LIMIT}


def export(*words, exit_code=0):
    result = CliRunner().invoke(main, ["export", *map(str, words)])
    assert result.exit_code == exit_code, result.output
    return result.stderr


def export_tiny(folder, options=(), bfa=False):
    torch.manual_seed(0)
    cfg = export_cfg(tiny_config(folder, [*OPTIONS, *options]), "student", bfa)
    network = build_model(cfg)
    for name, parameter in network.named_parameters():
        if ".bfa." in name and ".output." in name:  # a BFA that does something
            torch.nn.init.normal_(parameter, std=0.1)
        if "mask_head.predictor.weight" in name:  # masks that are not 1/2 everywhere
            torch.nn.init.normal_(parameter, std=0.1)
    export_network(network.state_dict(), cfg, folder)
    return folder


@pytest.fixture(scope="module")
def datasets(disks_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(disks_root))
        yield


@pytest.fixture(scope="module", params=["upsampled, BFA", "native, BFA, masks", "BGR, one class, masks"])
def student(request, tmp_path_factory, datasets):
    """An exported folder and the .onnx file of it."""
    options = ["MODEL.STUDENT.INPUT", request.param.partition(",")[0]] if "BFA" in request.param else []
    if "one class" in request.param:
        options = ["INPUT.FORMAT", "BGR", "MODEL.ROI_HEADS.NUM_CLASSES", 1, "MHKD.CLASSES", ["disk"]]
    options += MASKS if "masks" in request.param else []
    folder = export_tiny(tmp_path_factory.mktemp("student"), options, "BFA" in request.param)
    export_onnx(folder, folder / "student.onnx", ["disks_val"])
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("plain"))


def picture(height, width):
    return np.random.default_rng(0).normal(180, 50, (height, width, 3)).clip(0, 255).astype(np.uint8)


def in_pytorch(folder, image):
    """Boxes, scores, classes of a uint8 RGB image, and the masks of a student that finds some."""
    cfg = exported_cfg(folder, "cpu")
    pixels = image if cfg.INPUT.FORMAT == "RGB" else image[:, :, ::-1]
    network = load_deployed(cfg)
    with torch.no_grad():
        inputs = [{"image": torch.from_numpy(pixels.transpose(2, 0, 1).copy())}]
        (found,) = network.inference(inputs, do_postprocess=False)
    masks = [found.pred_masks[:, 0]] if cfg.MODEL.MASK_ON else []
    return found.pred_boxes.tensor, found.scores, found.pred_classes, *masks


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 7, 16])
def test_enlarged_as_at_the_door(factor):
    for size in ((1, 1), (1, 9), (37, 23)):
        image = np.random.default_rng(factor).integers(0, 256, (*size, 3), np.uint8)
        ours = enlarge(torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0)
        assert (ours.numpy() == upsample(image, factor)).all()


@pytest.mark.slow
def test_plain_tensors_give_detectron2s_result_to_the_bit(student):
    cfg = exported_cfg(student, "cpu")
    inference = PlainInference(load_deployed(cfg), cfg.INPUT.FORMAT)
    for size in SIZES:
        image = picture(*size)
        with torch.no_grad():
            found = inference(torch.from_numpy(image), torch.tensor(0.01))
        expected = in_pytorch(student, image)
        assert len(expected[0]) == SIZES[size]
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
def test_the_file_gives_what_pytorch_gives_at_any_size(student):
    network = OnnxNetwork(student / "student.onnx", 1)
    for size in SIZES:
        image = picture(*size)
        boxes, scores, classes, *masks = network(image)
        expected = [x.numpy() for x in in_pytorch(student, image)]
        assert (boxes.dtype, scores.dtype, classes.dtype) == (np.float32, np.float32, np.int64)
        np.testing.assert_allclose(boxes, expected[0], rtol=0, atol=1e-3)
        np.testing.assert_allclose(scores, expected[1], rtol=0, atol=1e-5)
        assert (classes == expected[2]).all()
        assert len(masks) == len(expected) - 3
        for mask, other in zip(masks, expected[3:]):
            assert mask.dtype == np.float32 and mask.shape == (len(boxes), 28, 28) and mask.std() > 0.01
            np.testing.assert_allclose(mask, other, rtol=0, atol=1e-4)
        nothing = [(0, 4), (0,), (0,), (0, 28, 28)][: len(expected)]
        assert [x.shape for x in network(image, 1.0)] == nothing


@pytest.mark.slow
def test_the_record_has_what_slides_need(student):
    record, cfg = OnnxNetwork(student / "student.onnx").record, exported_cfg(student, "cpu")
    assert record.classes == cfg.MHKD.CLASSES and record.weights_sha256
    assert (record.lr_factor, record.lr_mpp, record.trained_size_px) == (FACTOR, 2.0, TRAINED_PX)
    assert (record.min_score, record.score_threshold, record.precision) == (0.01, None, "fp32")
    assert record.compared["tiles"] == 2 and record.compared["matched"] == record.compared["boxes"] > 0
    least = record.compared["least_outline_iou"]
    assert least > 0.99 if cfg.MODEL.MASK_ON else least is None
    content = (student / "student.onnx").read_bytes()
    assert str(student).encode() not in content and b"site-packages" not in content


@pytest.mark.slow
def test_the_threshold_comes_along_and_one_beside_the_file_takes_its_place(plain, tmp_path, datasets):
    choice = Choice(0.375, 0.9, 0.9, 0.9, 10)
    record_threshold(plain, choice, "a split")
    known = TrainingData.of([dict.fromkeys(COLOUR, 0.25)] * 4)
    write_training_data(known, plain)
    path = tmp_path / "student.onnx"
    try:
        export_onnx(plain, path, ["disks_val"])
    finally:
        (plain / "threshold.json").unlink()
        write_training_data(None, plain)
    assert load_student(str(path)).training == known
    brought = working_threshold(path)
    assert brought.score == 0.375 and brought.source == "recorded in the student: best F1 on a split"
    assert working_threshold(path, 0.2).source == "--score-threshold"
    beside = record_threshold(path, Choice(0.625, 0.9, 0.9, 0.9, 10), "slides")
    assert beside.name == "student.threshold.json"
    assert working_threshold(path).score == 0.625


@pytest.mark.slow
def test_int8_is_smaller_and_finds_nearly_the_same(plain, tmp_path, datasets):
    runner = CliRunner()
    words = ["export", str(plain), "--format", "onnx", "--calibrate-on", "disks_train"]
    sizes = []
    for name, more in (("fp32.onnx", []), ("int8.onnx", ["--int8"])):
        result = runner.invoke(main, [*words, *more, "--out", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        sizes.append((tmp_path / name).stat().st_size)
    lines = result.output.splitlines()
    assert re.fullmatch(r"(\d+) of \1 boxes on 4 tiles, .* are the same in PyTorch and ONNX: .*", lines[0])
    assert re.fullmatch(r"of \d+ detections of PyTorch above 0.5, int8 has \d+ too", lines[1])
    assert lines[3] == str(tmp_path / "int8.onnx")
    assert sizes[1] < 0.8 * sizes[0]
    one, other = (OnnxNetwork(tmp_path / name) for name in ("fp32.onnx", "int8.onnx"))
    assert (one.record.precision, other.record.precision) == ("fp32", "int8")
    image = picture(32, 32)
    assert np.abs(one(image, 0.0)[1] - other(image, 0.0)[1]).mean() < 0.2  # of a network that knows nothing
    boxes, again, _ = found_again([one(image)], [other(image)], 0.0)
    assert again >= 0.8 * boxes > 0


@pytest.mark.slow
def test_int8_with_masks_says_how_alike_outlines_are(tmp_path, datasets):
    student = export_tiny(
        tmp_path / "masks", [*MASKS, "MODEL.ROI_HEADS.NUM_CLASSES", 1, "MHKD.CLASSES", ["disk"]]
    )
    path = tmp_path / "int8.onnx"
    lines = export_onnx(student, path, ["disks_val"], int8=True)
    assert re.search(r"outlines to an IoU of (0\.99\d\d|1\.0000)$", lines[0])
    assert re.fullmatch(r"of \d+ detections .* too, outlines with an IoU of 0\.\d{3} on average", lines[1])
    weights = {w.name: w.data_type for w in onnx.load(path).graph.initializer}
    int8, fp32 = onnx.TensorProto.INT8, onnx.TensorProto.FLOAT
    (fcn,) = (kind for name, kind in weights.items() if "mask_fcn1.weight" in name and "quantized" in name)
    assert fcn == int8 and weights["network.roi_heads.mask_head.predictor.weight"] == fp32
    network = OnnxNetwork(path)
    assert network.record.precision == "int8" and network.masks


def test_compared_by_class_place_and_score():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]], np.float32)
    scores, classes = np.array([0.9, 0.8, 0.04], np.float32), np.array([0, 1, 0])
    one = [[boxes, scores, classes]] * 25
    shifted = [[boxes + np.float32(0.2), scores + np.float32(5e-4), classes]] * 25
    result = compare(one, shifted, 4, 0.05)
    assert (result.tiles, result.boxes, result.matched, result.from_score) == (25, 100, 100, 0.05)
    assert result.largest_shift_hr_px == pytest.approx(0.8, rel=1e-4)
    assert result.largest_score_difference == pytest.approx(5e-4, rel=1e-3)
    assert compare(one, shifted, 6, 0.05).matched == 0  # 1.2 HR px
    other_class = [[boxes, scores, np.array([0, 0, 0])]] * 25
    assert compare(one, other_class, 4, 0.05).matched == 50
    weaker = [[boxes, scores - np.float32(2e-3), classes]] * 25
    assert compare(one, weaker, 4, 0.05).matched == 0
    assert compare(one[:1], shifted[:1], 4, 0.05).boxes == 6  # so few that the weak ones count
    assert found_again(one, other_class, 0.05) == (50, 25, None)


def test_outlines_are_compared_too():
    boxes, scores, classes = (
        np.array([[0, 0, 10, 10]] * 2, np.float32),
        np.array([0.9, 0.8]),
        np.array([0, 1]),
    )
    squares = [shapely.box(0, 0, 10, side).wkt for side in (10, 9.95, 5, 9.8, 9.7)]
    squares.append("POLYGON EMPTY")
    found = [[boxes, scores, classes, np.array([square, squares[0]], object)] for square in squares]
    same, nearly, half, pixel, more, empty = (compare(found[:1], [other], 4, 0.05) for other in found)
    assert (same.matched, same.least_outline_iou) == (4, 1)
    assert (nearly.matched, nearly.least_outline_iou) == (4, pytest.approx(0.995))
    assert (half.boxes, half.matched) == (4, 2)
    assert (pixel.matched, pixel.least_outline_iou) == (4, pytest.approx(0.98))  # within 0.8 HR px
    assert more.matched == empty.matched == 2  # 1.2 HR px
    assert found_again(found[:1], found[2:3], 0.05) == (2, 2, pytest.approx((0.5 + 1) / 2))


@pytest.mark.slow
def test_a_drawn_slide_gives_tiles_of_the_students_size_and_of_another(plain):
    tiles = drawn_tiles(exported_cfg(plain, "cpu"))
    assert [t.shape for t in tiles] == [(32, 32, 3)] * 4 + [(41, 26, 3)]
    assert np.concatenate([t.ravel() for t in tiles]).std() > 5  # tissue


@pytest.mark.slow
@pytest.mark.parametrize(
    "options,said",
    [
        (
            ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True],
            "MODEL.ROI_HEADS.NAME: a CascadeROIHeads cannot be exported to ONNX",
        ),
        (
            [*MASKS, "MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIPool"],
            "MODEL.ROI_MASK_HEAD.POOLER_TYPE: a RoIPool cannot be exported to ONNX, a ROIAlign can",
        ),
    ],
)
def test_other_heads_are_refused_and_nothing_is_written(tmp_path, datasets, options, said):
    folder = export_tiny(tmp_path / "other", options)
    with pytest.raises(InputError, match=said):
        export_onnx(folder, tmp_path / "x.onnx", ["disks_val"])
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_a_full_disk_and_one_that_is_read_only_leave_the_student_that_was_there(plain, tmp_path):
    """Of both forms: a folder's weights, config and threshold belong together."""
    checkpoint, disk = tmp_path / "checkpoint.pth", tmp_path / "disk"
    folder, file = disk / "student", disk / "student.onnx"
    cfg = tiny_config(tmp_path, OPTIONS)
    weights = {f"student.{k}": v for k, v in torch.load(plain / "model_final.pth")["model"].items()}
    more = {"cfg": cfg.dump(), "plan": [{"step": "0_teacher"}], "stage": 1, "bfa": False, "lr_mpp": 2.0}
    torch.save({"model": weights, "classes": ["normal", "sclerotic"], **more}, checkpoint)
    commands = ([checkpoint, "--out", folder], [checkpoint, "--out", file, "--format", "onnx"])
    with mounted(disk, "size=10m"):
        for command in commands:
            export(*command)
        record_threshold(folder, Choice(0.4, 0.8, 0.8, 0.8, 9), "mine")
        before = {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()}
        assert {p.name for p in before} == {
            "model_final.pth",
            "config.yaml",
            "threshold.json",
            "student.onnx",
        }
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(free - 2**16))  # what is left takes a config, and no weights
        before[disk / "filler"] = (disk / "filler").read_bytes()
        for remount, why in ((), "No space left"), (("ro",), "Read-only"):
            subprocess.run(["mount", "-o", ",".join(("remount", "size=10m", *remount)), disk], check=True)
            for command in commands:
                said = export(*command, exit_code=2)
                assert said.startswith("mhkd: error: ") and f"cannot be written ({why}" in said
                assert str(disk) in said and said.count("\n") == 1
            assert {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["--out", "student"], "--out student: the name of an ONNX student must end with .onnx"),
        (["--out", "x.onnx", "--int8"], "--int8: must be calibrated on what the student is to see"),
        (
            ["--out", "x.onnx", "--calibrate-on", "nothing_val"],
            "dataset 'nothing_val': there is no annotation",
        ),
        (["--out", "x.onnx", "--network", "teacher"], "--network teacher: takes HR"),
    ],
)
def test_bad_options_are_one_error(plain, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["export", str(plain), "--format", "onnx", *words])
    assert result.exit_code == 2 and message in f"{result.output}{result.exception}"
    assert list(tmp_path.iterdir()) == []
