"""The native student: the teacher's grid from the LR pixels themselves."""

import mhkd
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.scanner import Scanner
from mhkd.engine.exported import export_cfg, export_network
from mhkd.errors import InputError
from mhkd.modeling import student_cfg
from mhkd.modeling.shifted import stem_strides
from mhkd.schedules import ADAPTIVE, BASIC, LOCAL, SCHEDULES
from mhkd.slide_detection import student as slides

import cv2
import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.structures import BoxMode
from support import CONFIGS
from training_step import images, step

NATIVE = ["MODEL.STUDENT.INPUT", "native"]
NARROW = [
    "MODEL.STUDENT.STEM_OUT_CHANNELS", 4, "MODEL.STUDENT.RES2_OUT_CHANNELS", 8,
    "MODEL.STUDENT.FPN_CHANNELS", 4, "MODEL.STUDENT.FC_DIM", 8, "MODEL.STUDENT.STAGES", 3,
]  # fmt: skip
GREY = 128


@pytest.fixture
def cfg(tiny_cfg):
    tiny_cfg.merge_from_list(NATIVE)
    return tiny_cfg


def built(cfg, *options):
    cfg.merge_from_list(list(options))
    torch.manual_seed(0)
    return build_model(cfg)


# --- The shifted pyramid ---
@pytest.mark.parametrize(
    "factor, pixels, stride",
    [(2, 4, 8), (3, 2, 8), (4, 2, 8), (6, 1, 8), (8, 1, 8), (12, 1, 16), (16, 1, 16)],
)
def test_where_the_stem_ends_by_hand(factor, pixels, stride):
    assert stem_strides(factor) == (pixels, stride)


