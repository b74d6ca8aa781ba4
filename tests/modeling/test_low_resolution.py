"""An exported student takes LR pixels of any size, wherever its folder is put and however old it is."""

import math
import shutil

import mhkd
from mhkd.engine.checkpoint import save_atomically
from mhkd.engine.exported import export_cfg, export_network, exported_cfg, load_exported
from mhkd.engine.unread import load_run_cfg
from mhkd.enlarge import enlarge, to_tensor, upsample
from mhkd.errors import InputError
from mhkd.modeling import student_cfg
from mhkd.slide_detection import student as slides

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from PIL import Image
from support import tiny_config

FACTOR, TRAINED_PX, LIMIT = 3, 96, 10
OPTIONS = [
    "INPUT.LR_FACTOR", FACTOR,
    "INPUT.MIN_SIZE_TEST", TRAINED_PX,
    "INPUT.MAX_SIZE_TEST", TRAINED_PX,
    "INPUT.FORMAT", "RGB",
    "MODEL.ROI_HEADS.NUM_CLASSES", 2,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.01,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.9,
    "TEST.DETECTIONS_PER_IMAGE", LIMIT,
    "MHKD.CLASSES", ["a", "b"],
    "MHKD.LR_MPP", 2.0,
]  # fmt: skip
SIZES = [(32, 32), (16, 16), (64, 64), (50, 81)]  # LR height and width; the first is what it was trained at


@pytest.fixture(scope="module", params=["upsampled", "native"])
def training_cfg(request, tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("out"), [*OPTIONS, "MODEL.STUDENT.INPUT", request.param])


@pytest.fixture(scope="module")
def weights(training_cfg):
    torch.manual_seed(0)
    return build_model(student_cfg(training_cfg)).state_dict()


@pytest.fixture(scope="module")
def folder(training_cfg, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_network(weights, export_cfg(training_cfg, "student"), folder)
    return folder


def picture(height, width, seed=0):
    """BGR, as ``cv2.imread`` gives it."""
    pixels = np.random.default_rng(seed).normal(180, 50, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def at_hr(cfg, weights, image, growth=1.0):
    """What the network finds as training's evaluation feeds it: boxes in HR pixels."""
    cfg = student_cfg(cfg)
    cfg.TEST.DETECTIONS_PER_IMAGE = math.ceil(LIMIT * growth)
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = math.ceil(50 * growth)
    network = build_model(cfg).eval()
    network.load_state_dict(weights)
    h, w = (side * FACTOR for side in image.shape[:2])
    with torch.no_grad():
        return network([{"image": as_seen(cfg, image), "height": h, "width": w}])[0]["instances"]


def as_seen(cfg, image):
    """What evaluation shows the student."""
    rgb = image[:, :, ::-1]
    return to_tensor(rgb if cfg.MODEL.STUDENT.INPUT == "native" else upsample(rgb, FACTOR))


def test_enlarged_as_pil_does_it():
    image = picture(7, 5)
    pil = np.asarray(Image.fromarray(image).resize((20, 28), Image.Resampling.BILINEAR))
    for dtype in (torch.uint8, torch.float32):
        x = torch.from_numpy(image.transpose(2, 0, 1)).to(dtype)
        assert torch.equal(enlarge(x, 4), torch.from_numpy(pil.transpose(2, 0, 1).copy()))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.slow
def test_default_predictor_finds_what_evaluation_and_detect_find(training_cfg, weights, folder, size):
    image = picture(*size)
    growth = max(1.0, size[0] * size[1] * FACTOR**2 / TRAINED_PX**2)
    expected = at_hr(training_cfg, weights, image, growth)
    found = DefaultPredictor(mhkd.load_student(folder, "cpu"))(image)["instances"]
    assert len(found) == len(expected) and found.image_size == size
    assert LIMIT < len(found) <= math.ceil(LIMIT * growth) if growth > 1 else len(found) <= LIMIT
    assert torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor / FACTOR)
    assert torch.equal(found.scores, expected.scores)

    student = slides.load_student(str(folder), "cpu", overlap_um=10.0)
    assert student.tile_px == TRAINED_PX // FACTOR
    [(boxes, scores, classes)] = student.detect([student.prepare(image[:, :, ::-1])])
    torch.testing.assert_close(torch.from_numpy(boxes), found.pred_boxes.tensor, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(scores), found.scores, rtol=0, atol=1e-5)
    assert (classes == found.pred_classes.numpy()).all()


def test_limits_grow_with_the_image_and_shrink_again(folder):
    network = DefaultPredictor(mhkd.load_student(folder, "cpu")).model
    rpn = network.proposal_generator
    for size, detections, post, pre in (
        ((64, 64), 40, 200, 4000), ((32, 33), 11, 52, 1032), ((8, 8), 10, 50, 1000), ((32, 32), 10, 50, 1000)
    ):  # fmt: skip
        with torch.no_grad():
            network([{"image": torch.zeros(3, *size)}])
        assert network.roi_heads.box_predictor.test_topk_per_image == detections
        assert (rpn.post_nms_topk[False], rpn.pre_nms_topk[False]) == (post, pre)


def test_an_image_does_not_depend_on_its_neighbours(folder):
    network = DefaultPredictor(mhkd.load_student(folder, "cpu")).model
    inputs = [{"image": torch.from_numpy(picture(*s).transpose(2, 0, 1).copy())} for s in SIZES]
    with torch.no_grad():
        together, alone = network(inputs), [network([x])[0] for x in inputs]
    for a, b in zip(together, alone):
        assert torch.equal(a["instances"].pred_boxes.tensor, b["instances"].pred_boxes.tensor)


def test_asked_for_another_size_the_boxes_are_in_it(folder):
    network = DefaultPredictor(mhkd.load_student(folder, "cpu")).model
    image = torch.from_numpy(picture(32, 32).transpose(2, 0, 1).copy())
    with torch.no_grad():
        own = network([{"image": image}])[0]["instances"]
        larger = network([{"image": image, "height": 64, "width": 320}])[0]["instances"]
    assert larger.image_size == (64, 320)
    scale = torch.tensor([10.0, 2, 10, 2])
    torch.testing.assert_close(larger.pred_boxes.tensor, own.pred_boxes.tensor * scale)


def test_it_does_not_train(folder):
    network = DefaultPredictor(mhkd.load_student(folder, "cpu")).model.train()
    with pytest.raises(RuntimeError, match="DistilledRCNN trains"):
        network([])


def test_scored_in_hr_pixels_as_in_training(training_cfg, weights, folder):
    image = picture(64, 64)
    expected = at_hr(training_cfg, weights, image)
    network = load_exported(exported_cfg(folder, "cpu"))
    with torch.no_grad():
        x = as_seen(training_cfg, image)
        found = network([{"image": x, "height": 192, "width": 192}])[0]["instances"]
    assert found.image_size == (192, 192) and len(found) == LIMIT
    assert torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor)


