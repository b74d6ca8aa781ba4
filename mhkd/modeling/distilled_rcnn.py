"""DistilledRCNN: an HR teacher and an LR student in one training step (paper section III, Fig. 2)."""

import math
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.structures import Boxes, ImageList, Instances, ROIMasks
from torch import nn

from ..errors import InputError
from ..losses import LOSS_REGISTRY, Features, Iteration
from ..schedules import TEACHER, Stage, get_schedule
from .ignore import ignoring, training_heads
from .network_cfg import student_cfg, teacher_cfg
from .pair import Pair, Parts
from .pooling import Pooled, check_pooling, evaluating, pool, watch_pooling
from .student import batch_images
from .teacher_start import start_from_teacher

OF_FEATURES = frozenset({"f_l", "f_a", "pooled", "mask_pooled"})  # what losses compare with the teacher's


@META_ARCH_REGISTRY.register()
class DistilledRCNN(Pair):
    """Two ``GeneralizedRCNN`` that see the same tissue at two resolutions. Exists for training only.

    The student's proposals are shared: the teacher's ROIAlign runs on the student's coordinates, which
    are HR pixels for both. In evaluation it is the student and nothing else.

    Notation of the paper: ``f_h`` the teacher's global features, ``f_l`` the student's, ``f_a`` (f'_L)
    the student's adapted ones, ``o_t`` the teacher's detections as ground truth.
    """

    task = "detection"
    teacher: GeneralizedRCNN
    student: GeneralizedRCNN

    @configurable
    def __init__(
        self,
        *,
        teacher: GeneralizedRCNN,
        student: GeneralizedRCNN,
        output_score_thresh: float = 0.5,
    ):
        """
        Args:
            teacher: takes the HR image.
            student: takes LR, its pixels or an enlargement; its backbone is a ``StudentBackbone``.
            output_score_thresh: teacher detections from this score on stand in for ground truth.
        """
        super().__init__()
        self.teacher = teacher
        self.student = student
        self.output_score_thresh = output_score_thresh
        # From a narrower student's channels to the teacher's, for distillation alone: it is never exported.
        mine, theirs = (_channels(network) for network in (student, teacher))
        self.adapter = nn.Identity() if mine == theirs else nn.Conv2d(mine, theirs, kernel_size=1)
        self.size_divisibility = math.lcm(
            teacher.backbone.size_divisibility or 1, student.backbone.size_divisibility or 1
        )
        self.apply_stage(TEACHER)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        if cfg.MODEL.TEACHER.META_ARCHITECTURE != "GeneralizedRCNN":
            raise InputError(
                f"MODEL.TEACHER.META_ARCHITECTURE {cfg.MODEL.TEACHER.META_ARCHITECTURE} cannot teach: its "
                "regions have no features of their own. Set MODEL.META_ARCHITECTURE DirectDetector and "
                "MHKD.SCHEDULE direct to train it alone"
            )
        schedule = get_schedule(cfg.MHKD.SCHEDULE)
        teacher = build_model(training_heads(teacher_cfg(cfg)))
        student = build_model(training_heads(student_cfg(cfg, bfa=schedule.uses_bfa)))
        if schedule.needs("pooled"):
            check_pooling(student, cfg)
        if schedule.needs("mask_pooled") and not hasattr(student.roi_heads, "mask_pooler"):
            raise InputError(
                f"MHKD.SCHEDULE {cfg.MHKD.SCHEDULE} has a loss of what the mask head pools, and there is no "
                "mask head with a pooler of its own: set MODEL.MASK_ON True with MODEL.ROI_HEADS.NAME "
                "StandardROIHeads, or choose a schedule without it"
            )
        return {
            "teacher": teacher,
            "student": student,
            "output_score_thresh": cfg.MHKD.OUTPUT_SCORE_THRESH,
        }

    def parts(self) -> dict[str, Parts]:
        teacher, student = self.teacher, self.student
        return {
            "teacher": {
                "backbone": [teacher.backbone],
                "heads": [teacher.proposal_generator, teacher.roi_heads],
            },
            "student": {
                "backbone": [student.backbone.fpn],
                "bfa": [student.backbone.bfa],
                "heads": [student.proposal_generator, student.roi_heads],
            },
        }

    def apply_stage(self, stage: Stage) -> None:
        """As :class:`Pair`; the features pass through BFA where the step has it."""
        if stage.bfa and not self.student.backbone.bfa:
            raise ValueError(f"step {stage.name} needs BFA, which this student was built without")
        self.student.backbone.bfa_enabled = stage.bfa
        self.adapter.requires_grad_(bool(stage.needs & OF_FEATURES))
        super().apply_stage(stage)

    def start_student_from_teacher(self) -> None:
        """See :func:`mhkd.modeling.teacher_start.start_from_teacher`."""
        start_from_teacher(self.student, self.teacher)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """The losses of one iteration; in evaluation the student's detections.

        Args:
            batched_inputs: Detectron2's format. In training ``image`` (HR) and ``image_lr`` (LR, brought to
                the HR size unless the student is native), both Tensor (C, H, W), ``instances`` and,
                optionally, ``ignore_boxes`` (Boxes, regions that are neither objects nor background), in HR
                pixels; an image without ``instances`` is not annotated. In evaluation ``image`` is what the
                student sees.

        Returns:
            In training: dict of weighted scalar losses, each logged on its own; in evaluation what
            ``GeneralizedRCNN`` returns.
        """
        if not self.training:
            return self.student(batched_inputs)

        teacher, student, stage = self.teacher, self.student, self.stage
        it, losses = Iteration(), {}
        ground_truth, ignored = self._annotations(batched_inputs)
        unlabeled = any(x is None for x in ground_truth)

        if stage.uses_teacher or unlabeled:
            it.images_h = self._preprocess(teacher, [x["image"] for x in batched_inputs])
            # Offline, f_h is a constant; online, distillation's gradients reach what trains.
            with torch.set_grad_enabled("backbone" in stage.teacher):
                f_h = teacher.backbone(it.images_h.tensor)
            it.f_h = {level: f_h[level] for level in student.backbone.output_shape()}
        if "o_t" in stage.needs or (unlabeled and ("heads" in stage.student or "truth" in stage.needs)):
            it.o_t = self._teacher_output(it.images_h, f_h)
            ground_truth = [o if x is None else x for x, o in zip(ground_truth, it.o_t)]
        it.truth, it.ignored = ground_truth, ignored
        if stage.teacher:
            detections, _ = detect(teacher, it.images_h, f_h, ground_truth, ignored)
            losses.update({f"teacher/{k}": stage.weights["detect"] * v for k, v in detections.items()})
        if not stage.student:
            return losses

        it.images_l = self._preprocess(student, [x["image_lr"] for x in batched_inputs])
        f_l = student.backbone.extract(it.images_l.tensor)
        f_a = student.backbone.adapt(f_l) if stage.bfa else f_l
        it.detections, pooled = detect(student, it.images_l, f_a, ground_truth, ignored)
        it.detect_on = lambda targets: detect(student, it.images_l, f_a, targets, ignored)[0]
        if "f_l" in stage.needs:
            it.f_l = {level: self.adapter(x) for level, x in f_l.items()}
        if "f_a" in stage.needs:
            it.f_a = {level: self.adapter(x) for level, x in f_a.items()}
        if "pooled" in stage.needs:
            ((it.boxes, pooled_l),) = pooled["box"]  # see check_pooling
            it.pooled_l = self.adapter(pooled_l)
            it.pool_h = lambda boxes: pool(teacher, f_h, boxes)
        if "mask_pooled" in stage.needs:
            ((boxes, pooled_l),) = pooled["mask"]
            it.mask_pooled_l = self.adapter(pooled_l)
            it.mask_pooled_h = pool(teacher, f_h, boxes, "mask")

        # A step without `detect` keeps its terms, at weight 0: all that trains has a gradient.
        weights = {"detect": 0, **stage.weights}
        for name, loss in LOSS_REGISTRY:
            if name in weights:
                found = loss(it)
                found = found if isinstance(found, dict) else {f"loss_{name}": found}
                losses.update({k: weights[name] * v for k, v in found.items()})
        return losses

    def _annotations(
        self, batched_inputs: list[dict[str, Any]]
    ) -> tuple[list[Instances | None], list[Boxes | None]]:
        """Ground truth of each image, None where it has none or the step uses none; regions to ignore.

        These hold for the output loss too: O_T stands in for the objects alone.
        """
        if not self.stage.labels:
            return [None] * len(batched_inputs), [None] * len(batched_inputs)
        instances = [x["instances"].to(self.device) if "instances" in x else None for x in batched_inputs]
        return instances, [x.get("ignore_boxes") for x in batched_inputs]

    def _preprocess(self, network: GeneralizedRCNN, images: list[torch.Tensor]) -> ImageList:
        """As ``network`` wants them, padded as both networks need: their grids must coincide."""
        return batch_images(network, images, self.size_divisibility)

    @torch.no_grad()
    def _teacher_output(self, images: ImageList, features: Features) -> list[Instances]:
        """O_T: the teacher's own detections, from its own proposals, in the ground truth's format."""
        with evaluating(self.teacher.proposal_generator, self.teacher.roi_heads):
            proposals, _ = self.teacher.proposal_generator(images, features, None)
            detections, _ = self.teacher.roi_heads(images, features, proposals, None)
        output = []
        for found in detections:
            found = found[found.scores >= self.output_score_thresh]
            truth = Instances(found.image_size, gt_boxes=found.pred_boxes, gt_classes=found.pred_classes)
            if found.has("pred_masks"):
                masks = ROIMasks(found.pred_masks[:, 0])
                truth.gt_masks = masks.to_bitmasks(found.pred_boxes, *found.image_size)
            output.append(truth)
        return output


def detect(
    network: GeneralizedRCNN,
    images: ImageList,
    features: Features,
    targets: list[Instances],
    ignored: list[Boxes | None],
) -> tuple[dict[str, torch.Tensor], dict[str, list[Pooled]]]:
    """The ordinary RPN + ROI losses of equation 1, and what the heads pooled on the way.

    Args:
        ignored: regions of each image in which nothing but an object of ``targets`` has a label.

    Returns:
        losses (none of parts that are frozen), and each call of the poolers of "box" and "mask": its boxes
        (those of the sampled proposals, of "mask" those that lie on an object; a list of Boxes, detached)
        and the pooled features (R, C, S, S).
    """
    with ignoring(network, ignored), watch_pooling(network.roi_heads) as pooled:
        proposals, losses = network.proposal_generator(images, features, targets)
        _, roi_losses = network.roi_heads(images, features, proposals, targets)
    return {**losses, **roi_losses}, pooled


def _channels(network: GeneralizedRCNN) -> int:
    """Of every level of its pyramid."""
    return next(iter(network.backbone.output_shape().values())).channels
