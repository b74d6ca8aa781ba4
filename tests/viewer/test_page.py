"""The page in a real browser: Debian's chromium and chromium-driver, or any pair of the kind."""

import json
import threading

from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import to_geojson, write_tiff
from mhkd.viewer.content import ShownSlide
from mhkd.viewer.server import make_server

import cv2
import numpy as np
import pytest
from page import Page
from results_folder import write_result
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from shapely.geometry import box

pytestmark = pytest.mark.slow

SIZE_PX = 2400
# In the order of the list: corner, side, score, class.
FOUND = [
    (300, 300, 120, 0.95, 0), (1500, 400, 160, 0.80, 0), (900, 1800, 140, 0.60, 1), (2100, 2100, 90, 0.30, 1)
]  # fmt: skip
BOXES = [[x, y, x + s, y + s] for x, y, s, _, _ in FOUND]
SCORES, CLASSES = [f[3] for f in FOUND], [f[4] for f in FOUND]
MISSED = [1000, 900, 1100, 1000]
OPAQUE = 200  # of 255: a line between two pixels is not drawn in full


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    pixels = np.full((SIZE_PX, SIZE_PX, 3), (235, 200, 225), np.uint8)
    for x0, y0, x1, _ in BOXES:
        cv2.circle(pixels, ((x0 + x1) // 2, y0 + (x1 - x0) // 2), (x1 - x0) // 2, (110, 60, 140), -1)
    slide = folder / "a.tiff"
    write_tiff(slide, pixels, 1.0, "disks")
    annotated = [(box(*b), "normal") for b in [*BOXES[:2], MISSED]]
    slide.with_suffix(".geojson").write_text(json.dumps(to_geojson(annotated, 0)))
    size = (SIZE_PX, SIZE_PX)
    quality = {"square_um": 16.0, "squares_um": {"blurred": [[0.0, 0.0]]}}  # in the corner
    more = {"size_px": size, "tissue_mm2": 2.0, "mpp_xy": [1.0, 1.0], "quality": quality}
    write_result(folder / "out", slide, BOXES, SCORES, CLASSES, **more)
    gone = write_result(folder / "out", folder / "gone.tiff", BOXES[:1], [0.9], [0], size_px=size)
    run = json.loads((gone / "run.json").read_text())
    (gone / "run.json").write_text(json.dumps({**run, "mpp_xy": [0.5, 0.5]}))
    damaged = write_result(folder / "out", slide, BOXES, SCORES, CLASSES, size_px=size, name="damaged.tiff")
    (damaged / "coco_instances_results.json").write_text("[{}]")
    # A student of one class, and an annotation that it takes for another.
    other = folder / "other.tiff"
    write_tiff(other, pixels, 1.0, "disks")
    annotated = [(box(*BOXES[0]), "sclerotic"), (box(*BOXES[1]), "normal")]
    other.with_suffix(".geojson").write_text(json.dumps(to_geojson(annotated, 0)))
    write_result(folder / "out", other, BOXES[:2], SCORES[:2], [0, 0], ["normal"], size_px=size)
    server = make_server([ShownSlide(f) for f in find_finished(folder / "out")[0]], "out", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, address):
    browser.get("about:blank")
    browser.get(address)
    page = Page(browser)
    page.wait_for("a.tiff")
    return page


def test_it_loads_with_tissue_boxes_and_numbers(page):
    assert page.text("shown") == "3"  # 0.5 or more
    assert page.text("density") == "1.50" and page.text("sclerotic") == "33 %"
    assert page.text("outline-count") == "3"
    assert page.text("agreement").startswith("2 found, 1 missed; boxes not annotated: 1")
    assert [b.text.split() for b in page.items] == [
        ["1", "normal", "120", "µm", "0.95"],
        ["2", "normal", "160", "µm", "0.80"],
        ["3", "sclerotic", "140", "µm", "0.60"],
    ]
    tissue = "#view .openseadragon-canvas canvas"
    page.until(lambda: np.abs(np.subtract(page.colour_at(tissue, 1580, 480)[:3], (110, 60, 140))).max() < 12)
    assert np.abs(np.subtract(page.colour_at(tissue, 1300, 480)[:3], (235, 200, 225))).max() < 12
    edge = [page.colour_at("#marks", 1500, y)[3] for y in (430, 480, 530)]
    assert min(edge) > OPAQUE and page.colour_at("#marks", 1300, 480)[3] == 0
    assert page.browser.find_element(By.CLASS_NAME, "navigator").is_displayed()
    assert [e for e in page.browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_buttons_wheel_and_keys_zoom_and_the_scale_bar_says_how_far(page):
    def bar_um():
        value, unit = page.text("scale-text").split()
        return float(value) * (1000 if unit == "mm" else 1)

    def bar_px():
        return page["scale-line"].size["width"]

    start = page.scale
    assert bar_px() == pytest.approx(bar_um() * start, abs=2)  # 1 um per pixel of the slide
    page["zoom-in"].click()
    page.until(lambda: page.scale == pytest.approx(1.6 * start, rel=0.01))
    ActionChains(page.browser).scroll_from_origin(
        webdriver.common.actions.wheel_input.ScrollOrigin.from_element(page["view"]), 0, -300
    ).perform()
    page.until(lambda: page.scale > 1.7 * start)
    page.keys("+", "+", "+", "+")
    page.until(lambda: page.scale > 6 * start)
    assert bar_px() == pytest.approx(bar_um() * page.scale, abs=2)
    page.keys("0")
    page.until(lambda: page.scale == pytest.approx(start, rel=0.01))


def test_a_click_on_the_list_goes_there(page):
    before = page.center
    for k in (1, 2, 0):
        page.items[k].click()
        x, y, side = FOUND[k][:3]
        page.until(lambda: page.center == pytest.approx([x + side / 2, y + side / 2], abs=1))  # noqa: B023
        selected = page.browser.find_elements(By.CSS_SELECTOR, '#list [aria-selected="true"]')
        assert [e.text.split()[0] for e in selected] == [str(k + 1)]
    assert page.center != pytest.approx(before, abs=100)
    page.keys("n")
    page.until(lambda: page.center == pytest.approx([1580, 480], abs=1))


def test_the_threshold_decides_which_boxes_are_shown(page):
    assert page.drawn == 3
    page["threshold"].send_keys(*[Keys.ARROW_LEFT] * 20)  # 0.5 to 0.3
    assert page.text("threshold-value") == "0.30"
    assert page.drawn == 4 and len(page.items) == 4 and page.text("shown") == "4"
    edge = (2100, 2145)  # left side of the fourth
    page.until(lambda: page.colour_at("#marks", *edge)[3] > OPAQUE)
    page.keys(Keys.TAB, *["]"] * 11)
    assert page.text("threshold-value") == "0.85"
    assert page.drawn == 1 and len(page.items) == 1 and page.text("shown") == "1"
    assert page.colour_at("#marks", *edge)[3] == 0
    assert "1 found, 2 missed" in page.text("agreement")


def test_classes_and_annotations_are_switched(page):
    page.keys("2")
    assert page.drawn == 2 and page.text("shown") == "2"
    page.keys("2", "b")  # what is drawn is no matter of what is found
    assert page.drawn == 0 and len(page.items) == 3 and page.text("shown") == "3"
    assert page.text("agreement").startswith("2 found, 1 missed; boxes not annotated: 1")
    page.keys("b", "g")
    assert page.drawn == 3 and page["marks"].get_attribute("data-outlines") == "0"
    page.keys("g")
    assert page["marks"].get_attribute("data-outlines") == "3"


def test_squares_of_poor_quality_are_switched(page):
    assert page.text("square-count") == "1" and page["marks"].get_attribute("data-squares") == "1"
    page.keys("q")
    assert page["marks"].get_attribute("data-squares") == "0"
    page.keys("q")
    assert page["marks"].get_attribute("data-squares") == "1"


def test_missed_and_unannotated_ones_can_be_listed(page):
    Select(page["which"]).select_by_value("missed")
    assert len(page.items) == 1
    page.items[0].click()
    page.until(lambda: page.center == pytest.approx([1050, 950], abs=1))
    Select(page["which"]).select_by_value("extra")
    assert [b.text.split()[0] for b in page.items] == ["3"]


def edges(element):
    x, y, width, height = (element.rect[k] for k in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def test_long_names_stay_in_the_panel(page):
    rows = page.browser.find_elements(By.CSS_SELECTOR, "#classes .row")
    page.run("(arguments[0].querySelector('.class').textContent = arguments[1])", rows[0], "a long name " * 9)
    right = edges(page["slide"])[2]
    counts = page.browser.find_elements(By.CSS_SELECTOR, "#classes .count")
    for element in (*counts, page["which"], page["order"], page["threshold"]):
        assert edges(element)[2] <= right + 0.5
    assert rows[0].size["height"] > rows[1].size["height"]
    assert counts[0].size == counts[1].size  # on one line
    assert page["slide"].get_attribute("title") == "a.tiff"


def test_a_click_on_a_box_finds_it_in_the_list(page):
    page.items[0].click()
    page.until(lambda: page.center == pytest.approx([360, 360], abs=1))
    page.items[1].click()
    page.until(lambda: page.center == pytest.approx([1580, 480], abs=1))
    page.run("mhkd.state.selected = null")
    ActionChains(page.browser).move_to_element(page["view"]).click().perform()
    page.until(lambda: page.run("mhkd.state.selected && mhkd.state.selected.index") == 1)


def test_a_slide_that_has_moved_says_so_and_the_other_is_back(page):
    Select(page["slide"]).select_by_visible_text("gone.tiff (1)")
    page.wait_for("gone.tiff")
    assert "gone.tiff" in page.text("message") and "--slides DIR" in page.text("message")
    assert page.text("shown") == "1" and len(page.items) == 1
    assert page.items[0].text.split() == ["1", "normal", "60", "µm", "0.90"]  # as run.json knows
    page.items[0].click()  # nowhere to go, and no error
    Select(page["slide"]).select_by_visible_text("a.tiff (4)")
    page.wait_for("a.tiff")
    assert not page["message"].is_displayed() and page.drawn == 3
    assert [e for e in page.browser.get_log("browser") if e["level"] == "SEVERE"] == []


def is_empty(page):
    numbers = [page.text(name) for name in ("shown", "density", "threshold-value", "agreement")]
    hidden = not any(page[name].is_displayed() for name in ("sclerotic-box", "truth", "scale"))
    return hidden and not page.items and page.drawn == 0 and numbers == ["–", "–", "", ""]


def test_nothing_of_the_last_slide_stays_when_results_cannot_be_read(page):
    page.items[0].click()
    Select(page["slide"]).select_by_visible_text("damaged.tiff (4)")
    page.wait_for("damaged.tiff")
    assert "coco_instances_results.json" in page.text("message")
    assert is_empty(page) and not page.run("mhkd.view.isOpen")
    page.keys("n", "]", "1", "b")  # no error
    Select(page["slide"]).select_by_visible_text("a.tiff (4)")
    page.wait_for("a.tiff")
    assert page.drawn == 3 and page.text("shown") == "3"


def test_a_server_that_has_stopped_is_said(browser, tmp_path):
    for name in ("a.tiff", "b.tiff"):
        write_tiff(tmp_path / name, np.full((600, 600, 3), 200, np.uint8), 1.0, "grey")
        write_result(tmp_path / "out", tmp_path / name, BOXES[:1], [0.9], [0], size_px=(600, 600))
    server = make_server([ShownSlide(f) for f in find_finished(tmp_path / "out")[0]], "out", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    page = Page(browser)
    page.wait_for("a.tiff")
    server.shutdown()
    server.server_close()
    Select(page["slide"]).select_by_visible_text("b.tiff (1)")
    page.until(lambda: "The server has stopped" in page.text("message"))
    assert is_empty(page)


@pytest.mark.parametrize("hash, message", [
    ("%E0%A4%A", "This page's address is broken."),
    ("no.tiff", "There is no slide no.tiff in these results."),
    ("a.tiff/9", "There is no glomerulus 9 on this slide."),
])  # fmt: skip
def test_an_address_that_leads_nowhere_is_said(page, address, hash, message):
    page.browser.get("about:blank")
    page.browser.get(f"{address}#{hash}")
    page.until(lambda: page.text("message") == message)
    assert page.run("document.body.dataset.slide") == "a.tiff" and page.drawn == 3


def test_a_glomerulus_has_a_link_and_back_leads_back(page, address):
    page.items[1].click()
    link = page.browser.current_url
    assert link == f"{address}#a.tiff/2"
    Select(page["slide"]).select_by_visible_text("other.tiff (2)")
    page.wait_for("other.tiff")
    assert page.browser.current_url == f"{address}#other.tiff"
    page.browser.back()
    page.wait_for("a.tiff")
    page.until(lambda: page.center == pytest.approx([1580, 480], abs=1))
    page.run(f"location.hash = '#{'a.tiff/4'}'")  # below the threshold, which gives way
    page.until(lambda: page.center == pytest.approx([2145, 2145], abs=1))
    assert page.text("threshold-value") == "0.30" and page.drawn == 4


def test_another_class_is_neither_found_nor_missed_and_shares_are_of_what_the_student_knows(page):
    Select(page["slide"]).select_by_visible_text("other.tiff (2)")
    page.wait_for("other.tiff")
    assert page.text("agreement").startswith("1 found, 1 as another class, 0 missed; boxes not annotated: 0")
    Select(page["which"]).select_by_value("wrong")
    assert [i.text.split("\n")[1] for i in page.items] == ["normal for sclerotic"]
    assert not page["sclerotic-box"].is_displayed()  # the student knows no such class
    Select(page["slide"]).select_by_visible_text("a.tiff (4)")
    page.wait_for("a.tiff")
    page.run("document.activeElement.blur()")
    page.keys("1")  # what is hidden is found all the same
    assert page.text("shown") == "1" and page.text("sclerotic") == "33 %"
    page.keys("1")


def test_largest_first_sorts_by_the_size_that_is_shown(page):
    page.run("(mhkd.state.content.boxes_px[0] = [300, 300, 500, 350])")  # wide and low: 100 um
    Select(page["order"]).select_by_value("large")
    listed = [item.text.split() for item in page.items]
    assert [(words[0], words[2]) for words in listed] == [("2", "160"), ("3", "140"), ("1", "100")]


def test_the_list_is_one_tab_stop_and_the_arrows_go_through_it(page):
    assert page.run("document.querySelectorAll('#list [tabindex], #list button, #list a').length") == 0
    page.run("document.getElementById('list').focus()")
    down, up = Keys.ARROW_DOWN, Keys.ARROW_UP
    for key, number in ((down, 1), (down, 2), (up, 1), (up, 3)):
        page.keys(key)
        active = page["list"].get_attribute("aria-activedescendant")
        assert page[active].text.split()[0] == str(number)


def test_of_very_many_boxes_only_the_rows_in_sight_are_in_the_document(page):
    script = """((n) => {
        const {content} = mhkd.state, fill = (f) => Array.from({length: n}, (_, i) => f(i));
        const box = (x, y) => [x, y, x + 9, y + 9];
        content.boxes_px = fill((i) => box(i % 200 * 12, Math.floor(i / 200) * 12));
        content.scores = fill((i) => 0.95 - i / n / 10);
        content.class_of = fill(() => 0);
    })(20000)"""
    page.run(script)
    page.run("document.getElementById('which').dispatchEvent(new Event('change'))")
    assert page.drawn == 20000 and page.text("shown") == "20000"
    assert len(page.items) < 100 and page.items[0].text.startswith("1")
    page.keys("p")  # the last one
    page.until(lambda: page.items[-1].text.startswith("20000"))
    assert len(page.items) < 100
    assert page.run("document.getElementById('list').scrollHeight") == pytest.approx(20000 * 30, abs=30)


@pytest.mark.parametrize("width, height", [(390, 844), (844, 390)])
def test_on_a_phone_all_can_be_touched_and_the_page_does_not_scroll(browser, address, width, height):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        browser.get("about:blank")
        browser.get(address)
        page = Page(browser)
        page.wait_for("a.tiff")
        assert page.run("matchMedia('(pointer: coarse)').matches")
        for box in browser.find_elements(By.CSS_SELECTOR, "aside input[type=checkbox]"):
            assert min(box.size.values()) >= 24
        for row in browser.find_elements(By.CSS_SELECTOR, ".row, #list li, #buttons button"):
            assert row.size["height"] >= 44
        scrolls = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        assert page.run(scrolls) == [width, height]
        assert min(page["view"].size.values()) >= 300
        Select(page["slide"]).select_by_visible_text("gone.tiff (1)")
        page.wait_for("gone.tiff")
        said, main, buttons = (edges(page[name]) for name in ("message", "view", "buttons"))
        assert said[2] - said[0] >= 300 and main[0] < said[0] and said[2] < main[2] and said[3] < main[3]
        assert said[0] > buttons[2] or said[1] > buttons[3]  # beside the buttons or below them
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
