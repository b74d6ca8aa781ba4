"""``mhkd demo`` with two small slides, tiny networks and a few iterations."""

import mhkd.demo

from support import TINY

CONSTANTS = {
    "SLIDES": {"train": 1, "val": 1}, "SLIDE_SIZE_PX": 1024, "NUM_GLOMERULI": (4, 4), "HR_MPP": 2.0,
    "LR_FACTOR": 4, "TILE_SIZE_PX": 256,
}  # fmt: skip
OPTIONS = (
    *(x for pair in zip(TINY[::2], TINY[1::2]) if not pair[0].startswith("DATASETS") for x in pair),
    "INPUT.LR_FACTOR", 4, "MODEL.FPN.NORM", "", "INPUT.CROP.ENABLED", True, "INPUT.CROP.SIZE", [128, 128],
    "MHKD.TEACHER_ITERS", 2, "MHKD.STUDENT_ITERS", 4,
)  # fmt: skip


def run(out):
    """In a process of its own, whose constants it changes."""
    vars(mhkd.demo).update(CONSTANTS)
    mhkd.demo.run_demo(out, options=OPTIONS)
