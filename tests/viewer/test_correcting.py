"""Corrections on the page, in a real browser, by mouse and keys."""

import os
import re
import signal
import subprocess
import sys

from mhkd.corrections.journal import CorrectionFile
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff

import numpy as np
import pytest
from page import Page, serving
from results_folder import write_result
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = pytest.mark.slow

SIZE_PX = 1200
BOXES = [[100, 100, 200, 200], [500, 500, 620, 620], [900, 300, 1000, 400], [300, 900, 400, 1000]]
SCORES, CLASSES = [0.95, 0.80, 0.60, 0.40], [0, 0, 1, 1]


@pytest.fixture
def out(tmp_path):
    for name, scores in (("a.tiff", SCORES), ("b.tiff", [0.9, 0.9, 0.9, 0.55])):
        slide = tmp_path / name
        write_tiff(slide, np.full((SIZE_PX, SIZE_PX, 3), (235, 200, 225), np.uint8), 1.0, "pink")
        known = {"size_px": (SIZE_PX, SIZE_PX), "mpp_xy": [1.0, 1.0], "slide_checksum": checksum(slide)}
        write_result(tmp_path / "out", slide, BOXES, scores, CLASSES, **known)
    return tmp_path / "out"


class CorrectedPage(Page):
    """One that corrections are made on."""

    def begin(self, address):
        self.browser.get("about:blank")
        self.browser.get(address)
        self.wait_for("a.tiff")
        return self

    def saved(self, count):
        self.until(lambda: self.text("kept") == f"{count} saved")

    def listed(self):
        """The words of each row, all at once: a word of another page may come at any time."""
        return self.run(
            "[...document.querySelectorAll('#list li')].map((row) => row.innerText.split(/\\s+/))"
        )

    def drag(self, box):
        """With the mouse, from corner to corner of a box in pixels of the slide."""
        scale, x, y = self.run("(({scale, x, y}) => [scale, x, y])(mhkd.view.toScreen)")
        size = self["view"].size
        left, top = size["width"] / 2, size["height"] / 2  # Selenium counts from the middle of an element
        ends = [[round(u * scale + x - left), round(v * scale + y - top)] for u, v in (box[:2], box[2:])]
        chain = (
            ActionChains(self.browser).move_to_element_with_offset(self["view"], *ends[0]).click_and_hold()
        )
        half = [(a + b) // 2 for a, b in zip(*ends)]
        for end in (half, ends[1]):
            chain = chain.move_to_element_with_offset(self["view"], *end)
        chain.release().perform()


@pytest.fixture
def page(browser, out):
    with serving(out) as address:
        page = CorrectedPage(browser).begin(address)
        page.address = address
        yield page


def kept(out, name="a.tiff"):
    """(verdict, class, box) of each word that stands."""
    words = CorrectionFile(find_finished(out / name).finished[0]).standing().values()
    return [(w.verdict, w.class_name, list(w.box_px)) for w in words]


def test_accept_reject_and_class_by_keys_and_buttons_and_undo(page, out):
    page.keys("a")
    assert "Choose a box first" in page.text("message")
    page.keys("n", "a")
    page.saved(1)
    page.keys("n", "x")
    page.saved(2)
    page.items[2].click()
    Select(page["to-class"]).select_by_visible_text("normal")
    page.saved(3)
    page["to-class"].send_keys("s", "N")  # letters are the page's keys there too: the next one is selected
    assert page.run("[mhkd.state.selected.index, mhkd.editor.corrections.words.size]") == [0, 3]
    expected = [
        ("accepted", "normal", BOXES[0]),
        ("rejected", None, BOXES[1]),
        ("accepted", "normal", BOXES[2]),
    ]
    assert kept(out) == expected
    assert [words[:3] for words in page.listed()] == [
        ["✓", "1", "normal"],
        ["✗", "2", "normal"],
        ["✓", "3", "normal"],
    ]
    assert page.text("shown") == "2" and page.drawn == 3  # what was rejected is seen, and not counted
    page.begin(page.address)  # all of it is there again
    assert page.text("shown") == "2" and page.listed()[1][0] == "✗"
    page.items[1].click()
    page["accept"].click()
    page.saved(3)
    page.keys("c")
    page.until(lambda: kept(out)[1] == ("accepted", "sclerotic", BOXES[1]))
    page.keys("u")
    page.until(lambda: kept(out)[1] == ("accepted", "normal", BOXES[1]))
    ActionChains(page.browser).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    page.until(lambda: kept(out) == expected)
    page.keys("u")
    assert page.text("message") == "There is nothing to undo."
    assert [e for e in page.browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_a_missed_glomerulus_is_drawn_by_mouse_and_taken_away(page, out):
    Select(page["to-class"]).select_by_visible_text("sclerotic")
    before = page.center
    page["draw"].click()
    page.drag([700, 700, 850, 800])
    page.saved(1)
    assert page.center == before  # the slide has not moved
    [(verdict, name, box)] = kept(out)
    assert (verdict, name) == ("accepted", "sclerotic")
    assert box == pytest.approx([700, 700, 850, 800], abs=2 / page.scale)
    assert page.listed()[-1][:3] == ["✓", "5", "sclerotic"] and page.listed()[-1][-1] == "drawn"
    assert page.text("shown") == "4" and page["draw"].get_attribute("aria-pressed") == "false"
    page.keys("x")
    page.until(lambda: kept(out) == [])
    assert page.text("shown") == "3"
    page.keys("u")
    page.saved(1)
    assert len(kept(out)) == 1


def test_one_is_drawn_by_keys_alone(page, out):
    page.keys("d", Keys.ESCAPE)
    assert page["draw"].get_attribute("aria-pressed") == "false"
    page.keys("d", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    ActionChains(page.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    page.keys(Keys.ENTER)
    page.saved(1)
    [(_, _, (x0, y0, x1, y1))] = kept(out)
    step = 8 / page.scale
    # 100 px, as most that were found, around the middle of the view.
    assert (x0, y0) == pytest.approx((600 - 50 + 2 * step, 600 - 50 - step), abs=1)
    assert (x1 - x0, y1 - y0) == pytest.approx((100 + step, 100), abs=1)


def test_a_box_drawn_around_one_that_was_found_takes_its_place(page, out):
    page["draw"].click()
    page.drag([290, 890, 400, 1000])  # the fourth, below the threshold: 100 of 110 px a side
    page.saved(1)
    assert len(page.run("mhkd.state.content.ids")) == 4 and page.listed()[-1][:2] == ["✓", "4"]
    page.begin(page.address)
    assert len(page.run("mhkd.state.content.ids")) == 4 and page.text("shown") == "4"


def test_two_pages_keep_what_the_other_says_and_learn_of_it(page, out, browser):
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        page.begin(page.address)
        second = browser.current_window_handle
        page.keys("n", "a")
        page.saved(1)
        browser.switch_to.window(first)
        page.keys("n", "n", "x")
        page.saved(2)  # with the answer came what the other one had said
        page.until(lambda: "Another page: glomerulus 1 is normal" in page.text("message"))
        page.items[0].click()
        page.keys("x")  # the last word counts
        page.until(lambda: kept(out)[0][0] == "rejected")
        browser.switch_to.window(second)
        page.until(lambda: page.listed()[0][0] == "✗" and page.listed()[1][0] == "✗")
        assert "Another page: " in page.text("message")
        page.keys("u")
        assert "Changed on another page since" in page.text("message")
        assert [verdict for verdict, _, _ in kept(out)] == ["rejected", "rejected"]
    finally:
        browser.close()
        browser.switch_to.window(first)


def test_fields_are_gone_through_and_one_is_done(page, out):
    page.keys("f")  # a.tiff: 0.60 and 0.40; b.tiff: 0.55
    page.until(lambda: page.text("message").startswith("Field 1 of 2, 2 unsure"))
    assert page.run("document.body.dataset.slide") == "a.tiff"
    x0, y0, x1, y1 = page.run("mhkd.editor.fields.current.box_px")
    page.until(lambda: page.center == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2], abs=1))
    page.keys("m")
    page.saved(1)
    assert kept(out) == [("field", None, [x0, y0, x1, y1])]
    page["next-field"].click()
    page.wait_for("b.tiff")
    page.until(lambda: page.text("message").startswith("Field 2 of 2, 1 unsure"))
    page.keys("f")  # the list anew, without the field that is done
    page.until(lambda: page.text("message").startswith("Field 1 of 1, 1 unsure"))


def test_what_cannot_be_corrected_says_why(page, out, tmp_path):
    write_tiff(tmp_path / "b.tiff", np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8), 1.0, "another")
    with serving(out) as address:
        page.begin(address)
        Select(page["slide"]).select_by_visible_text("b.tiff (4)")
        page.wait_for("b.tiff")
        assert not page["accept"].is_enabled() and not page["geojson"].is_displayed()
        page.run("document.activeElement.blur()")
        page.keys("n", "a")
        assert page.text("message").startswith("Nothing can be corrected here: ")
        assert "is not the file that was looked at" in page.text("message")


def begin_program(out, port):
    """`mhkd view` as a process of its own, and its address."""
    words = [sys.executable, "-m", "mhkd", "view", str(out), "--no-browser", "--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    return process, re.search(r"http://\S+/", process.stdout.readline())[0]


def test_a_server_that_is_killed_right_after_a_click_loses_nothing(browser, out):
    process, address = begin_program(out, 0)
    port = int(address.split(":")[-1].strip("/"))
    try:
        page = CorrectedPage(browser).begin(address)
        page.keys("n", "a")
        page.saved(1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert kept(out) == [("accepted", "normal", BOXES[0])]
        page.keys("n", "x")  # nobody takes it
        page.until(lambda: "not saved yet" in page.text("message"))
        assert page.text("kept") == "1 not saved yet" and len(kept(out)) == 1
        process, again = begin_program(out, port)
        assert again == address
        page.saved(2)  # by itself, with the token of the new one
        assert [verdict for verdict, _, _ in kept(out)] == ["accepted", "rejected"]
    finally:
        process.kill()
        process.wait()
