"""A classifier on images that are files."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..classifier import Classifier
from ..errors import InputError
from ..slide_detection.journal import Journal
from ..slide_detection.slide_folder import file_state, reading
from ..slides.images import read_rgb
from ..slides.views import LARGEST_PX, downsample

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
JOURNAL = Path(".work", "images.jsonl")


@dataclass
class Said:
    """What a classifier says of files.

    Attributes:
        probabilities: of the classes, by file.
        errors: what is wrong with the others.
    """

    probabilities: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def find_images(paths: Iterable[str], any_named: bool = True) -> list[str]:
    """Image files among ``paths`` and in folders of them, at any depth, sorted within each.

    Args:
        any_named: files that are named one by one may end as they like; else as those in folders do.

    Raises:
        InputError: a path is not there, or there is no image, or one may be a slide.
    """
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found += sorted(_inside(path))
        elif os.path.exists(path):
            if not (any_named or path.lower().endswith(SUFFIXES)):
                raise InputError(
                    f"{path}: may be a slide, and the student is one of images: --mode section or whole "
                    "classifies slides, mhkd detect --grade the glomeruli on them; --mode image takes it for "
                    "one picture"
                )
            found.append(path)
        else:
            raise InputError(f"{path}: there is no such file or folder: correct the path")
    if not found:
        raise InputError(f"{', '.join(paths)}: no image ({', '.join(SUFFIXES)}) in it")
    return list(dict.fromkeys(map(os.path.abspath, found)))


def classify_images(
    paths: Iterable[str],
    out: Path,
    classifier: Classifier,
    image_mpp: float | None = None,
    are_lr: bool = False,
) -> Said:
    """Look at every image; those that were looked at before, and have not changed since, are skipped.

    Args:
        paths: image files.
        out: folder of the results; what is finished is remembered there.
        image_mpp: micrometres per pixel of the images. Without it they are taken for HR, of the resolution of
            those that the student was trained on.
        are_lr: they are LR already.

    Raises:
        InputError: the resolutions do not tell the size of LR; another process is at work in ``out``.
    """
    if image_mpp is not None and not classifier.lr_mpp:
        raise InputError(
            f"{classifier.folder}: does not record the resolution that it was trained at: give it in "
            "micrometres per LR pixel with --student-mpp, or leave --image-mpp out"
        )
    key = f"{classifier.checksum} {image_mpp} {are_lr}"
    said = Said()
    with Journal(out / JOURNAL, key) as journal:
        known = dict(filter(None, (_known(r, len(classifier.class_names)) for r in journal.records.values())))
        number = len(journal.records)
        for path in tqdm(list(paths), desc="images", unit="image"):
            try:
                state = file_state(path)
                size_and_time = list((state or ())[:2])
                found = known.get((path, *size_and_time))
                if found is None:
                    with reading(path, state):
                        image = to_lr(read_rgb(path), classifier, image_mpp, are_lr, path)
                    found = classifier.classify([image])[0].tolist()
                    journal.append(number, {"file": path, "state": size_and_time, "probabilities": found})
                    number += 1
                said.probabilities[path] = found
            except InputError as e:
                said.errors[path] = " ".join(str(e).split())
    return said


def _known(record: Any, num_classes: int) -> tuple[tuple[Any, ...], list[float]] | None:
    """(file, its state), and what was said of it; None of a record that no run has written."""
    try:
        file, state, said = record["file"], record["state"], [float(p) for p in record["probabilities"]]
        sound = isinstance(file, str) and all(type(n) is int for n in state) and len(said) == num_classes
        sound = sound and all(0 <= p <= 1 for p in said) and abs(sum(said) - 1) < 1e-3
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return ((file, *state), said) if sound else None


def to_lr(
    image: np.ndarray, classifier: Classifier, image_mpp: float | None, are_lr: bool, path: str
) -> np.ndarray:
    """An image at the student's resolution, reduced as it was in training.

    Raises:
        InputError: nothing is left of it, or it is too large.
    """
    if are_lr:
        return image
    height, width = image.shape[:2]
    ratio = classifier.lr_mpp / image_mpp if image_mpp else classifier.lr_factor
    if min(height, width) < ratio:
        raise InputError(
            f"{path}: has {width}x{height} px, less than one at low resolution: use a larger one"
        )
    if max(height, width) > LARGEST_PX * ratio:
        raise InputError(
            f"{path}: {width}x{height} px are more than {LARGEST_PX} along a side at low resolution: cut "
            "it, or correct --image-mpp"
        )
    if ratio == int(ratio):
        factor = int(ratio)
        image = image[: height // factor * factor, : width // factor * factor]
        return downsample(image, factor, classifier.lr_filter)
    size = round(width / ratio), round(height / ratio)
    kind = Image.Resampling.LANCZOS if classifier.lr_filter == "lanczos" else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize(size, kind))


def _inside(folder: str) -> Iterator[str]:
    for where, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(where, name)


def row_of(file: str, class_names: Iterable[str], probabilities: list[float]) -> list[Any]:
    """Of the table: file, class, its probability, that of each class."""
    names = list(class_names)
    best = int(np.argmax(probabilities))
    return [file, names[best], round(probabilities[best], 6), *(round(p, 6) for p in probabilities)]