def test_a_folder_works_where_it_is_put(folder, weights, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert "WEIGHTS: model_final.pth" in (copy / "config.yaml").read_text()
    assert str(folder) not in (copy / "config.yaml").read_text()
    original = slides.load_student(str(folder), "cpu", overlap_um=10.0)
    later = {k: v * 2 for k, v in weights.items()}
    save_atomically({"model": later}, folder / "model_final.pth")
    try:
        monkeypatch.chdir(tmp_path)
        cfg = mhkd.load_student("copy", "cpu")
        assert cfg.MODEL.WEIGHTS == str(copy / "model_final.pth")
        assert load_run_cfg("copy/config.yaml", training=False).MODEL.WEIGHTS == cfg.MODEL.WEIGHTS
        model = DefaultPredictor(cfg).model
        assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
        moved = slides.load_student("copy", "cpu", overlap_um=10.0)
        assert moved.checksum == original.checksum and moved.folder == str(copy)
    finally:
        save_atomically({"model": weights}, folder / "model_final.pth")


def write_old_folder(folder, training_cfg, weights):
    """As exports were: a stock network of one size, an absolute path, none of the newer keys."""
    folder.mkdir()
    cfg = student_cfg(training_cfg)
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.WEIGHTS = "/somewhere/else/model_final.pth"
    save_atomically({"model": weights}, folder / "model_final.pth")
    text = "\n".join(x for x in cfg.dump().splitlines() if "TRAINED_SIZE_PX" not in x)
    (folder / "config.yaml").write_text(text)
    return cfg


@pytest.mark.slow
def test_an_old_folder_gives_what_it_gave(training_cfg, weights, folder, tmp_path):
    old = tmp_path / "old"
    cfg = write_old_folder(old, training_cfg, weights)
    if cfg.MODEL.STUDENT.INPUT == "native":  # then it saw LR enlarged and averaged back
        text = (old / "config.yaml").read_text().replace("build_shifted_resnet", "build_resnet")
        (old / "config.yaml").write_text(text)
        with pytest.raises(InputError, match="config.yaml: MODEL.STUDENT.INPUT native.* train it again"):
            mhkd.load_student(old, "cpu")
        return
    assert "META_ARCHITECTURE: GeneralizedRCNN" in (old / "config.yaml").read_text()
    cfg.MODEL.WEIGHTS = str(old / "model_final.pth")
    image = picture(32, 32)
    before = DefaultPredictor(cfg)(image)["instances"]
    now = DefaultPredictor(mhkd.load_student(old, "cpu"))(image)["instances"]
    assert len(now) == len(before) > 0
    torch.testing.assert_close(now.pred_boxes.tensor, before.pred_boxes.tensor, rtol=1e-6, atol=0)
    assert torch.equal(now.scores, before.scores)
    ours, theirs = (slides.load_student(str(f), "cpu", overlap_um=10.0) for f in (folder, old))
    assert (ours.tile_px, ours.checksum) == (theirs.tile_px, theirs.checksum)


def test_a_teacher_is_no_student(training_cfg, tmp_path):
    cfg = export_cfg(training_cfg, "teacher")
    export_network(build_model(cfg).state_dict(), cfg, tmp_path)
    with pytest.raises(InputError, match="holds no student but a GeneralizedRCNN"):
        slides.load_student(str(tmp_path), "cpu")
    found = DefaultPredictor(mhkd.load_student(tmp_path, "cpu"))(picture(80, 100))["instances"]
    assert found.image_size == (80, 100)
