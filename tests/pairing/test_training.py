"""A training on what ``mhkd pair`` wrote: the student sees the cheap scanner's own pixels."""

import json
from pathlib import Path

from mhkd.cli import main
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.engine import score_trained
from mhkd.synthetic.render import render_slide
from mhkd.synthetic.slides import to_geojson

import numpy as np
import pytest
from click.testing import CliRunner
from detectron2.data import DatasetCatalog
from killed_training import train
from PIL import Image
from second_scan import RECOLOURED, lay, second_scan, write_scan
from support import tiny_config

TILE = 512
OPTIONS = [
    "DATASETS.TRAIN", ("scanned_twice_train",),
    "DATASETS.TEST", ("scanned_twice_val",),
    "INPUT.LR_FACTOR", 4,
    "INPUT.CROP.ENABLED", True,
    "INPUT.CROP.SIZE", [TILE, TILE],
    "INPUT.FLIP_PROB", 0.0,
    "MODEL.ROI_HEADS.NUM_CLASSES", 2,
    "MODEL.STUDENT.INPUT", "native",
    "MODEL.MASK_ON", True,
    "MODEL.ROI_MASK_HEAD.NUM_CONV", 1,
    "MODEL.ROI_MASK_HEAD.CONV_DIM", 8,
    "MHKD.SCHEDULE", "features_w8",
    "MHKD.TEACHER_ITERS", 1,
    "MHKD.STUDENT_ITERS", 2,
    "TEST.DETECTIONS_PER_IMAGE", 5,
]  # fmt: skip


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """A config of the dataset that the command made of two slides, one a split."""
    for name in ("fine", "cheap"):
        (tmp_path / name).mkdir()
    for k in range(2):
        rgb, glomeruli = render_slide((3 + k, 0), 1024, 1.0, num_glomeruli=4, stain="PAS")
        affine, size = lay((1024, 1024), 4, shift=(0.03, -0.02), turn=3 - 5 * k, stretch=1.01)
        write_scan(tmp_path / f"fine/case_{k}.tiff", rgb, 1.0)
        (tmp_path / f"fine/case_{k}.geojson").write_text(json.dumps(to_geojson(glomeruli, 0)))
        cheap = second_scan(rgb, affine, size, 4, mixed=RECOLOURED)
        write_scan(tmp_path / f"cheap/case_{k}.tiff", cheap, 4.0)
    words = ("pair", tmp_path / "fine", tmp_path / "cheap", "--out", tmp_path / "datasets/scanned_twice")
    result = CliRunner().invoke(main, [*map(str, words), "--tile-size-px", str(TILE), "--overlap-um", "200"])
    assert result.exit_code == 0, result.output
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    return tiny_config(tmp_path / "output", OPTIONS)


@pytest.mark.slow
def test_from_two_scans_to_scores(cfg):
    train(cfg)
    report = json.loads(Path(cfg.OUTPUT_DIR, "1_features_w8/stage.json").read_text())
    scores = score_trained(cfg)
    assert {"AP", "AP-normal", "AP-sclerotic", "segm_AP"} <= scores.keys()
    known = {name: value for name, value in report["results"]["student"].items() if value is not None}
    assert {name: scores[name] for name in known} == pytest.approx(known)

    for split, is_train in (("train", True), ("val", False)):
        entries = DatasetCatalog.get(f"scanned_twice_{split}")
        mapper = PairedResolutionMapper(cfg, is_train)
        assert entries and all(e["lr_file_name"] != e["file_name"] for e in entries)
        for entry in entries:
            seen = mapper(entry)["image_lr" if is_train else "image"].numpy().transpose(1, 2, 0)
            assert np.array_equal(seen, np.asarray(Image.open(entry["lr_file_name"]))[:, :, :3])
