"""A student that starts from the teacher's weights: which of them go where."""

from detectron2.modeling.backbone.fpn import FPN
from detectron2.modeling.meta_arch import GeneralizedRCNN
from torch import nn

from .student import StudentBackbone


def start_from_teacher(student: GeneralizedRCNN, teacher: GeneralizedRCNN) -> None:
    """Copy the teacher's weights to the student, part by part, where all shapes of a part are equal.

    An upsampled student is the teacher's equal and takes everything. A native one has another pyramid:

    1. a stage takes the teacher's stage of its own stride in HR pixels (res2 at a factor of 4: res3); if that
       one has other shapes, the stage whose shapes are its own (at the teacher's width: res2),
    2. a lateral convolution takes the one behind the stage that its own stage took,
    3. stem, output convolutions of the pyramid (by level), RPN, ROI heads take their like.

    What finds nothing of its shapes, and BFA, which the teacher has not, stays as it is.
    """
    backbone = student.get_submodule("backbone")
    assert isinstance(backbone, StudentBackbone)
    if not _take(backbone.fpn, teacher.backbone):
        _take_pyramid(backbone.fpn, teacher.backbone)
    _take(student.proposal_generator, teacher.proposal_generator)
    _take(student.roi_heads, teacher.roi_heads)


def _take_pyramid(own: FPN, other: FPN) -> None:
    body, teachers = own.bottom_up, other.bottom_up
    _take(body.stem, teachers.stem)
    for name in body.stage_names:
        level = _level(own, name)
        nearest_first = sorted(teachers.stage_names, key=lambda n: _level(other, n) != level)
        taken = (n for n in nearest_first if _take(getattr(body, name), getattr(teachers, n)))
        source = next(taken, None)
        if source is not None:
            _take_named(own, f"fpn_lateral{level}", other, f"fpn_lateral{_level(other, source)}")
        _take_named(own, f"fpn_output{level}", other, f"fpn_output{level}")


def _level(fpn: FPN, stage: str) -> int:
    """3 of a stage with a stride of 2^3."""
    return fpn.bottom_up._out_feature_strides[stage].bit_length() - 1


def _take_named(own: nn.Module, name: str, other: nn.Module, name_there: str) -> None:
    target, source = getattr(own, name, None), getattr(other, name_there, None)
    if target is not None and source is not None:
        _take(target, source)


def _take(own: nn.Module, other: nn.Module) -> bool:
    """Whether all of ``other``'s weights went into ``own``; otherwise none did."""
    mine, theirs = own.state_dict(), other.state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
        return False
    own.load_state_dict(theirs)
    return True
