"""A second task, of which the engine knows nothing: two linear networks that tell a mean colour."""

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.errors import InputError
from mhkd.losses import LOSS_REGISTRY, needs
from mhkd.modeling import Pair
from mhkd.schedules import Schedule, Stage, register_schedule
from mhkd.tasks import TASK_REGISTRY, Task

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from torch import nn

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}


@LOSS_REGISTRY.register()
@needs()
def labels(it):
    return F.cross_entropy(it.logits, it.labels)


@LOSS_REGISTRY.register()
@needs("o_t")
def softened(it):
    """KL divergence from the teacher's distribution."""
    return F.kl_div(it.logits.log_softmax(1), it.o_t.softmax(1), reduction="batchmean")


TEACHER = Stage("teacher", {"labels": 1}, teacher=("classifier",), student=())


@META_ARCH_REGISTRY.register()
class ColourNet(nn.Module):
    """Logits of the mean colour, in evaluation as a list of {"scores": (classes,)}."""

    @configurable
    def __init__(self, num_classes):
        super().__init__()
        self.classifier = nn.Linear(3, num_classes)

    @classmethod
    def from_config(cls, cfg):
        return {"num_classes": len(cfg.MHKD.CLASSES)}

    def logits(self, images):
        return self.classifier(torch.stack([x.float().mean((1, 2)) / 255 for x in images]))

    def forward(self, inputs):
        return [{"scores": s.softmax(0)} for s in self.logits([x["image"] for x in inputs])]


class Looked:
    """What an iteration of this task has computed."""

    def __init__(self, **values):
        vars(self).update(values)


@META_ARCH_REGISTRY.register()
class ColourPair(Pair):
    @configurable
    def __init__(self, teacher, student):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.apply_stage(TEACHER)

    @classmethod
    def from_config(cls, cfg):
        alone = ColourTask().network_cfg(cfg, "teacher")
        return {"teacher": build_model(alone), "student": build_model(alone)}

    def parts(self):
        return {
            "teacher": {"classifier": [self.teacher.classifier]},
            "student": {"classifier": [self.student.classifier]},
        }

    def start_student_from_teacher(self):
        self.student.load_state_dict(self.teacher.state_dict())

    def forward(self, inputs):
        labels = torch.tensor([x["label"] for x in inputs])
        o_t = self.teacher.logits([x["image"] for x in inputs])
        if not self.stage.student:
            return {"teacher/labels": F.cross_entropy(o_t, labels)}
        logits = self.student.logits([x["image_lr"] for x in inputs])
        it, weights = Looked(o_t=o_t, logits=logits, labels=labels), self.stage.weights
        return {f"loss_{n}": weights[n] * loss(it) for n, loss in LOSS_REGISTRY if n in weights}


class Accuracy(DatasetEvaluator):
    def __init__(self, dataset):
        self.labels = {d["image_id"]: d["label"] for d in DatasetCatalog.get(dataset)}
        self.right = []

    def reset(self):
        self.right = []

    def process(self, inputs, outputs):
        for image, found in zip(inputs, outputs):
            self.right.append(int(found["scores"].argmax()) == self.labels[image["image_id"]])

    def evaluate(self):
        return {"classification": {"accuracy": 100 * sum(self.right) / len(self.right)}}


class ColourTask(Task):
    parts = {"teacher": ("classifier",), "student": ("classifier",)}
    teacher_stage = TEACHER
    label_loss = "labels"
    scores = "classification"

    def check_datasets(self, cfg, training):
        for name in cfg.DATASETS.TRAIN + cfg.DATASETS.TEST:
            if not DatasetCatalog.get(name):
                raise InputError(f"{name} has no images")

    def mapper(self, cfg, view=""):
        def mapped(entry):
            pixels = torch.from_numpy(cv2.imread(entry["file_name"])[:, :, ::-1].copy()).permute(2, 0, 1)
            if not view and np.random.rand() < 0.5:  # so that a resumed run has to draw as the first one did
                pixels = pixels // 2
            lr = pixels[:, :: cfg.INPUT.LR_FACTOR, :: cfg.INPUT.LR_FACTOR]
            return {**entry, "image": lr if view == "lr" else pixels, "image_lr": lr}

        return mapped

    def evaluator(self, cfg, dataset, folder):
        return Accuracy(dataset)

    def network_cfg(self, cfg, network, bfa=False):
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.META_ARCHITECTURE, cfg.MHKD.CLASSES = "ColourNet", self.classes(cfg)
        return cfg

    def rows_per_class(self, parameter):
        return 1 if parameter.endswith(("classifier.weight", "classifier.bias")) else None


@TASK_REGISTRY.register()
def colours():
    return ColourTask()


register_schedule(
    Schedule(
        "colours",
        (
            Stage("soft", {"softened": 1}, student=("classifier",)),
            Stage("labels", {"softened": 0.5, "labels": 1}, student=("classifier",)),
        ),
    )
)


def write_colours(folder, name, count):
    """Register ``count`` noisy images, a colour each."""
    rng, entries = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        label = k % len(COLOURS)
        pixels = rng.normal(list(COLOURS.values())[label], 20, (16, 16, 3)).clip(0, 255).astype(np.uint8)
        path = str(folder / f"{name}_{k}.png")
        cv2.imwrite(path, pixels[:, :, ::-1])
        entries.append(
            {"file_name": path, "image_id": k, "width": 16, "height": 16, "label": label, "mpp": 0.5}
        )
    DatasetCatalog.register(name, lambda: entries)
    MetadataCatalog.get(name).set(thing_classes=list(COLOURS))
