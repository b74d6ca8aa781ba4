"""LowResolutionRCNN: a student as it is handed out, which takes LR pixels of any size."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, ImageList, Instances
from torch import nn

from ..enlarge import enlarge
from .student import StudentRCNN, batch_images


@META_ARCH_REGISTRY.register()
class LowResolutionRCNN(StudentRCNN):
    """The student that :class:`DistilledRCNN` trains, with LR pixels in and boxes in LR pixels out.

    Where the student is upsampled it brings LR to the HR size itself, as in training
    (:func:`mhkd.enlarge.upsample`); a native one sees the LR pixels. The limits of one image
    (TEST.DETECTIONS_PER_IMAGE, MODEL.RPN.PRE_NMS_TOPK_TEST and POST_NMS_TOPK_TEST) grow with the area of
    images that are larger than those it was trained at. With INPUT.MIN_SIZE_TEST 0 stock
    ``DefaultPredictor`` leaves images at their own size.
    """

    @configurable
    def __init__(self, *, lr_factor: int, trained_size_px: int = 0, **arguments: Any) -> None:
        """
        Args:
            lr_factor: HR pixels per LR pixel.
            trained_size_px: side of the HR images that the limits are meant for; 0: they do not grow.
            arguments: of ``GeneralizedRCNN``.
        """
        super().__init__(**arguments)
        self.lr_factor = lr_factor
        self.trained_size_px = trained_size_px
        self.limits = [limits[key] for limits, key in self._places_of_limits()]

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return super().from_config(cfg) | {
            "lr_factor": cfg.INPUT.LR_FACTOR,
            "trained_size_px": cfg.INPUT.TRAINED_SIZE_PX,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Args:
            batched_inputs: Detectron2's format; ``image`` is LR, (3, h, w), whole numbers from 0 to 255.
                ``enlarged`` may bring it as its backbone takes it, from :func:`mhkd.enlarge.enlarge`.

        Returns:
            For each image ``instances`` in its own pixels, or in ``height`` x ``width`` of them where given.
        """
        if self.training:
            raise RuntimeError("LowResolutionRCNN is for detection; DistilledRCNN trains a student")
        return self.inference(batched_inputs)

    def inference(
        self,
        batched_inputs: list[dict[str, Any]],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> Any:
        """As in ``GeneralizedRCNN``, with boxes in and out in LR pixels."""
        sizes = [tuple(x["image"].shape[-2:]) for x in batched_inputs]
        if len(set(sizes)) > 1:  # an image's limits are its own, whatever lies beside it
            given = detected_instances or [None] * len(sizes)
            alone = [
                self.inference([x], None if g is None else [g], do_postprocess)
                for x, g in zip(batched_inputs, given)
            ]
            return [found for (found,) in alone]
        if sizes:
            self.set_limits(*sizes[0])
        if detected_instances is not None:
            detected_instances = [
                resized(x, (h * self.lr_factor, w * self.lr_factor), x.pred_boxes.tensor * self.lr_factor)
                for x, (h, w) in zip(detected_instances, sizes)
            ]
        found = super().inference(batched_inputs, detected_instances, do_postprocess=False)
        found = [resized(x, size, x.pred_boxes.tensor / self.lr_factor) for x, size in zip(found, sizes)]
        return GeneralizedRCNN._postprocess(found, batched_inputs, sizes) if do_postprocess else found

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Enlarge where its backbone wants that, normalise, pad and batch."""
        times = self.lr_factor // self.backbone.input_factor
        images = [x["enlarged"] if "enlarged" in x else enlarge(x["image"], times) for x in batched_inputs]
        return batch_images(self, images, self.backbone.size_divisibility)

    def set_limits(self, h: int, w: int) -> None:
        """For LR images of this size; see the class."""
        trained = self.trained_size_px**2 or 1
        area = max(trained, h * w * self.lr_factor**2) if self.trained_size_px else trained

        for (limits, key), limit in zip(self._places_of_limits(), self.limits):
            limits[key] = -(-limit * area // trained)

    def _places_of_limits(self) -> list[tuple[dict[Any, Any], object]]:
        predictor, rpn = self.roi_heads.box_predictor, self.proposal_generator
        predictors = predictor if isinstance(predictor, nn.ModuleList) else [predictor]
        topk = [rpn.pre_nms_topk, rpn.post_nms_topk] if isinstance(rpn, RPN) else []
        return [(vars(p), "test_topk_per_image") for p in predictors] + [(limits, False) for limits in topk]


def exported_form(cfg: CfgNode) -> CfgNode:
    """A network's config as it is handed out: for images of any size, a student for LR pixels.

    The config of one that was exported before :class:`LowResolutionRCNN` becomes what it would be now.

    Args:
        cfg: from ``student_cfg`` or ``teacher_cfg``; changed in place.
    """
    if cfg.INPUT.MIN_SIZE_TEST:
        cfg.INPUT.TRAINED_SIZE_PX, cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MIN_SIZE_TEST, 0
    if is_student(cfg):
        cfg.MODEL.META_ARCHITECTURE = LowResolutionRCNN.__name__
    return cfg


def is_student(cfg: CfgNode) -> bool:
    """Whether a network alone is a student, of any age, and no teacher."""
    return cfg.MODEL.BACKBONE.NAME == "StudentBackbone" and cfg.MODEL.META_ARCHITECTURE in (
        LowResolutionRCNN.__name__,
        StudentRCNN.__name__,
        GeneralizedRCNN.__name__,  # of an early export
    )


def resized(instances: Instances, size: tuple[int, int], boxes: torch.Tensor) -> Instances:
    """Of an image of another size (height, width), with these boxes (n, 4)."""
    other = Instances(size, **instances.get_fields())
    other.pred_boxes = Boxes(boxes)
    return other
