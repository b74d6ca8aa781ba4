"""A teacher that starts from others' weights computes what their network does."""

import json
import logging
import pickle
from pathlib import Path

from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.pretrained.files import local_file
from mhkd.engine.pretrained.start import start_teacher
from mhkd.engine.resume import find_start
from mhkd.engine.settings import check_settings
from mhkd.engine.unread import load_run_cfg
from mhkd.errors import InputError
from mhkd.modeling import teacher_cfg

import numpy as np
import pytest
import torch
import torchvision
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from safetensors.torch import save_file
from support import DISKS, tiny_config
from torch import nn
from torchvision.models.resnet import Bottleneck

MSRA = [
    "MODEL.RESNETS.NORM", "FrozenBN", "MODEL.RESNETS.STRIDE_IN_1X1", True, "INPUT.FORMAT", "BGR",
    "MODEL.PIXEL_MEAN", [103.53, 116.28, 123.675], "MODEL.PIXEL_STD", [1.0, 1.0, 1.0],
    "MHKD.STUDENT_START", "teacher",
]  # fmt: skip
TORCHVISION = [*MSRA, "MODEL.RESNETS.STRIDE_IN_1X1", False, "INPUT.FORMAT", "RGB",
               "MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375],
               "MODEL.RESNETS.STEM_OUT_CHANNELS", 64]  # fmt: skip
DEPTHS = {
    18: ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64],
    50: ["MODEL.RESNETS.RES2_OUT_CHANNELS", 256],
}


def torchvisions(depth, norm=nn.BatchNorm2d):
    """R18, and R50 as narrow as the tiny one."""
    if depth == 18:
        return torchvision.models.resnet18(weights=None, norm_layer=norm)
    return torchvision.models.ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=8, norm_layer=norm)


def config(folder, options=MSRA, **more):
    return tiny_config(folder, [*options, *(x for pair in more.items() for x in pair)])


def trained(network, seed=0):
    """With norms that have seen something."""
    torch.manual_seed(seed)
    for m in network.modules():
        if isinstance(m, FrozenBatchNorm2d | nn.BatchNorm2d):
            for tensor, low, high in (
                (m.weight, 0.8, 1.2), (m.bias, -0.2, 0.2),
                (m.running_mean, -0.2, 0.2), (m.running_var, 0.7, 1.4),
            ):  # fmt: skip
                nn.init.uniform_(tensor, low, high)
    return network.eval()


@pytest.fixture
def image():
    """uint8 (3, 64, 96), RGB."""
    return torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def stock(folder, classes=80, seed=0):
    """Detectron2's own Faster R-CNN, as in its model zoo."""
    cfg = config(folder)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.ROI_HEADS.NUM_CLASSES = "GeneralizedRCNN", classes
    torch.manual_seed(0)
    return trained(build_model(cfg), seed)


def teacher_of(cfg):
    torch.manual_seed(1)
    return build_model(teacher_cfg(cfg)).eval()


def arrays(network):
    return {k: v.numpy() for k, v in network.state_dict().items()}


def write_zoo(network, path, protocol=2, author="Detectron2 Model Zoo", **more):
    path.write_bytes(pickle.dumps({"model": arrays(network) | more, "__author__": author}, protocol))
    return str(path)


@torch.no_grad()
def features(network, image, part=lambda n: n.backbone):
    """What a Detectron2 network makes of an image in its own order of channels."""
    return part(network)(network.preprocess_image([{"image": image}]).tensor)


def same(found, expected):
    assert found.keys() == expected.keys() and max(v.abs().max() for v in expected.values()) > 0.01
    for k, value in expected.items():
        torch.testing.assert_close(found[k], value, rtol=1e-4, atol=1e-4 * value.abs().max().item())


