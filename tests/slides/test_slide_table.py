"""Resolutions that users give: for slides that record none, by table, or in place of what is recorded."""

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides.slide import slide_with_mpp
from mhkd.slides.slide_table import mpp_of, parse_mpp

import numpy as np
import pytest
import pyvips

PIXELS = np.full((40, 60, 3), 200, np.uint8)


@pytest.fixture
def slides(tmp_path):
    """records: 0.5; oblong: 0.25 x 0.5; silent: nothing."""
    paths = {}
    for name, mpp in {"records": (0.5, 0.5), "oblong": (0.25, 0.5), "silent": None}.items():
        image = pyvips.Image.new_from_array(PIXELS).copy(interpretation="srgb")
        if mpp:
            image = image.copy(xres=1000 / mpp[0], yres=1000 / mpp[1])
        paths[name] = str(tmp_path / f"{name}.tiff")
        image.tiffsave(paths[name], tile=True, resunit="cm")
    return paths


@pytest.mark.parametrize(
    "name, given, mpp_xy, used, remark",
    [
        ("records", {}, (0.5, 0.5), None, None),
        ("records", {"slide_mpp": 1.0}, (0.5, 0.5), None, "kept: --slide-mpp 1 "),
        ("records", {"slide_mpp": 0.505}, (0.5, 0.5), None, None),
        ("records", {"override_slide_mpp": 1.0}, (1, 1), 1.0, "replaced by --override-slide-mpp 1"),
        ("oblong", {"slide_mpp": 0.25}, (0.25, 0.5), None, "kept: --slide-mpp 0.25 "),
        ("oblong", {"override_slide_mpp": 0.25}, (0.25, 0.25), 0.25, "replaced"),
        ("silent", {"slide_mpp": 1.0}, (1, 1), 1.0, None),
        ("silent", {"override_slide_mpp": 1.0, "slide_mpp": 2.0}, (1, 1), 1.0, None),
    ],
)
def test_what_a_slide_records_comes_first(slides, name, given, mpp_xy, used, remark):
    slide, said = slide_with_mpp(slides[name], **given)
    assert slide.mpp_xy == pytest.approx(mpp_xy)
    assert slide.slide_mpp == used
    assert (said is None) if remark is None else (remark in said)


def test_a_table_is_by_file_name(tmp_path):
    table = tmp_path / "mpp.csv"
    table.write_text("slide;mpp;remark\na.tiff;0,5;x\nb;0.25;\nfolder/c.svs;1;\n", encoding="utf-8-sig")
    given = parse_mpp(str(table), "--slide-mpp")
    found = {name: mpp_of(given, f"slides/{name}") for name in ("a.tiff", "b.ome.tiff", "c.svs", "d.svs")}
    assert found == {"a.tiff": 0.5, "b.ome.tiff": 0.25, "c.svs": 1.0, "d.svs": None}
    table.write_text("slide\tmpp\na.tiff\t0,5\n", encoding="utf-8")  # as copied from a spreadsheet
    assert parse_mpp(str(table), "--slide-mpp") == {"a.tiff": 0.5}
    assert parse_mpp("0.5", "--slide-mpp") == mpp_of(0.5, "any") == 0.5


@pytest.mark.parametrize(
    "text, message",
    [
        ("slide,um\na,1\n", "needs the columns slide and mpp"),
        ("slide,mpp\na,-1\n", "mpp of the slide a is '-1'"),
        ("slide,mpp\na,nan\n", "mpp of the slide a is 'nan'"),
        ("slide,mpp\na,\n", "mpp of the slide a is ''"),
        ("slide,mpp\na,1\na,2\n", "different rows for the slide a"),
    ],
)
def test_tables_at_fault(tmp_path, text, message):
    (tmp_path / "mpp.csv").write_text(text)
    with pytest.raises(InputError, match=rf"mpp\.csv: .*{message}"):
        parse_mpp(str(tmp_path / "mpp.csv"), "--slide-mpp")


@pytest.mark.parametrize("text", ["-1", "0", "inf", "nan", "none.csv"])
def test_what_is_neither_number_nor_table(text):
    with pytest.raises(InputError, match=f"--slide-mpp {text}: give a positive number, or a CSV file"):
        parse_mpp(text, "--slide-mpp")
