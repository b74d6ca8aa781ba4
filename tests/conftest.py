"""Tiny networks and datasets that every test can build in well under a second."""

from pathlib import Path

import mhkd  # noqa: F401  (first: prepares Detectron2)
import pytest
import torch
from detectron2.config import get_cfg

from mhkd.config import add_mhkd_config

REPO = Path(__file__).resolve().parents[1]
CONFIGS = REPO / "projects" / "MHKD" / "configs"
SHARED_DATA = REPO.parent / "shared" / "data"

# A three-level Faster R-CNN of narrow bottlenecks.
TINY = [
    "MODEL.DEVICE", "cpu",
    "MODEL.RESNETS.DEPTH", 50,
    "MODEL.RESNETS.WIDTH_PER_GROUP", 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS", 16,
    "MODEL.RESNETS.STEM_OUT_CHANNELS", 8,
    "MODEL.RESNETS.NORM", "",
    "MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"],
    "MODEL.FPN.OUT_CHANNELS", 8,
    "MODEL.FPN.NORM", "",
    "MODEL.ANCHOR_GENERATOR.SIZES", [[16], [32], [64], [128]],
    "MODEL.RPN.IN_FEATURES", ["p3", "p4", "p5", "p6"],
    "MODEL.RPN.POST_NMS_TOPK_TRAIN", 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST", 50,
    "MODEL.ROI_HEADS.IN_FEATURES", ["p3", "p4", "p5"],
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM", 16,
    "MODEL.ROI_BOX_HEAD.NUM_FC", 1,
    "MODEL.BFA.CHANNELS", 8,
    "MODEL.BFA.NUM_BLOCKS", 1,
    "INPUT.CROP.ENABLED", False,
    "DATALOADER.NUM_WORKERS", 0,
    "DATASETS.TRAIN", (),
    "DATASETS.TEST", (),
    "SOLVER.WARMUP_ITERS", 1,
]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny_cfg(tmp_path):
    """A config of the tiny network; change it freely."""
    cfg = get_cfg()
    add_mhkd_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "Base-MHKD-R50-FPN.yaml"))
    cfg.merge_from_list(TINY)
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


@pytest.fixture
def shared_data():
    """Real kidney regions and slides, which do not come with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
