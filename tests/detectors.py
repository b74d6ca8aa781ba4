"""Every direct detector, narrow and small."""

import yaml
from detectron2.config import CfgNode
from support import CONFIGS, DISKS, tiny_config

SMALL_DETR = [
    "MODEL.DETR.HIDDEN_DIM", 64, "MODEL.DETR.NUM_QUERIES", 20, "MODEL.DETR.ENCODER_LAYERS", 1,
    "MODEL.DETR.DECODER_LAYERS", 2, "MODEL.DETR.FEEDFORWARD_DIM", 64, "MODEL.DETR.NUM_HEADS", 4,
    "MODEL.DETR.DENOISING_QUERIES", 20, "SOLVER.BASE_LR", 1e-3,
]  # fmt: skip
SMALL = {
    "cascade_rcnn_R18_FPN_cpu": ["SOLVER.BASE_LR", 3e-3],
    "faster_rcnn_R18_FPN_cpu": ["SOLVER.BASE_LR", 3e-3],
    "fcos_R18_FPN_cpu": ["SOLVER.BASE_LR", 2e-3, "MODEL.RETINANET.NUM_CONVS", 1],
    "atss_R18_FPN_cpu": ["SOLVER.BASE_LR", 2e-3, "MODEL.RETINANET.NUM_CONVS", 1],
    "dab_detr_R18_cpu": SMALL_DETR,
    "dino_R18_cpu": SMALL_DETR,
}


def detector_config(name, output_dir, options=()):
    """The detector of a config file, narrow and small."""
    content = yaml.safe_load((CONFIGS / "KidneyROI/direct" / f"{name}.yaml").read_text())
    content.pop("_BASE_")
    cfg = tiny_config(output_dir, ["MODEL.RESNETS.NORM", "GN", "MODEL.RESNETS.STEM_OUT_CHANNELS", 32,
                                   "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.WIDTH_PER_GROUP", 32,
                                   "MODEL.FPN.OUT_CHANNELS", 32, *DISKS])  # fmt: skip
    cfg.merge_from_other_cfg(CfgNode(content))
    cfg.merge_from_list([*options, "OUTPUT_DIR", str(output_dir)])
    return cfg