@pytest.mark.parametrize(
    "factor, levels",
    [(2, "p3 p4 p5 p6"), (3, "p3 p4 p5 p6"), (4, "p3 p4 p5 p6"), (6, "p3 p4 p5 p6"), (8, "p3 p4 p5 p6"),
     (16, "p4 p5 p6")],
)  # fmt: skip
def test_levels_lie_where_the_teachers_do(cfg, factor, levels):
    backbone = build_model(student_cfg(cfg, cfg.INPUT.merge_from_list(["LR_FACTOR", factor]))).backbone
    shapes = backbone.output_shape()
    assert {k: s.stride for k, s in shapes.items()} == {k: 2 ** int(k[1]) for k in levels.split()}
    size = backbone.size_divisibility  # at a power of two no more than the coarsest level's stride
    assert size == (192 if factor in (3, 6) else 64)
    for k, x in backbone(torch.zeros(1, 3, 2 * size // factor, size // factor)).items():
        assert x.shape[-2:] == (2 * size // shapes[k].stride, size // shapes[k].stride)


@pytest.mark.slow
def test_the_levels_that_lr_does_not_reach_take_their_anchors_along(cfg):
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16], [32], [64], [128], [256]]
    own = student_cfg(cfg).MODEL
    assert own.FPN.IN_FEATURES == ["res2", "res3", "res4", "res5"]
    assert (own.RPN.IN_FEATURES, own.ROI_HEADS.IN_FEATURES) == (["p3", "p4", "p5", "p6"], ["p3", "p4", "p5"])
    assert own.ANCHOR_GENERATOR.SIZES == [[32], [64], [128], [256]]
    model = built(cfg)
    assert set(model.teacher.backbone.output_shape()) - set(model.student.backbone.output_shape()) == {"p2"}
    losses = step(model, SCHEDULES["features_w8"].steps[0])
    assert losses["loss_basic"] > 0 and losses["loss_local"] > 0
    cfg.MODEL.STUDENT.LEVELS = ("p4", "p5")
    own = student_cfg(cfg).MODEL
    assert own.FPN.IN_FEATURES == ["res3", "res4"] and own.ANCHOR_GENERATOR.SIZES == [[64], [128]]


@pytest.mark.parametrize(
    "options, said",
    [
        (["MODEL.STUDENT.LEVELS", ("p2", "p3")], "LEVELS .* among p3, p4, p5, p6"),
        (["MODEL.STUDENT.LEVELS", ("p3", "p5")], "must follow each other"),
        (["MODEL.STUDENT.LEVELS", ("res3",)], "'res3' is no level"),
        (["MODEL.STUDENT.LEVELS", ("p6",)], "none that both"),
        (["INPUT.LR_FACTOR", 64], "none that both.* choose upsampled"),
        (["MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone"], "made for MODEL.BACKBONE.NAME"),
        (["MODEL.RESNETS.RES5_DILATION", 2], "no deformable or dilated"),
    ],
)
def test_what_a_native_student_cannot_be_is_one_line(cfg, options, said):
    cfg.merge_from_list(options)
    with pytest.raises(InputError, match=said):
        build_model(student_cfg(cfg))


# --- The LR pixels ---
def seen_by(network):
    """The pixels that the first convolution is given, as grey levels, in a list that fills."""
    seen = []
    network.backbone.fpn.register_forward_pre_hook(
        lambda _, args: seen.append(args[0] * network.pixel_std + network.pixel_mean)
    )
    return seen


def assert_impulse(pixels, size, at):
    """White at one LR pixel (y, x), grey around it, to a grey level."""
    expected = torch.full((3, *size), float(GREY))
    expected[:, at[0], at[1]] = 255
    assert (pixels[0, :, : size[0], : size[1]] - expected).abs().max() <= 1


@pytest.fixture
def entry(tmp_path):
    """A 66 x 98 image, at 4 an LR image of 16 x 24 whose pixel (5, 7) is white."""
    pixels = np.full((66, 98, 3), GREY, np.uint8)
    pixels[20:24, 28:32] = 255
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    return {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 66, "width": 98, "annotations": []}


def real_lr(entry, tmp_path):
    lr = np.full((16, 24, 3), GREY, np.uint8)
    lr[5, 7] = 255
    cv2.imwrite(str(tmp_path / "lr.png"), lr)
    return {**entry, "lr_file_name": str(tmp_path / "lr.png")}


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True], ids=["made", "real"])
def test_an_lr_pixel_reaches_the_network_as_it_is(cfg, entry, tmp_path, real):
    entry = real_lr(entry, tmp_path) if real else entry
    cfg.INPUT.FLIP_PROB = 0.0
    model = built(cfg)
    seen = seen_by(model.student)
    trained = PairedResolutionMapper(cfg, True)(entry)
    assert trained["image"].shape == (3, 64, 96) and trained["image_lr"].shape == (3, 16, 24)
    step(model, BASIC, [trained])
    scored = PairedResolutionMapper(cfg, False, view="lr")(entry)
    assert (scored["height"], scored["width"]) == (64, 96)
    model.eval()
    with torch.no_grad():
        model([scored])
    assert len(seen) == 2
    for pixels in seen:
        assert pixels.shape[-2:] == (16, 32)  # padded to 64 x 128 HR pixels
        assert_impulse(pixels, (16, 24), (5, 7))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [2, 3, 8, 16])
