"""Datasets of a great many tiles that are read from slides: columns of numbers instead of dicts.

By hand, since a million tiles in Detectron2's serialised DatasetFromList are ready after 86 s and 4.8 GB, in
every process and at every step; these after 30 s and 1.8 GB once, then 1.4 s and 0.9 GB. With four workers
they hold 0.65 GB instead of 1.2 (benchmarks/region_references.py, 0.8 GB of each process its imports).

An entry becomes a dict when it is asked for. How a COCO file becomes columns: :mod:`mhkd.data.read_regions`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..coco.read import XYWH_ABS

# The columns of images and of annotations; float64, which holds ids exactly too.
IMAGE = ("id", "width", "height", "mpp", "slide", "patient", "file", "region_file", "x_px", "y_px",
          "region_mpp", "slide_mpp")  # fmt: skip
ANNOTATION = ("id", "image_id", "category_id", "iscrowd", "x", "y", "width", "height")


class RegionEntries(Dataset[dict[str, Any]], Sequence[dict[str, Any]]):
    """A sequence of Detectron2 dataset dicts without outlines, in the order of the image ids."""

    def __init__(
        self,
        columns: dict[str, np.ndarray],
        texts: list[str],
        categories: tuple[tuple[int, str], ...],
        image_root: str = "",
        id_map: Mapping[int, int] | None = None,
    ):
        """
        Args:
            columns: "images" (n, 12) and "annotations" (m, 8), both float64, sorted
                by image id, and "first" (n + 1,), each image's annotations.
            texts: slides, patients and files, which columns have the numbers of.
            categories: id and name, in the order of the ids.
            image_root: folder that files are relative to.
            id_map: category id -> contiguous class id.
        """
        self.columns, self.texts, self.categories = columns, texts, categories
        self.image_root = image_root
        self.id_map = {i: i for i, _ in categories} if id_map is None else id_map
        self.num_annotations = len(columns["annotations"])
        self._index = np.arange(len(columns["images"]))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[k] for k in range(*key.indices(len(self)))]
        image = self._index[key]
        row = dict(zip(IMAGE, self.columns["images"][image].tolist()))
        first, last = self.columns["first"][image : image + 2]
        entry: dict[str, Any] = {
            "file_name": self._path(row["file"]),
            "image_id": int(row["id"]),
            "width": int(row["width"]),
            "height": int(row["height"]),
            "annotations": [
                self._annotation(*values) for values in self.columns["annotations"][first:last].tolist()
            ],
            "region": {
                "slide_file": self._path(row["region_file"]),
                "x_px": row["x_px"],
                "y_px": row["y_px"],
                "mpp": row["region_mpp"],
            },
        }
        if row["slide_mpp"] == row["slide_mpp"]:  # not NaN
            entry["region"]["slide_mpp"] = row["slide_mpp"]
        if row["mpp"] == row["mpp"]:
            entry["mpp"] = row["mpp"]
        entry.update({k: self.texts[int(row[k])] for k in ("slide", "patient") if row[k] >= 0})
        return entry

    def annotated(self) -> "RegionEntries":
        """Those with an object that is not to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, 3] == 0, 1]
        kept = np.isin(self.columns["images"][self._index, 0], ids)
        chosen = RegionEntries(self.columns, self.texts, self.categories, self.image_root, self.id_map)
        chosen._index = self._index[kept]
        return chosen

    def has_ignored(self) -> bool:
        """Whether an annotation is to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, ANNOTATION.index("iscrowd")] != 0, 1]
        return bool(np.isin(self.columns["images"][self._index, 0], ids).any())

    def values(self, key: str) -> set[Any]:
        """Of ``slide`` (file names where it is not known), ``patient``, ``mpp`` or ``file`` (the slides'
        own), without making entries."""
        images = self.columns["images"][self._index]
        if key == "file":
            return {self._path(k) for k in np.unique(images[:, IMAGE.index("region_file")])}
        if key == "mpp":
            found = np.unique(images[:, IMAGE.index("mpp")]).tolist()
            return {None if v != v else v for v in found}
        if key == "patient":
            patients = np.unique(images[:, IMAGE.index("patient")])
            return {self.texts[int(k)] if k >= 0 else None for k in patients}
        slides = images[:, IMAGE.index("slide")]
        files = np.unique(images[slides < 0, IMAGE.index("file")])
        return {self.texts[int(k)] for k in np.unique(slides[slides >= 0])} | {
            os.path.realpath(self._path(k)) for k in files
        }

    def smallest(self) -> dict[str, Any]:
        """The entry whose shorter side is shortest."""
        return self[int(self.columns["images"][self._index, 1:3].min(axis=1).argmin())]

    def count_objects(self) -> int:
        """Objects that are not to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, 3] == 0, 1]
        return int(np.isin(ids, self.columns["images"][self._index, 0]).sum())

    def first_off_slide(
        self, facts: Callable[[str, float | None], tuple[Sequence[int], Sequence[float]]]
    ) -> dict[str, Any] | None:
        """The first entry that shows nothing of its slide; None if all do.

        Args:
            facts: slide file and its slide_mpp or None -> size_px and mpp_xy.
        """
        images = self.columns["images"][self._index]
        of = {key: images[:, k] for k, key in enumerate(IMAGE)}
        # NaN, where slides record it, is as good as any other number here.
        slides, which = np.unique(
            np.stack([of["region_file"], np.nan_to_num(of["slide_mpp"])]), axis=1, return_inverse=True
        )
        found = [facts(self._path(file), mpp or None) for file, mpp in slides.T.tolist()]
        size_px, mpp_xy = (np.array([f[k] for f in found])[which.ravel()] for k in (0, 1))
        begin = np.stack([of["x_px"], of["y_px"]], axis=1)
        end = begin + images[:, 1:3] * of["region_mpp"][:, None] / mpp_xy
        off = ((end <= 0) | (begin >= size_px)).any(axis=1)
        return self[int(off.argmax())] if off.any() else None

    def _path(self, number: float) -> str:
        return os.path.join(self.image_root, self.texts[int(number)])

    def _annotation(
        self, _id: float, _image_id: float, category: float, iscrowd: float, *bbox: float
    ) -> dict[str, Any]:
        return {
            "bbox": list(bbox),
            "bbox_mode": XYWH_ABS,
            "category_id": self.id_map[int(category)],
            "iscrowd": int(iscrowd),
        }
