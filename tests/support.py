"""What several test files share: a tiny pair of networks and a tiny dataset, real all the same."""

import contextlib
import json
import os
import resource
import subprocess
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)

import cv2
import numpy as np
import pytest
from detectron2.config import get_cfg

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

# "disks": 2 iterations of the teacher, 4 steps of 2 of the student.
DISKS = [
    "DATASETS.TRAIN", ("disks_train",),
    "DATASETS.TEST", ("disks_val",),
    "INPUT.CROP.ENABLED", True,
    "INPUT.CROP.SIZE", [96, 96],
    "INPUT.MIN_SIZE_TEST", 128,
    "INPUT.MAX_SIZE_TEST", 128,
    "MHKD.TEACHER_ITERS", 2,
    "MHKD.STUDENT_ITERS", 8,
]  # fmt: skip


@contextlib.contextmanager
def room_for(num_bytes):
    """No file may become larger, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def mounted(folder, *options):
    """A disk of its own in memory at ``folder``, with options of mount ("size=100k"); skips where none may be
    mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def tiny_config(output_dir, options=()):
    """A config of the tiny networks; change it freely."""
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "Base-MHKD-R50-FPN.yaml"))
    cfg.merge_from_list([*TINY, *options, "OUTPUT_DIR", str(output_dir)])
    return cfg


def write_disks(root, name="disks", splits=(("train", 4), ("val", 2)), size=128, categories=("disk",)):
    """A COCO folder of grey images with two dark disks each; ``<name>_<split>`` under ``root``."""
    folder = Path(root) / name
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in splits:
        images, annotations = [], []
        for i in range(count):
            pixels = rng.normal(200, 8, (size, size, 3)).clip(0, 255).astype(np.uint8)
            file_name = f"images/{split}_{i}.png"
            for x, y, r in ((35, 40, 22), (90, 80, 30)):
                x, y = (int(v + rng.integers(-6, 7)) for v in (x, y))
                cv2.circle(pixels, (x, y), r, (90, 60, 120), -1)
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0,
                     "bbox": [x - r, y - r, 2 * r, 2 * r], "area": 3.14 * r * r}
                )  # fmt: skip
            cv2.imwrite(str(folder / file_name), pixels)
            images.append(
                {"id": i + 1, "file_name": file_name, "width": size, "height": size,
                 "slide": f"{split}_{i}", "mpp": 0.5}
            )  # fmt: skip
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k + 1, "name": c} for k, c in enumerate(categories)],
        }
        (folder / f"annotations_{split}.json").write_text(json.dumps(content))
    return folder


def edit_coco(folder, edit, split="train"):
    """Let ``edit`` change the content of a dataset's COCO file; returns its path."""
    path = Path(folder) / f"annotations_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path
