"""What is recorded of a training set with the student that learns from it."""

from typing import Any

from tqdm import tqdm

from ..errors import InputError
from ..slides.colour import colour_of, evenly_spaced
from ..slides.views import read_view
from ..training_data import TrainingData
from .semi_supervised import Entries

MOST_IMAGES = 100  # more would tell little


def training_data_of(entries: Entries, lr_factor: int, lr_filter: str = "area") -> TrainingData | None:
    """Measure the LR images as they are, before augmentation; of many, 100 that are evenly spaced.

    Args:
        entries: dataset dicts.
        lr_factor, lr_filter: see :func:`mhkd.slides.views.read_view`.

    Returns:
        None where fewer than 4 images can be read and have stained tissue.
    """
    colours = []
    for k in tqdm(
        evenly_spaced(len(entries), MOST_IMAGES), "colour of the images", unit="image", leave=False
    ):
        entry: dict[str, Any] = entries[k]
        try:
            colours.append(colour_of(read_view(entry, "lr", lr_factor, lr_filter)))
        except InputError:  # the training skips it too, and says so
            continue
    return TrainingData.of([colour for colour in colours if colour])
