"""Outlines on the page, in a real browser: they are drawn, chosen and corrected in the place of boxes."""

from mhkd.corrections.journal import CorrectionFile
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff

import numpy as np
import pytest
from page import Page, serving
from results_folder import write_result
from selenium.webdriver.common.action_chains import ActionChains
from shapely.geometry import Polygon, box

pytestmark = pytest.mark.slow

SIZE_PX = 1000
OPAQUE = 200  # of 255
# A triangle of the upper left half of its box, a square in the other half, and one like the first, smaller.
SHAPES = [
    Polygon([(200, 200), (600, 200), (200, 600)]),
    box(460, 460, 580, 580),
    Polygon([(480, 240), (480, 440), (280, 440)]),  # its box reaches into the first triangle
]
BOXES = [list(shape.bounds) for shape in SHAPES]


@pytest.fixture
def out(tmp_path):
    slide = tmp_path / "a.tiff"
    write_tiff(slide, np.full((SIZE_PX, SIZE_PX, 3), (235, 200, 225), np.uint8), 1.0, "pink")
    known = {"size_px": (SIZE_PX, SIZE_PX), "mpp_xy": [1.0, 1.0], "slide_checksum": checksum(slide)}
    write_result(tmp_path / "out", slide, BOXES, [0.9, 0.8, 0.7], [0, 0, 1], outlines=SHAPES, **known)
    return tmp_path / "out"


class ShapesPage(Page):
    def opacity(self, x_px, y_px):
        return self.colour_at("#marks", x_px, y_px)[3]

    def click(self, x_px, y_px):
        """The index of what is chosen then."""
        scale, x, y = self.run("(({scale, x, y}) => [scale, x, y])(mhkd.view.toScreen)")
        size = self["view"].size  # Selenium counts from the middle of an element
        at = (round(x_px * scale + x - size["width"] / 2), round(y_px * scale + y - size["height"] / 2))
        ActionChains(self.browser).move_to_element_with_offset(self["view"], *at).click().perform()
        return self.run("mhkd.state.selected && mhkd.state.selected.index")


@pytest.fixture
def page(browser, out):
    with serving(out) as address:
        browser.get("about:blank")
        browser.get(address)
        page = ShapesPage(browser)
        page.wait_for("a.tiff")
        page.until(lambda: page.drawn == 3)
        yield page


def test_the_outline_is_drawn_and_not_the_box(page):
    assert page.opacity(400, 400) > OPAQUE and page.opacity(200, 300) > OPAQUE  # two sides of the triangle
    assert page.opacity(600, 300) == page.opacity(350, 600) == 0  # two sides of its box alone
    assert page.opacity(460, 500) > OPAQUE
    page.keys("b")
    assert page.drawn == 0 and page.opacity(400, 400) == 0


def test_a_click_chooses_by_the_outline(page):
    slack = 3 / page.scale  # of 4 pixels of the screen
    for (x, y), chosen in {
        (250, 250): 0,
        (530 + 0.7 * slack, 270 + 0.7 * slack): 0,  # the line itself is as good
        (595, 350): None,  # in the box, and far from the outline
        (520, 520): 1,
        (310, 290): 0,  # also in the smaller third box, but not in its outline
        (460, 400): 2,
        (800, 800): None,
    }.items():
        assert page.click(x, y) == chosen, (x, y)


def words(out):
    standing = CorrectionFile(find_finished(out).finished[0]).standing().values()
    return [(w.verdict, w.drawn, list(w.box_px)) for w in standing]


def test_an_outline_is_accepted_and_rejected_and_a_drawn_box_takes_its_place(page, out):
    assert page.click(250, 250) == 0
    page.keys("a")
    page.until(lambda: words(out) == [("accepted", False, BOXES[0])])
    assert page.opacity(400, 400) > OPAQUE and page.opacity(600, 300) == 0
    page.keys("x")
    page.until(lambda: words(out) == [("rejected", False, BOXES[0])])
    assert page.opacity(200, 300) > OPAQUE and page.opacity(500, 500) > OPAQUE  # crossed out
    page.keys("a")
    page.until(lambda: words(out) == [("accepted", False, BOXES[0])])
    script = "mhkd.editor.keepDrawn([470, 470, 580, 580])"  # around the square: IoU 0.84
    page.run(script)
    page.until(lambda: words(out)[1:] == [("accepted", True, [470, 470, 580, 580])])
    assert page.opacity(460, 500) == 0 and page.opacity(470, 500) > OPAQUE
    assert page.run("mhkd.state.content.verdicts") == ["accepted", "drawn", None]
    page.keys("x")  # taken away, and what was found is back
    page.until(lambda: len(words(out)) == 1)
    assert page.opacity(460, 500) > OPAQUE and page.opacity(470, 500) == 0
    assert [e for e in page.browser.get_log("browser") if e["level"] == "SEVERE"] == []
