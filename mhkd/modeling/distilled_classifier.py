"""DistilledClassifier: an HR teacher and an LR student that tell classes, in one training step."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.utils import comm
from torch import nn

from ..errors import InputError
from ..losses import LOSS_REGISTRY, ClassifierIteration
from ..schedules import CLASSIFIER_TEACHER, get_schedule
from .pair import Pair, Parts
from .resnet_classifier import ResNetClassifier

Inputs = list[dict[str, Any]]


@META_ARCH_REGISTRY.register()
class DistilledClassifier(Pair):
    """Two :class:`ResNetClassifier` that see the same tissue at two resolutions. Exists for training only.

    In evaluation it is the student and nothing else.
    """

    task = "classification"
    teacher: ResNetClassifier
    student: ResNetClassifier

    @configurable
    def __init__(
        self,
        *,
        teacher: ResNetClassifier,
        student: ResNetClassifier,
        relative: Iterable[str] = (),
        temperature: float = 4.0,
        attention_classes: str = "target",
        attention_normalized: bool = True,
    ):
        """
        Args:
            relative: losses whose weight is a share of another's, see :class:`mhkd.schedules.Stage`.
            temperature: of the soft loss.
            attention_classes: "target", one map an image, or "every", one a class.
            attention_normalized: whether maps of attention are divided by their norm.
        """
        super().__init__()
        self.teacher = teacher
        self.student = student
        same = teacher.channels == student.channels
        self.adapter = nn.Identity() if same else nn.Conv2d(student.channels, teacher.channels, 1)
        # What makes a loss as large as the one that it is relative to; 0 before its first iteration.
        self.scales = nn.Module()
        for name in sorted(relative):
            self.scales.register_buffer(name, torch.zeros(()))
        self.temperature = temperature
        self.attention_classes = attention_classes
        self.attention_normalized = attention_normalized
        self.apply_stage(CLASSIFIER_TEACHER)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        steps = get_schedule(cfg.MHKD.SCHEDULE).steps
        return {
            "teacher": build_model(classifier_cfg(cfg, "teacher")),
            "student": build_model(classifier_cfg(cfg, "student")),
            "relative": {n for s in steps if s.relative_to for n in s.weights if n != s.relative_to},
            "temperature": cfg.MHKD.TEMPERATURE,
            "attention_classes": cfg.MHKD.ATTENTION.CLASSES,
            "attention_normalized": cfg.MHKD.ATTENTION.NORMALIZED,
        }

    def parts(self) -> dict[str, Parts]:
        teacher, student = self.teacher, self.student
        return {
            "teacher": {"backbone": [teacher.backbone], "head": [teacher.head]},
            "student": {"adapter": [self.adapter], "backbone": [student.backbone], "head": [student.head]},
        }

    def start_student_from_teacher(self) -> None:
        """Raises InputError where their architectures differ."""
        mine, theirs = (n.state_dict() for n in (self.student, self.teacher))
        if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
            raise InputError(
                "a student can start from its teacher (MHKD.STUDENT_START) only if both are the same "
                "architecture: leave MODEL.STUDENT.DEPTH and STEM_OUT_CHANNELS 0"
            )
        self.student.load_state_dict(theirs)

    def forward(self, batched_inputs: Inputs) -> Any:
        """The losses of one iteration; in evaluation what the student says.

        Args:
            batched_inputs: Detectron2's format. In training ``image`` (HR, (3, H, W)), ``image_lr`` (LR,
                (3, h, w)) and ``label``, which an image without one has not; images may differ in size. In
                evaluation ``image`` is what the student sees.

        Returns:
            In training: dict of weighted scalar losses, each logged on its own, mean over images.
        """
        if not self.training:
            return self.student(batched_inputs)
        terms: dict[str, torch.Tensor] = {}
        for alike in _by_size(batched_inputs):
            share = len(alike) / len(batched_inputs)
            for name, value in self._terms(alike).items():
                terms[name] = terms[name] + share * value if name in terms else share * value
        weights = self._weights(terms)
        return {name: weights[name] * value for name, value in terms.items()}

    def measured(self) -> dict[str, Any]:
        """The weights that came of ``relative_to``, by loss."""
        weights = {n: float(v) * self.stage.weights.get(n, 0) for n, v in self.scales.named_buffers()}
        return {"loss_weights": weights} if weights else {}

    def _terms(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """The losses of images of one size, not weighted."""
        stage, it = self.stage, ClassifierIteration()
        it.temperature, it.normalized = self.temperature, self.attention_normalized
        unlabeled = not stage.labels or any("label" not in x for x in inputs)
        if stage.uses_teacher or unlabeled:
            with torch.set_grad_enabled(bool(stage.teacher)):
                it.conv_h, it.logits_h = self.teacher.look(_stacked(inputs, "image"))
        it.labels = self._labels(inputs, it)
        terms = {}
        if stage.teacher:
            terms["teacher/cross_entropy"] = F.cross_entropy(it.logits_h, it.labels)
        if not stage.student:
            return terms

        it.conv_l, it.logits_l = self.student.look(_stacked(inputs, "image_lr"))
        with torch.autocast(self.device.type, enabled=False):
            it.adapted_l = self.adapter(it.conv_l)
            if "conv_h" in stage.needs:
                chosen = self._attention_classes(it.labels)
                it.weights_h, it.weights_l = (n.head.weight[chosen] for n in (self.teacher, self.student))
            # A step without cross-entropy keeps it, at weight 0: all that trains has a gradient.
            wanted = {"cross_entropy", *stage.weights}
            return terms | {f"loss_{n}": loss(it) for n, loss in LOSS_REGISTRY if n in wanted}

    def _labels(self, inputs: Inputs, it: ClassifierIteration) -> torch.Tensor:
        """int64 (N,); the teacher's class stands in for a label that is not there or not used."""
        known = [x.get("label", -1) if self.stage.labels else -1 for x in inputs]
        labels = torch.tensor(known, device=self.device)
        return torch.where(labels < 0, it.logits_h.argmax(1), labels) if -1 in known else labels

    def _attention_classes(self, labels: torch.Tensor) -> torch.Tensor:
        """Whose maps are compared; int64 (N, M)."""
        if self.attention_classes == "target":
            return labels[:, None]
        return torch.arange(self.teacher.head.out_features, device=labels.device).expand(len(labels), -1)

    @torch.no_grad()
    def _weights(self, terms: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Of each term; what makes a relative one as large as the other is measured when it is first seen."""
        stage = self.stage
        own = {f"loss_{n}": w for n, w in stage.weights.items()}
        own["teacher/cross_entropy"] = stage.weights.get("cross_entropy", 0)
        weights: dict[str, Any] = {name: own.get(name, 0) for name in terms}
        if not stage.relative_to:
            return weights
        for name, scale in self.scales.named_buffers():
            if name not in stage.weights:
                continue
            if scale == 0:
                values = [float(terms[f"loss_{n}"]) for n in (stage.relative_to, name)]
                other, its = (sum(v) for v in zip(*comm.all_gather(values)))
                scale.fill_(other / its if its else 0)
            weights[f"loss_{name}"] *= scale
        return weights


def classifier_cfg(cfg: CfgNode, network: str) -> CfgNode:
    """The config of the "teacher" or the "student" alone."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = ResNetClassifier.__name__
    if network == "student":
        for key in ("DEPTH", "STEM_OUT_CHANNELS", "STRIDES"):
            cfg.MODEL.RESNETS[key] = cfg.MODEL.STUDENT[key] or cfg.MODEL.RESNETS[key]
    return cfg


def _by_size(inputs: Inputs) -> list[Inputs]:
    """The images in groups of one size, in HR and in LR."""
    groups: dict[Any, Inputs] = defaultdict(list)
    for x in inputs:
        groups[x["image"].shape, x["image_lr"].shape].append(x)
    return list(groups.values())


def _stacked(inputs: Inputs, key: str) -> torch.Tensor:
    return torch.stack([x[key] for x in inputs])