def test_a_faster_rcnn_of_the_zoo(tmp_path, image, caplog):
    """Everything but the predictor, whose classes are others."""
    caplog.set_level(logging.INFO)
    network = stock(tmp_path)
    cfg = config(tmp_path)
    mean, std = np.float32([103.53, 116.28, 123.675]).reshape(3, 1, 1), np.ones((3, 1, 1), np.float32)
    cfg.MODEL.WEIGHTS = write_zoo(network, tmp_path / "w.pkl", pixel_mean=mean, pixel_std=std)
    teacher = teacher_of(cfg)
    predictor = {k: v.clone() for k, v in teacher.state_dict().items() if "predictor" in k}
    start_teacher(cfg, teacher)
    bgr = image.flip(0)
    same(features(teacher, bgr), features(network, bgr))
    for k, value in teacher.state_dict().items():
        assert torch.equal(value, predictor[k] if k in predictor else network.state_dict()[k])
    for part in ("ResNet taken", "backbone taken", "proposal_generator taken", "roi_heads.box_head taken",
                 "roi_heads.box_predictor is left out", "not used: pixel_mean, pixel_std"):  # fmt: skip
        assert part in caplog.text


def test_what_does_not_fit_of_it_is_left_out_and_named(tmp_path, image, caplog):
    caplog.set_level(logging.INFO)
    network = stock(tmp_path)
    cfg = config(tmp_path, **{"MODEL.FPN.NORM": "GN", "MODEL.FPN.OUT_CHANNELS": 32})
    cfg.MODEL.WEIGHTS = write_zoo(network, tmp_path / "w.pkl")
    teacher = teacher_of(cfg)
    start_teacher(cfg, teacher)
    same(
        features(teacher, image, lambda n: n.backbone.bottom_up),
        features(network, image, lambda n: n.backbone.bottom_up),
    )
    assert "backbone is left out, of which 0 of" in caplog.text
    assert "proposal_generator is left out, of which" in caplog.text


def caffe2_names(weights):
    """Names as Caffe2 has them of a ResNet whose norms are factors and offsets."""
    names = {"conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c", "shortcut": "branch1"}
    found = {"fc1000_w": np.zeros((1000, 8), np.float32), "fc1000_b": np.zeros(1000, np.float32)}
    for name, value in weights.items():
        norm, kind = ".norm." in name, {"weight": "s", "bias": "b"}.get(name.split(".")[-1])
        if name.startswith("stem"):
            key = f"res_conv1_bn_{kind}" if norm else "conv1_w"
        else:
            stage, block, conv = name.split(".")[:3]
            key = f"{stage}_{block}_{names[conv]}" + (f"_bn_{kind}" if norm else "_w")
        if kind:
            found[key] = value
    return found


@pytest.mark.parametrize("blobs", [False, True])
def test_a_resnet_with_caffe2s_names(tmp_path, image, blobs):
    """ImageNetPretrained/MSRA/R-50.pkl is such a file. Detectron2's own loading gives the same features."""
    cfg, source = config(tmp_path), stock(tmp_path)
    content = caffe2_names(arrays(source.backbone.bottom_up))
    if blobs:
        content = {"blobs": content | {"conv1_w_momentum": content["conv1_w"]}, "cfg": "TRAIN: 1"}
    cfg.MODEL.WEIGHTS = str(tmp_path / "R-50.pkl")
    Path(cfg.MODEL.WEIGHTS).write_bytes(pickle.dumps(content, 2))
    network = stock(tmp_path, classes=1)
    DetectionCheckpointer(network).load(cfg.MODEL.WEIGHTS)
    teacher = teacher_of(cfg)
    start_teacher(cfg, teacher)
    bgr = image.flip(0)
    bottom_up = lambda n: n.backbone.bottom_up  # noqa: E731
    same(features(teacher, bgr, bottom_up), features(network, bgr, bottom_up))


@pytest.mark.slow
@pytest.mark.parametrize("depth, write", [(18, "pth"), (50, "safetensors")])
def test_torchvisions_and_timms(tmp_path, image, depth, write):
    """They see RGB from 0 to 1, less a mean and over a deviation; both have the same names."""
    network = trained(torchvisions(depth))
    cfg = config(tmp_path, [*TORCHVISION, *DEPTHS[depth]])
    cfg.MODEL.WEIGHTS = str(tmp_path / f"resnet.{write}")
    if write == "pth":
        torch.save(network.state_dict(), cfg.MODEL.WEIGHTS)
    else:
        save_file(network.state_dict(), cfg.MODEL.WEIGHTS, {"format": "pt"})
    teacher = teacher_of(cfg)
    start_teacher(cfg, teacher)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(((image / 255 - mean) / std)[None]))))
        expected = {}
        for stage in (1, 2, 3, 4):
            x = getattr(network, f"layer{stage}")(x)
            expected[f"res{stage + 1}"] = x
    found = features(teacher, image, lambda n: n.backbone.bottom_up)
    same(found, {k: v for k, v in expected.items() if k in found})
    assert {"res3", "res4", "res5"} <= found.keys()


