from dataclasses import replace

from mhkd.wsi.detection import Detections
from mhkd.wsi.exports import summarize


def test_counts_density_and_share(found, info):
    """3 glomeruli on 0.5 mm2, one of them sclerotic."""
    summary = summarize(found, info)
    assert summary["glomeruli"] == 3 and summary["counts"] == {"normal": 2, "sclerotic": 1}
    assert summary["tissue_mm2"] == 0.5 and summary["density_per_mm2"] == 6.0
    assert summary["sclerotic_share"] == 0.3333
    assert summary["slide_file"] == info.slide_file


def test_no_share_without_a_class_or_glomeruli(found, info):
    other = Detections(found.boxes_px, found.scores, found.classes, ("intact", "non-sclerotic"))
    assert summarize(other, info)["sclerotic_share"] is None
    none = summarize(Detections.empty(found.class_names), info)
    assert none["sclerotic_share"] is None
    assert none["counts"] == {"normal": 0, "sclerotic": 0} and none["density_per_mm2"] == 0


def test_no_density_without_tissue(found, info):
    assert summarize(found, replace(info, tissue_area_um2=0.0))["density_per_mm2"] is None
