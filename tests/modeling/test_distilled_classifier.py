"""A pair of classifiers: what its losses add up to, and that every schedule learns eight images."""

import mhkd
from mhkd.errors import InputError
from mhkd.modeling import DistilledClassifier, ResNetClassifier
from mhkd.schedules import CLASSIFICATION, CLASSIFIER, CLASSIFIER_TEACHER, SCHEDULES, Stage, get_schedule

import pytest
import torch
from detectron2.config import get_cfg

SIZES = {"num_classes": 2, "width": 8, "strides": (2, 1, 2, 2, 1)}


def images(factor=1, count=8, size=32):
    """Two classes: stripes along either axis, thick enough to be seen at factor 2."""
    rng, inputs = torch.Generator().manual_seed(0), []
    for k in range(count):
        stripes = (torch.arange(size) // 8 % 2 * 80).expand(3, size, size)
        pixels = (
            80 + (stripes if k % 2 else stripes.mT) + torch.randint(0, 60, (3, size, size), generator=rng)
        )
        low = torch.nn.functional.avg_pool2d(pixels.float(), factor)
        inputs.append({"image": pixels.to(torch.uint8), "image_lr": low.to(torch.uint8), "label": k % 2})
    return inputs


def pair(schedule="", same=False, **student):
    torch.manual_seed(0)
    teacher = ResNetClassifier(**SIZES, pixel_mean=[128.0] * 3, pixel_std=[50.0] * 3)
    relative = {n for s in SCHEDULES[schedule or "kd"].steps if s.relative_to for n in s.weights} - {
        "cross_entropy"
    }
    other = ResNetClassifier(**(SIZES | student), pixel_mean=[128.0] * 3, pixel_std=[50.0] * 3)
    found = DistilledClassifier(teacher=teacher, student=other, relative=relative)
    if same:
        found.start_student_from_teacher()
    return found.train()


def learn(network, stage, inputs, iterations, lr=3e-3):
    network.apply_stage(stage)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr)
    for _ in range(iterations):
        total = sum(network(inputs).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return total.item()


def right(network, inputs, key):
    network.eval()
    with torch.no_grad():
        found = network([{"image": x[key]} for x in inputs])
    return sum(int(o["probabilities"].argmax()) == x["label"] for o, x in zip(found, inputs))


@pytest.mark.parametrize("name", [s.name for s in CLASSIFICATION if s.steps])
def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_it(name):
    network = pair(name, same=True)
    network.apply_stage(SCHEDULES[name].steps[0])
    losses = network(images())
    distilled = {k: v.item() for k, v in losses.items() if k != "loss_cross_entropy"}
    assert distilled == dict.fromkeys(distilled, 0.0)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.student.parameters())
    assert all(p.grad is None for p in network.teacher.parameters())


@pytest.fixture(scope="module")
def taught():
    """A teacher that knows the eight images."""
    network = pair()
    learn(network, CLASSIFIER_TEACHER, images(2), 20)
    assert right(network.teacher, images(2), "image") == 8
    return network.teacher.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", [s.name for s in CLASSIFICATION if s.steps])
def test_every_schedule_learns_eight_images(taught, name):
    inputs, network = images(2), pair(name)
    assert right(network.student, inputs, "image_lr") < 8
    network.train()
    network.teacher.load_state_dict(taught)
    for stage in SCHEDULES[name].steps:
        unlabelled = [{k: v for k, v in x.items() if k != "label"} for x in inputs]
        learn(network, stage, inputs if stage.labels else unlabelled, 20)
    assert right(network.student, inputs, "image_lr") == 8
    assert all(torch.equal(v, taught[k]) for k, v in network.teacher.state_dict().items())


def test_relative_terms_are_a_tenth_of_the_cross_entropy_at_first():
    network = pair("at_plus", depth=34)
    network.apply_stage(SCHEDULES["at_plus"].steps[0])
    first = {k: v.item() for k, v in network(images(2)).items()}
    assert set(first) == {"loss_cross_entropy", "loss_feature_matching", "loss_attention_plus"}
    tenth = pytest.approx(first["loss_cross_entropy"] / 10, rel=1e-4)
    assert first["loss_feature_matching"] == tenth and first["loss_attention_plus"] == tenth
    weights = network.measured()["loss_weights"]
    assert set(weights) == {"feature_matching", "attention_plus"} and min(weights.values()) > 0
    network(images(2, count=3))  # other images, the same weights
    assert network.measured()["loss_weights"] == weights
    again = pair("at_plus", depth=34)  # and a resumed training has them
    again.load_state_dict(network.state_dict())
    again.apply_stage(network.stage)
    assert again.measured()["loss_weights"] == weights


def test_images_of_several_sizes_are_a_mean_over_images():
    network, inputs = pair(), [*images(2, 2), *images(2, 1, size=48)]
    network.apply_stage(SCHEDULES["kd"].steps[0])
    together = {k: v.item() for k, v in network(inputs).items()}
    alone = [network([x]) for x in inputs]
    for name, value in together.items():
        assert value == pytest.approx(sum(a[name].item() for a in alone) / 3, rel=1e-4, abs=1e-6)


