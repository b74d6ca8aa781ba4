import csv
from dataclasses import replace

from mhkd.slide_detection import Detections
from mhkd.slide_detection.exports import summarize, write_summary_csv


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


def test_table_of_slides_has_failed_ones_and_all_classes(found, info, tmp_path):
    other = Detections(found.boxes_px, found.scores, [0, 0, 0], ("fibrosis", "b", "c"))
    slides = [("a.svs", summarize(found, info), ""), ("b.svs", None, "b.svs: is damaged,\ncopy it again")]
    slides.append(("c.svs", summarize(other, info), ""))
    write_summary_csv(tmp_path / "summary.csv", slides)
    with open(tmp_path / "summary.csv", newline="", encoding="utf-8-sig") as f:
        a, b, c = csv.DictReader(f)
    counts = [a[k] for k in ("slide", "glomeruli", "normal", "sclerotic", "fibrosis")]
    assert counts == ["a.svs", "3", "2", "1", ""]
    assert (a["sclerotic_share"], a["density_per_mm2"], a["error"]) == ("0.3333", "6.0", "")
    assert b["glomeruli"] == "" and b["error"] == "b.svs: is damaged, copy it again"
    assert (c["fibrosis"], c["normal"], c["sclerotic_share"]) == ("3", "", "")


def test_a_class_that_is_called_as_another_column_has_a_column_of_its_own(found, info, tmp_path):
    named = Detections(found.boxes_px, found.scores, found.classes, ("slide", "error"))
    write_summary_csv(tmp_path / "summary.csv", [("a.svs", summarize(named, info), "")])
    with open(tmp_path / "summary.csv", newline="", encoding="utf-8-sig") as f:
        (a,) = csv.DictReader(f)
    assert (a["slide"], a["slide (class)"], a["error (class)"], a["error"]) == ("a.svs", "2", "1", "")
