"""Dataset dict to model input: the same tissue at two resolutions, through the same geometry."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode
from fvcore.transforms.transform import CropTransform, HFlipTransform, TransformList, VFlipTransform
from PIL import Image

from ..enlarge import to_tensor, upsample
from ..errors import InputError
from ..slides.views import downsample, read_view
from .augmentation import Augmentation, TransposeTransform
from .scanner import Scanner


class PairedResolutionMapper:
    """Callable, like Detectron2's ``DatasetMapper``.

    In training it returns ``image`` (HR) and ``image_lr`` (LR as the student takes it) with
    ``instances`` and ``ignore_boxes`` (Boxes of ``iscrowd`` annotations: regions that are neither objects
    nor background) in HR pixels, which an entry marked ``unlabeled`` has not; the random crop lies on LR
    pixels, so both show exactly the same tissue.
    In evaluation it returns one ``image``, HR or LR as the student takes it, with ``height`` and ``width`` in
    HR pixels.
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        view: str = "lr",
        image_format: str = "RGB",
        lr_factor: int = 4,
        lr_filter: str = "area",
        native: bool = False,
        crop_size_px: tuple[int, int] | None = None,
        flip_prob: float = 0.5,
        augmentation: Augmentation | None = None,
        scanner: Scanner | None = None,
        masks: bool = False,
    ):
        """
        Args:
            view: "hr" or "lr", in evaluation.
            image_format: "RGB" or "BGR", the networks' channel order.
            lr_factor, lr_filter: see :func:`mhkd.slides.views.read_view`.
            native: LR pixels stay what they are; otherwise they are brought to the HR size.
            crop_size_px: height and width of the random HR crop, multiples of ``lr_factor``.
            augmentation: what is varied in training beside crop and flips.
            scanner: what LR pixels go through first.
            masks: whether masks are learned, ``gt_masks`` of ``instances``: polygons, or BitMasks in images
                with an object that is a mask. Otherwise outlines are not read.
        """
        self.is_train = is_train
        self.view = view
        self.image_format = image_format
        self.lr_factor = lr_factor
        self.lr_filter = lr_filter
        self.native = native
        self.crop_size_px = crop_size_px
        self.flip_prob = flip_prob
        self.augmentation = augmentation or Augmentation()
        self.scanner = scanner or Scanner()
        self.masks = masks
        if crop_size_px and any(s % lr_factor for s in crop_size_px):
            raise InputError(
                f"INPUT.CROP.SIZE {list(crop_size_px)} must be multiples of INPUT.LR_FACTOR {lr_factor}"
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool, view: str = "lr") -> dict[str, Any]:
        augmentation: dict[str, Any] = {
            k.lower(): tuple(v) if isinstance(v, list) else v for k, v in cfg.INPUT.AUG.items()
        }
        return {
            "is_train": is_train,
            "view": view,
            "image_format": cfg.INPUT.FORMAT,
            "lr_factor": cfg.INPUT.LR_FACTOR,
            "lr_filter": cfg.INPUT.LR_FILTER,
            "native": cfg.MODEL.STUDENT.INPUT == "native",
            "crop_size_px": [int(s) for s in cfg.INPUT.CROP.SIZE] if cfg.INPUT.CROP.ENABLED else None,
            "flip_prob": cfg.INPUT.FLIP_PROB,
            "augmentation": Augmentation(**augmentation),
            "scanner": Scanner(**{k.lower(): v for k, v in cfg.INPUT.SCANNER.items()}),
            "masks": cfg.MODEL.MASK_ON,
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        entry = {k: v for k, v in dataset_dict.items() if k != "annotations"}
        if not self.is_train:
            image, factor = self._read(dataset_dict, self.view), 1
            if self.view == "lr":
                image, factor = self.scanner.scan(image, entry["file_name"]), self.lr_factor
            # Boxes of a cropped image are already in the dataset's pixels: never rescale them.
            entry["height"], entry["width"] = (side * factor for side in image.shape[:2])
            entry["image"] = self._tensor(self._student_input(image) if self.view == "lr" else image)
            return entry

        hr, lr, hr_transform = self._read_pair(dataset_dict)
        lr = self.scanner.scan_randomly(lr)
        entry["image"] = self._tensor(hr)
        entry["image_lr"] = self._tensor(self._student_input(lr))
        if dataset_dict.get("unlabeled"):
            return entry
        annotations = [
            detection_utils.transform_instance_annotations(self._used(a), hr_transform, hr.shape[:2])
            for a in dataset_dict.get("annotations", ())
            if not a.get("iscrowd", 0)
        ]
        polygons = all(isinstance(a.get("segmentation"), list) for a in annotations)
        instances = detection_utils.annotations_to_instances(
            annotations, hr.shape[:2], "polygon" if polygons else "bitmask"
        )
        entry["instances"] = detection_utils.filter_empty_instances(instances, by_mask=False)
        entry["ignore_boxes"] = _ignore_boxes(dataset_dict.get("annotations", ()), hr_transform, hr.shape[:2])
        return entry

    def _used(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """A copy, without what the networks do not learn from: it may be of any form, or there for some."""
        left_out = {"keypoints"} if self.masks else {"keypoints", "segmentation"}
        return {k: v for k, v in annotation.items() if k not in left_out}

    def _read(self, dataset_dict: dict[str, Any], view: str) -> np.ndarray:
        return read_view(dataset_dict, view, self.lr_factor, self.lr_filter)

    def _student_input(self, lr: np.ndarray) -> np.ndarray:
        return lr if self.native else upsample(lr, self.lr_factor)

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        return to_tensor(image if self.image_format == "RGB" else image[:, :, ::-1])

    def _read_pair(self, dataset_dict: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, TransformList]:
        """The same random piece of both views, and how HR got there."""
        augmentation, f = self.augmentation, self.lr_factor
        hr = self._read(dataset_dict, "hr")
        # Where anything is varied, LR is made from the changed HR, unless it is real.
        made = augmentation != Augmentation() and not dataset_dict.get("lr_file_name")
        lr = hr if made else self._read(dataset_dict, "lr")  # made: only later
        scale = augmentation.draw_scale() if made else 1.0
        lr_transform, hr_transform = self._random_geometry(hr.shape[0] // f, hr.shape[1] // f, scale)
        hr = hr_transform.apply_image(hr)
        lr = hr if made else lr_transform.apply_image(lr)
        if augmentation.varies_colour:
            colour = augmentation.draw_colour()
            hr, lr = colour.apply(hr), lr if made else colour.apply(lr)
        hr = augmentation.soften(hr)
        if made:
            lr = downsample(np.ascontiguousarray(hr), f, self.lr_filter)
        return hr, lr, hr_transform

    def _random_geometry(self, h: int, w: int, scale: float) -> tuple[TransformList, TransformList]:
        """One random crop, scale, flips and turn for an LR image of (h, w), as LR and as HR transforms.

        Args:
            scale: enlargement; with another than 1 the crop lies on HR pixels, and the LR transform holds
                for nothing.
        """
        f = self.lr_factor
        ch, cw = h, w
        if self.crop_size_px:
            ch, cw = (min(s // f, limit) for s, limit in zip(self.crop_size_px, (h, w)))
        unit = 1 if scale == 1 else f
        limits = (h * unit, w * unit)
        # An image too small to be made smaller by so much is made smaller by less.
        scale = max(scale, *(side * unit / most for side, most in zip((ch, cw), limits)))
        window = [min(max(1, round(side * unit / scale)), most) for side, most in zip((ch, cw), limits)]
        y, x = (np.random.randint(most - side + 1) for side, most in zip(window, limits))
        flip_h, flip_v = np.random.rand(2) < self.flip_prob
        turn = self.augmentation.draw_turn()

        def transforms(per_unit: int, factor: int) -> TransformList:
            (cut_h, cut_w), size = (v * per_unit for v in window), (ch * factor, cw * factor)
            chosen = [CropTransform(x * per_unit, y * per_unit, cut_w, cut_h)]
            # A single row or column stays: flipped, numpy says that its negative stride is contiguous.
            chosen += [HFlipTransform(cut_w)] if flip_h and cut_w > 1 else []
            chosen += [VFlipTransform(cut_h)] if flip_v and cut_h > 1 else []
            if size != (cut_h, cut_w):
                chosen += [T.ResizeTransform(cut_h, cut_w, *size, interp=Image.Resampling.BILINEAR)]
            chosen += [TransposeTransform()] if turn else []
            return TransformList(chosen)

        return transforms(1, 1), transforms(f // unit, f)


def _ignore_boxes(
    annotations: Iterable[dict[str, Any]], transform: TransformList, size_px: tuple[int, int]
) -> Boxes:
    """Boxes of the annotations marked ``iscrowd``, cut to the crop of (height, width); (M, 4)."""
    ignored = [a for a in annotations if a.get("iscrowd", 0)]
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in ignored]
    boxes = transform.apply_box(np.array(boxes, float).reshape(-1, 4))
    boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    boxes.clip(size_px)
    return boxes[boxes.nonempty()]
