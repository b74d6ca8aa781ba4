"""What was measured of the rows, before it is a table."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..evaluation.bootstrap import Groups
from .plan import Training


@dataclass
class Results:
    """Everything that the tables need of the trained rows; keys are those of the methods.

    Attributes:
        images, training_images: how many are scored and trained on; of folds all of them, and the mean.
        detections_per_image: how many count at most.
        groups: what the bootstrap draws.
        people: how many the test images are of; 0: that is not recorded.
        people_known: how many of them were in the training images of what scored them.
        trainings: of each row, one a seed and fold.
        scores: of each row, one a seed: view -> scores.
        samples: of each row the bootstrapped AP in percent, shape (samples,).
        costs: of each row "parameters", "flops", and the images' "seconds" and "reference_seconds".
    """

    images: int
    training_images: int
    detections_per_image: int
    groups: Groups
    people: int = 0
    people_known: int = 0
    trainings: dict[str, list[Training]] = field(default_factory=lambda: defaultdict(list))
    scores: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