def test_gn_of_torchvisions_names(tmp_path):
    """timm has ResNets with GN, which have no statistics."""
    network = torchvisions(18, lambda c: nn.GroupNorm(32, c))
    cfg = config(tmp_path, [*TORCHVISION, *DEPTHS[18]], **{"MODEL.RESNETS.NORM": "GN"})
    cfg.MODEL.WEIGHTS = str(tmp_path / "gn.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, cfg.MODEL.WEIGHTS)
    teacher = teacher_of(cfg)
    start_teacher(cfg, teacher)
    found = teacher.backbone.bottom_up.res5[0].shortcut.weight
    assert torch.equal(found, network.layer4[0].downsample[0].weight)
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    with pytest.raises(InputError, match="MODEL.RESNETS.NORM GN"):
        start_teacher(cfg, teacher_of(cfg))


@pytest.mark.parametrize("author, changes, said", [
    ("Detectron2 Model Zoo", {"INPUT.FORMAT": "RGB"}, "set INPUT.FORMAT BGR$"),
    ("Detectron2 Model Zoo", {"MODEL.RESNETS.STRIDE_IN_1X1": False}, "set MODEL.RESNETS.STRIDE_IN_1X1 True$"),
    ("Detectron2 Model Zoo", {"MODEL.RESNETS.NORM": "BN"}, "set MODEL.RESNETS.NORM FrozenBN$"),
    ("Detectron2 Model Zoo", {"MODEL.PIXEL_STD": [57.375, 57.12, 58.395]},
     r"set MODEL.PIXEL_STD \[1.0,1.0,1.0\]$"),
    ("Detectron2 Model Zoo", {"MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53]},
     r"set MODEL.PIXEL_MEAN \[103.53,116.28,123.675\]$"),
    ("torchvision", {}, r"INPUT.FORMAT RGB MODEL.RESNETS.STRIDE_IN_1X1 False MODEL.PIXEL_MEAN \[123.*_STD"),
])  # fmt: skip
def test_a_config_that_is_not_for_them_is_told_what_to_set(tmp_path, author, changes, said):
    cfg = config(tmp_path, **changes)
    cfg.MODEL.WEIGHTS = write_zoo(stock(tmp_path), tmp_path / "w.pkl", author=author)
    with pytest.raises(InputError, match=said) as error:
        start_teacher(cfg, teacher_of(cfg))
    assert str(error.value).startswith(cfg.MODEL.WEIGHTS) and "\n" not in str(error.value)


def test_of_an_unknown_author_the_recorded_pixels_count(tmp_path):
    network, cfg = stock(tmp_path), config(tmp_path, **{"INPUT.FORMAT": "RGB"})
    cfg.MODEL.WEIGHTS = write_zoo(network, tmp_path / "w.pkl", author="me")
    start_teacher(cfg, teacher_of(cfg))
    pixels = {"pixel_mean": np.full((3, 1, 1), 100, np.float32), "pixel_std": np.ones((3, 1, 1), np.float32)}
    write_zoo(network, tmp_path / "w.pkl", author="me", **pixels)
    with pytest.raises(InputError, match=r"set MODEL.PIXEL_MEAN \[100.0,100.0,100.0\]$"):
        start_teacher(cfg, teacher_of(cfg))


def test_statistics_of_other_pixels_are_a_warning(tmp_path, caplog):
    """Networks that were trained on tissue have torchvision's names and their own mean."""
    network = torchvisions(50)
    cfg = config(tmp_path, [*TORCHVISION, *DEPTHS[50]], **{"MODEL.PIXEL_MEAN": [179.3, 140.0, 172.0]})
    cfg.MODEL.WEIGHTS = str(tmp_path / "tissue.pth")
    torch.save(network.state_dict(), cfg.MODEL.WEIGHTS)
    start_teacher(cfg, teacher_of(cfg))
    assert (
        "mostly of MODEL.PIXEL_MEAN [123.675,116.28,103.53]; the config has [179.3, 140.0, 172.0]"
        in caplog.text
    )
    cfg.MODEL.PIXEL_STD = [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match="set MODEL.PIXEL_STD"):
        start_teacher(cfg, teacher_of(cfg))


OTHERS = {
    "deeper": (
        101,
        50,
        {},
        r"of the 265 weights of the teacher's ResNet 265 fit, and it has \d+ more \(.*res4.6",
    ),
    "shallower": (
        50,
        101,
        {},
        r"of the 520 weights of the teacher's ResNet 265 fit, 255 are missing \(.*res4.6",
    ),
    "wider": (50, 50, {"MODEL.RESNETS.WIDTH_PER_GROUP": 16}, r"have another shape \(.*conv1.weight"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_network_is_one_line_that_says_what_fits(tmp_path, name):
    depth, wanted, changes, said = OTHERS[name]
    other = config(tmp_path, **{"MODEL.RESNETS.DEPTH": depth}, **changes)
    other.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg = config(tmp_path, **{"MODEL.RESNETS.DEPTH": wanted})
    cfg.MODEL.WEIGHTS = write_zoo(build_model(other), tmp_path / "w.pkl")
    teacher = teacher_of(cfg)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    with pytest.raises(InputError, match=said) as error:
        start_teacher(cfg, teacher)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_what_holds_no_weights_of_a_network(tmp_path):
    cfg, path = config(tmp_path), tmp_path / "w"
    cfg.MODEL.WEIGHTS, teacher = str(path), teacher_of(cfg)

    def refused(said, write=None):
        if write:
            write()
        with pytest.raises(InputError, match=said) as error:
            start_teacher(cfg, teacher)
        assert "\n" not in str(error.value) and cfg.MODEL.WEIGHTS in str(error.value)

    refused("no such file")
    refused("ResNet 0 fit, .* are missing", lambda: torch.save({"model": {"x": torch.zeros(3)}}, path))
    refused(
        "names that are not known",
        lambda: path.write_bytes(pickle.dumps({"conv1_w": np.zeros(3, "f4"), "conv1.w": np.zeros(3, "f4")})),
    )
    refused("holds no weights by name", lambda: path.write_bytes(pickle.dumps([1, 2])))
    refused("holds no weights by name", lambda: torch.save([1], path) or torch.save({"a": 1}, path))
    refused("holds no weights by name", lambda: torch.save({"model": {1: torch.ones(3)}}, path))
    refused("holds more than tensors", lambda: torch.save({"model": {"w": Path("x")}}, path))
    refused(
        "training's checkpoint: .*MODEL.TEACHER.WEIGHTS",
        lambda: torch.save({"model": {"x": torch.zeros(3)}, "plan": []}, path),
    )
    refused("not finite", lambda: torch.save({"x": torch.full((3,), torch.nan)}, path))
    refused("no .safetensors file", lambda: path.write_bytes(b"\x10\0\0\0\0\0\0\0{nothing of it}.."))
    refused("claims more", lambda: torch.save({"x": torch.zeros(1).expand(10**6)}, path))
    for name, said in (
        ("https://x/R-50.pkl", "only files and detectron2"),
        ("detectron2://../R-50.pkl", "names nothing"),
    ):
        cfg.MODEL.WEIGHTS = name
        refused(said)


def test_a_file_of_detectron2s_zoo_that_was_downloaded_before(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    name = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
    path = local_file(name)
    assert path == tmp_path / "cache/detectron2/ImageNetPretrained/MSRA/R-50.pkl" and not path.exists()
    path.parent.mkdir(parents=True)
    cfg = config(tmp_path)
    write_zoo(stock(tmp_path), path)
    cfg.MODEL.WEIGHTS = name
    start_teacher(cfg, teacher_of(cfg))
    assert local_file(name, download=True) == path


# --- In a training ---------------------------------------------------------------------------------


def refused(cfg, said):
    with pytest.raises(InputError, match=said):
        find_start(cfg, DistillationTrainer(cfg).all_steps, resume=True)


@pytest.mark.slow
def test_teacher_from_them_student_from_the_teacher(tmp_path, disks_root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(disks_root))
    path = Path(write_zoo(stock(tmp_path), tmp_path / "w.pkl"))
    options = [*DISKS, *MSRA, "MODEL.WEIGHTS", str(path), "MHKD.SCHEDULE", "global_only"]
    options += ["MHKD.STUDENT_ITERS", 1, "SOLVER.BASE_LR", 0.0]
    cfg = config(tmp_path / "out", options)
    prepare_datasets(cfg)
    trainer = DistillationTrainer(cfg)
    trainer.train()
    stem = "backbone.bottom_up.stem.conv1.weight"
    given = stock(tmp_path).state_dict()[stem]
    assert torch.equal(trainer.distilled.teacher.state_dict()[stem], given)  # at a rate of 0
    assert torch.equal(trainer.distilled.student.backbone.fpn.bottom_up.stem.conv1.weight, given)

    moved = path.rename(tmp_path / "moved.pkl")  # its content counts, not its name
    find_start(cfg, trainer.all_steps, resume=True)  # nothing is read of it any more
    cfg.MODEL.WEIGHTS = str(moved)
    find_start(cfg, trainer.all_steps, resume=True)
    none = cfg.clone()
    none.MODEL.WEIGHTS = ""
    refused(none, "0_teacher: .*MODEL.WEIGHTS was sha256 .*, asked for none")
    write_zoo(stock(tmp_path, seed=5), moved)
    refused(cfg, "0_teacher: .*MODEL.WEIGHTS was sha256 .*, asked for sha256")

    report = tmp_path / "out/0_teacher/stage.json"
    content = json.loads(report.read_text())
    del content["sources"]["MODEL.WEIGHTS"]  # as a training from scratch of before it was recorded
    report.write_text(json.dumps(content))
    refused(cfg, "MODEL.WEIGHTS was none, asked for sha256")
    find_start(none, trainer.all_steps, resume=True)


def test_a_given_teacher_needs_no_start(tmp_path, disks_root, monkeypatch):
    """The same config goes on with a teacher of one's own."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(disks_root))
    cfg = config(
        tmp_path / "out", [*DISKS, *MSRA, "MODEL.WEIGHTS", "nowhere.pkl", "MHKD.SCHEDULE", "global_only"]
    )
    torch.save({"model": teacher_of(cfg).state_dict()}, tmp_path / "teacher.pth")
    cfg.MODEL.TEACHER.WEIGHTS = str(tmp_path / "teacher.pth")
    prepare_datasets(cfg)
    DistillationTrainer(cfg).load(resume=False)


@pytest.mark.parametrize("changes, said", [
    ({"MODEL.WEIGHTS": ""}, "FrozenBN.*diverges.*MODEL.WEIGHTS, or set GN"),
    ({"MHKD.STUDENT_START": ""}, "FrozenBN.*MHKD.STUDENT_START teacher"),
    ({"MODEL.WEIGHTS": "", "MODEL.RESNETS.NORM": "GN", "MODEL.BACKBONE.FREEZE_AT": 2},
     "FREEZE_AT 2.*keeps what is random.*MODEL.WEIGHTS, or set MODEL.BACKBONE.FREEZE_AT 0"),
    ({"MHKD.SCHEDULE": "none", "MHKD.STUDENT_START": "", "MODEL.RESNETS.NORM": "GN"},
     "schedule none has none"),
    ({"MODEL.WEIGHTS": "", "MODEL.TEACHER.WEIGHTS": "teacher.pth"}, ""),
    ({}, ""),
])  # fmt: skip
def test_what_has_nothing_to_start_from_is_refused(tmp_path, changes, said):
    cfg = config(tmp_path, [*MSRA, "MODEL.WEIGHTS", "w.pkl"], **changes)
    if not said:
        return check_settings(cfg)
    with pytest.raises(InputError, match=said):
        check_settings(cfg)


def test_a_training_config_names_what_its_teacher_started_from_not_what_is_scored(tmp_path):
    (tmp_path / "mine.yaml").write_text(config(tmp_path, [*MSRA, "MODEL.WEIGHTS", "R-50.pkl"]).dump())
    assert load_run_cfg(tmp_path / "mine.yaml").MODEL.WEIGHTS == "R-50.pkl"
    assert load_run_cfg(tmp_path / "mine.yaml", training=False).MODEL.WEIGHTS == ""
    named = load_run_cfg(tmp_path / "mine.yaml", ["MODEL.WEIGHTS", "student.pth"], training=False)
    assert named.MODEL.WEIGHTS == "student.pth"
