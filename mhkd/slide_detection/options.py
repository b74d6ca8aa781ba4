"""What decides about the result of a slide, besides the student."""

from dataclasses import dataclass

from ..errors import InputError
from ..evaluation.threshold_file import DEFAULT

KEEP_FROM_SCORE = 0.05  # Detectron2's default, which average precision is used to


@dataclass(frozen=True)
class DetectOptions:
    """How a slide is searched, and what counts of what is found.

    Attributes:
        score_threshold: detections count from this score on, in every output but the COCO results.
        score_threshold_from: who says so.
        keep_from_score: the COCO results have detections from this score on, so that others can be counted,
            and average precision be scored, without the network.
        overlap_um: the largest glomerulus: each lies whole in some tile.
        batch_size: tiles in one forward.
        tissue_only: leave out glass.
        qc: leave out tissue that is out of focus, under pen or black, see :mod:`mhkd.slides.quality`.
        slide_mpp: micrometres per base pixel of slides that do not record it, of all or by file name.
        override_slide_mpp: the same, instead of what slides record.
        grid_shift_um: moves all tiles, to see that the result does not hang on where they lie.

    Raises:
        InputError: a value makes no sense; the message names its option of the command.
    """

    score_threshold: float = DEFAULT
    score_threshold_from: str = "default"
    keep_from_score: float = KEEP_FROM_SCORE
    overlap_um: float = 300.0
    batch_size: int = 4
    tissue_only: bool = True
    qc: bool = False
    slide_mpp: float | dict[str, float] | None = None
    override_slide_mpp: float | dict[str, float] | None = None
    grid_shift_um: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise InputError(f"--score-threshold {self.score_threshold}: must be between 0 and 1")
        if not 0 <= self.keep_from_score <= 1:
            raise InputError(f"--keep-from-score {self.keep_from_score}: must be between 0 and 1")
        if self.score_threshold < self.keep_from_score:
            raise InputError(
                f"scores of {self.score_threshold:g} or more are to be counted "
                f"({self.score_threshold_from}), but nothing below --keep-from-score "
                f"{self.keep_from_score:g} is kept: lower that, or give a --score-threshold that is no lower"
            )
        if self.qc and not self.tissue_only:
            raise InputError(
                "--qc looks at tissue, and --glass-too does not tell it from glass: give one of them"
            )
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: must be at least 1")
