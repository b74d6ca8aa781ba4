"""The schedules of a classifier: DiPalma et al. (2021), and del Amor et al.'s attention."""

from .stage import Schedule, Stage

BACKBONE, HEAD = "backbone", "head"
# "adapter": what gives the student's last map the teacher's channels where they have other numbers of them.
CLASSIFIER = ("adapter", BACKBONE, HEAD)

CLASSIFIER_TEACHER = Stage("teacher", {"cross_entropy": 1}, teacher=(BACKBONE, HEAD), student=())


def _one_step(name: str, weights: dict[str, float], labels: bool = True, relative_to: str = "") -> Schedule:
    stage = Stage(name, weights, student=CLASSIFIER, labels=labels, relative_to=relative_to)
    return Schedule(name, (stage,), task="classification")


def _beside_labels(name: str, *losses: str) -> Schedule:
    """The losses of del Amor et al., each weighing a tenth of the cross-entropy at the first iteration."""
    weights = {"cross_entropy": 1.0, **dict.fromkeys(losses, 0.1)}
    return _one_step(name, weights, relative_to="cross_entropy")


# DiPalma et al., equations 1 to 3.
KD = {"soft": 1.0, "pixel_wise_maxpool": 0.5, "pixel_wise_bicubic": 0.5}

CLASSIFICATION = (
    Schedule("teacher", (), task="classification"),
    _one_step("baseline", {"cross_entropy": 1}),
    # Labels are ignored: the teacher knew them.
    _one_step("kd", KD, labels=False),
    _one_step("kd_soft", {"soft": 1}, labels=False),
    # Their Supplementary Figure 1: one way of resizing the teacher's maps.
    _one_step("kd_maxpool", {"soft": 1, "pixel_wise_maxpool": 1}, labels=False),
    _one_step("kd_bicubic", {"soft": 1, "pixel_wise_bicubic": 1}, labels=False),
    # KD (AD): on auxiliary images (MHKD.UNLABELED) alone, then the last layer on the labelled ones.
    Schedule(
        "kd_unlabelled",
        (
            Stage("kd", KD, student=CLASSIFIER, labels=False, unlabeled_ratio=1, length=4),
            Stage("last_layer", {"cross_entropy": 1}, student=(HEAD,), unlabeled_ratio=0),
        ),
        task="classification",
    ),
    _beside_labels("fm", "feature_matching"),
    _beside_labels("at", "feature_matching", "attention"),
    _beside_labels("at_plus", "feature_matching", "attention_plus"),
)
