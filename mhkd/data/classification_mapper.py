"""Dataset dict of an image with a class to the input of the networks: both views, each at its own size."""

from typing import Any

from .mapper import PairedResolutionMapper


class ClassificationMapper(PairedResolutionMapper):
    """As :class:`PairedResolutionMapper`, but nothing is enlarged: who classifies LR looks at LR pixels.

    In training it returns ``image`` (HR, uint8 (3, H, W)) and ``image_lr`` (LR, uint8
    (3, H / lr_factor, W / lr_factor)) of one draw; LR is made from the HR pixels as they were varied, unless
    the dataset brings it. In evaluation it returns one ``image``, HR or LR. ``height`` and ``width`` are
    those of ``image``; ``label`` is the number of the class, which an entry marked ``unlabeled`` has not.
    Images have any sizes, unless INPUT.CROP is enabled.
    """

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        entry = dict(dataset_dict)
        if self.is_train:
            image, lr, _ = self._read_pair(dataset_dict)
            entry["image_lr"] = self._tensor(self.scanner.scan_randomly(lr))
        else:
            image = self._read(dataset_dict, self.view)
            if self.view == "lr":
                image = self.scanner.scan(image, entry["file_name"])
        entry["image"] = self._tensor(image)
        entry["height"], entry["width"] = image.shape[:2]
        if entry.get("unlabeled"):
            entry.pop("label", None)
        return entry
