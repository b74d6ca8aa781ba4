"""How the images of a classifier were cut from slides: from their dataset into its config, and back."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..tiling.cut import Cut, read_cut


def record_cut(cfg: CfgNode) -> None:
    """Fill in MHKD.CUT, in place, where the training data records how it was cut.

    Raises:
        InputError: the record cannot be read.
    """
    for name in cfg.DATASETS.TRAIN[:1]:
        folder = os.path.dirname(MetadataCatalog.get(name).get("annotation_file") or "")
        cut = read_cut(folder) if folder else None
        if cut:
            cfg.MHKD.CUT.MODE = cut.mode
            cfg.MHKD.CUT.FIELD_UM, cfg.MHKD.CUT.FIELD_BOXES = cut.field_um or 0.0, cut.field_boxes or 0.0
            cfg.MHKD.CUT.MIN_TISSUE_UM2 = float(cut.min_tissue_um2)
            cfg.MHKD.CUT.MAX_HOLE_UM2 = float(cut.max_hole_um2)


def recorded_cut(cfg: CfgNode) -> Cut | None:
    """What MHKD.CUT says; None where it has no mode.

    Raises:
        InputError: it cannot be meant.
    """
    cut = cfg.MHKD.CUT
    if not cut.MODE:
        return None
    return Cut(
        cut.MODE,
        field_um=cut.FIELD_UM or None,
        field_boxes=cut.FIELD_BOXES or None,
        min_tissue_um2=cut.MIN_TISSUE_UM2,
        max_hole_um2=cut.MAX_HOLE_UM2,
    )