def test_the_teachers_class_stands_in_where_there_is_no_label():
    network, inputs = pair(), images(2, 4)
    network.apply_stage(SCHEDULES["at_plus"].steps[0])
    with torch.no_grad():
        said = network.teacher.look(torch.stack([x["image"] for x in inputs]))[1].argmax(1).tolist()
    unlabelled = [{k: v for k, v in x.items() if k != "label"} for x in inputs]
    told = [{**x, "label": label} for x, label in zip(unlabelled, said)]
    assert network(unlabelled)["loss_cross_entropy"].item() == network(told)["loss_cross_entropy"].item()


def test_labels_are_ignored_by_kd_and_by_any_step_without_them():
    network, inputs = pair(), images(2, 4)
    other = [{**x, "label": 1 - x["label"]} for x in inputs]
    of_teacher = Stage("of_teacher", {"cross_entropy": 1}, student=CLASSIFIER, labels=False)
    for stage in (SCHEDULES["kd"].steps[0], of_teacher):
        network.apply_stage(stage)
        losses = [{k: v.item() for k, v in network(x).items()} for x in (inputs, other)]
        assert losses[0] == losses[1]


def test_the_last_layer_alone_trains_at_the_end_of_kd_unlabelled():
    network = pair()
    before = {k: v.clone() for k, v in network.student.state_dict().items()}
    learn(network, SCHEDULES["kd_unlabelled"].steps[1], images(2), 1)
    changed = {k for k, v in network.student.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    "student", [{"depth": 34}, {"depth": 50}, {"width": 16}, {"strides": (1, 1, 2, 1, 1)}]
)
def test_students_of_other_architectures(student):
    network = pair(**student)
    network.apply_stage(SCHEDULES["kd"].steps[0])
    sum(network(images(2)).values()).backward()
    assert all(p.grad is not None for p in network.student.parameters())
    assert all(p.grad is not None for p in network.adapter.parameters())
    if "strides" not in student:
        with pytest.raises(InputError, match="only if both are the same architecture"):
            network.start_student_from_teacher()


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 20)])
def test_images_of_any_size(size):
    network = ResNetClassifier(num_classes=3, width=8).eval()
    (found,) = network([{"image": torch.zeros(3, *size, dtype=torch.uint8)}])
    assert found["probabilities"].shape == (3,) and found["probabilities"].sum().item() == pytest.approx(1)


def test_strides_decide_the_cells_of_the_last_map():
    pixels = torch.zeros(1, 3, 52, 52)  # 420 px at factor 8
    for strides, cells in (((2, 2, 2, 2, 2), 2), ((2, 1, 2, 2, 2), 4), ((1, 1, 2, 2, 1), 13)):
        conv, _ = ResNetClassifier(num_classes=2, width=8, strides=strides).look(pixels)
        assert conv.shape == (1, 64, cells, cells)


def test_maps_are_of_each_images_own_class_by_each_networks_own_weights():
    network, inputs = pair("at_plus"), images(2, 2)
    network.apply_stage(SCHEDULES["at_plus"].steps[0])
    weighted = network(inputs)["loss_attention_plus"].item()
    distances = []
    for x in inputs:
        maps = []
        for one, key in ((network.student, "image_lr"), (network.teacher, "image")):
            conv, _ = one.look(x[key][None])
            maps.append(torch.einsum("c,nchw->nhw", one.head.weight[x["label"]].relu(), conv))
        maps[1] = torch.nn.functional.adaptive_avg_pool2d(maps[1], maps[0].shape[-2:])
        distances.append((maps[0] / maps[0].norm() - maps[1] / maps[1].norm()).norm().item())
    weight = network.measured()["loss_weights"]["attention_plus"]
    assert weighted == pytest.approx(weight * sum(distances) / 2, rel=1e-3)


def test_maps_of_every_class():
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE, cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = (
        "DistilledClassifier",
        "cpu",
        8,
    )
    cfg.MODEL.RESNETS.DEPTH, cfg.MHKD.CLASSES, cfg.MHKD.SCHEDULE = 18, ["a", "b"], "at_plus"
    cfg.MODEL.RESNETS.STRIDES, cfg.MHKD.ATTENTION.CLASSES = [2, 1, 2, 2, 1], "every"
    network = DistilledClassifier(cfg).train()
    network.apply_stage(get_schedule("at_plus").steps[0])
    inputs = images(2, 2)
    other = [{**x, "label": 1 - x["label"]} for x in inputs]
    network(inputs)
    losses = [network(x)["loss_attention_plus"].item() for x in (inputs, other)]
    assert losses[0] == losses[1]  # whatever the class
    network.attention_classes = "target"
    losses = [network(x)["loss_attention_plus"].item() for x in (inputs, other)]
    assert losses[0] != losses[1]