def test_at_any_factor_and_size_pixels_are_whole_and_boxes_end_with_the_image(cfg, tmp_path, factor):
    """HR sides that are no multiple of the factor, images of one LR row and of one LR pixel."""
    cfg.merge_from_list(["INPUT.LR_FACTOR", factor, "INPUT.FLIP_PROB", 0.0])
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "INPUT.CROP.ENABLED", False])
    model = built(cfg)
    seen, furthest = seen_by(model.student), []
    for h, w in ((13, 17), (1, 9), (1, 1)):
        at, size = (h // 2, w // 2), (h * factor, w * factor)
        pixels = np.full((size[0] + factor - 1, size[1] + factor // 2, 3), GREY, np.uint8)
        pixels[at[0] * factor :, at[1] * factor :][:factor, :factor] = 255
        cv2.imwrite(str(tmp_path / "a.png"), pixels)
        height, width = pixels.shape[:2]
        box = {"bbox": [0, 0, width, height], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
        entry = {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": height, "width": width}
        trained = PairedResolutionMapper(cfg, True)({**entry, "annotations": [box]})
        assert trained["instances"].gt_boxes.tensor.tolist() == [[0, 0, size[1], size[0]]]
        losses = step(model, LOCAL, [trained])
        assert all(torch.isfinite(v) for v in losses.values())
        model.eval()
        with torch.no_grad():
            found = model([PairedResolutionMapper(cfg, False, view="lr")(entry)])[0]["instances"]
        assert found.image_size == size
        furthest.append((found.pred_boxes.tensor[:, 2:].numpy() / size[::-1]).max(0, initial=0))
        for pixels in seen[-2:]:
            assert_impulse(pixels, (h, w), at)
    assert len(seen) == 6
    assert 0.99 < np.max(furthest, axis=0).min() and np.max(furthest) <= 1


def test_the_scanner_degrades_lr_pixels_and_nothing_else_does(cfg, entry, tmp_path):
    cfg.merge_from_list(["INPUT.SCANNER.BLUR_PX", 1.0, "INPUT.SCANNER.NOISE", 8.0])
    lr = cv2.imread(real_lr(entry, tmp_path)["lr_file_name"])
    scored = PairedResolutionMapper(cfg, False, view="lr")(entry)["image"]
    expected = Scanner(blur_px=1.0, noise=8.0).scan(lr, entry["file_name"])
    assert np.abs(scored.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_the_teacher_is_still_shown_lr_at_the_hr_size(cfg, entry):
    scored = PairedResolutionMapper(mhkd.modeling.teacher_cfg(cfg), False, view="lr")(entry)
    assert scored["image"].shape == (3, 64, 96)


@pytest.mark.slow
def test_sizes_are_in_hr_pixels_and_boxes_reach_the_far_corner(cfg):
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    network = built(cfg).student.eval()
    batch = [{"image": torch.zeros(3, 33, 52)}, {"image": torch.zeros(3, 16, 16)}]
    padded = network.preprocess_image(batch)
    assert padded.image_sizes == [(132, 208), (64, 64)] and padded.tensor.shape == (2, 3, 48, 64)
    with torch.no_grad():
        found = network(batch)[0]["instances"]
    assert found.image_size == (132, 208) and found.pred_boxes.tensor.max() > 100


@pytest.fixture
def folder(cfg, tmp_path):
    cfg.merge_from_list(["MHKD.LR_MPP", 2.0, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0])
    torch.manual_seed(0)
    network = build_model(student_cfg(cfg))
    export_network(network.state_dict(), export_cfg(cfg, "student"), tmp_path / "student")
    return tmp_path / "student"


@pytest.mark.slow
def test_default_predictor_and_detect_see_the_lr_pixels(folder):
    lr = np.full((17, 29, 3), GREY, np.uint8)
    lr[3, 20] = 255
    predictor = DefaultPredictor(mhkd.load_student(folder, "cpu"))
    student = slides.load_student(str(folder), "cpu", overlap_um=10.0)
    for network, look in (
        (predictor.model, lambda: predictor(lr)),
        (student.network, lambda: student.detect([student.prepare(lr)])),
    ):
        seen = seen_by(network)
        look()
        assert_impulse(seen[0], (17, 29), (3, 20))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["native", "native_half"])
def test_a_students_export_is_read_again_and_its_size_is_the_weights(tmp_path, name):
    cfg = mhkd.load_cfg(str(CONFIGS / "KidneyROI" / f"{name}_R18_FPN_cpu.yaml"))
    cfg.MODEL.DEVICE, cfg.MHKD.LR_MPP = "cpu", 2.0
    weights = build_model(student_cfg(cfg)).state_dict()
    export_network(weights, export_cfg(cfg, "student"), tmp_path)
    loaded = slides.load_student(str(tmp_path), "cpu").network.state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[k], weights[k]) for k in weights)


# --- Distillation ---
@pytest.mark.slow
def test_a_narrow_student_is_compared_through_an_adapter_that_trains_with_the_features(cfg):
    model = built(cfg, *NARROW)
    assert model.adapter.weight.shape == (8, 4, 1, 1)
    assert {s.channels for s in model.student.backbone.output_shape().values()} == {4}
    assert list(model.student.backbone.output_shape()) == ["p3", "p4", "p5", "p6"]  # p6 is pooled from p5
    for stage, trains in (
        (BASIC, True),
        (ADAPTIVE, True),
        (LOCAL, True),
        (SCHEDULES["none"].steps[0], False),
    ):
        losses = step(model, stage)
        assert all(torch.isfinite(v) for v in losses.values())
        assert model.adapter.weight.requires_grad is trains
        missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, stage.name


def test_equal_channels_need_no_adapter(cfg):
    assert not list(built(cfg).adapter.parameters())


def test_narrow_group_norms_have_two_channels_a_group(cfg):
    network = build_model(student_cfg(cfg, cfg.merge_from_list([
        "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.NORM", "GN", "MODEL.FPN.NORM", "GN",
        "MODEL.STUDENT.STEM_OUT_CHANNELS", 16, "MODEL.STUDENT.RES2_OUT_CHANNELS", 48,
        "MODEL.STUDENT.FPN_CHANNELS", 64,
    ])))  # fmt: skip
    groups = {m.num_channels: m.num_groups for m in network.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert groups == {16: 8, 48: 8, 96: 16, 192: 32, 384: 32, 64: 32}


# --- The start from the teacher's weights ---
def shares(own, other):
    mine, theirs = own.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    return all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.slow
def test_at_the_teachers_width_stages_take_the_stages_of_their_shapes(cfg):
    model = built(cfg)
    before = {k: v.clone() for k, v in model.student.state_dict().items()}
    model.start_student_from_teacher()
    own, teacher = model.student.backbone.fpn, model.teacher.backbone
    for name in ("stem", "res2", "res3", "res4", "res5"):
        assert shares(getattr(own.bottom_up, name), getattr(teacher.bottom_up, name))
    # The teacher's res3 is behind its p3; the student's, half as fine, behind p4.
    for k in (4, 5, 6):
        assert shares(getattr(own, f"fpn_lateral{k}"), getattr(teacher, f"fpn_lateral{k - 1}"))
    for k in (3, 4, 5):
        assert shares(getattr(own, f"fpn_output{k}"), getattr(teacher, f"fpn_output{k}"))
    assert shares(model.student.proposal_generator, model.teacher.proposal_generator)
    assert shares(model.student.roi_heads, model.teacher.roi_heads)
    now = model.student.state_dict()
    alone = {k.rsplit(".", 1)[0] for k in now if torch.equal(now[k], before[k]) and k.endswith("weight")}
    assert {"backbone.fpn.fpn_lateral3", "backbone.fpn.fpn_output6"} <= alone


@pytest.mark.slow
def test_stages_of_the_teachers_stride_come_first(cfg):
    """R18 whose res2 has the width of the teacher's res3: the teacher without its res2."""
    cfg.merge_from_list([
        "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64,
        "MODEL.RESNETS.STEM_OUT_CHANNELS", 64,
        "MODEL.STUDENT.RES2_OUT_CHANNELS", 128, "MODEL.STUDENT.STAGES", 3,
    ])  # fmt: skip
    model = built(cfg)
    model.start_student_from_teacher()
    own, teacher = model.student.backbone.fpn, model.teacher.backbone
    for k in (3, 4, 5):
        assert shares(getattr(own.bottom_up, f"res{k - 1}"), getattr(teacher.bottom_up, f"res{k}"))
        assert shares(getattr(own, f"fpn_lateral{k}"), getattr(teacher, f"fpn_lateral{k}"))
        assert shares(getattr(own, f"fpn_output{k}"), getattr(teacher, f"fpn_output{k}"))


def test_a_narrow_student_takes_nothing_that_does_not_fit(cfg):
    model = built(cfg, *NARROW)
    before = {k: v.clone() for k, v in model.student.state_dict().items()}
    model.start_student_from_teacher()
    assert all(torch.equal(v, before[k]) for k, v in model.student.state_dict().items())


@pytest.mark.slow
def test_batches_of_several_sizes_share_one_grid(cfg):
    model = built(cfg, "INPUT.LR_FACTOR", 3)
    batch = images(1, (132, 204), of=model) + images(1, (96, 96), ((10, 10, 60, 70),), of=model)
    losses = step(model, LOCAL, batch)
    assert losses["loss_local"] > 0 and all(torch.isfinite(v) for v in losses.values())
