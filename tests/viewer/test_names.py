"""Names of slides and classes are anyone's: nothing in them becomes anything else than text."""

import http.client
import json
import os
import re
import sys
import threading
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import quote

from mhkd.corrections.journal import CorrectionFile
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff
from mhkd.viewer.content import DamagedSlide, ShownSlide
from mhkd.viewer.server import STATIC, make_server

import numpy as np
import pytest
from page import Page
from results_folder import write_result
from selenium.webdriver.support.ui import Select

ATTACK = "<img src=x onerror=window.attacked=1>"
SLIDES = [
    f"{ATTACK}.tiff", "\"'><svg onload=window.attacked=1>.tiff", "javascript:window.attacked=1",
    "a\r\nX-Evil: 1\n.tiff", "photo\u202egpj.tiff", "%2e%2e%2f#?&;.tiff", "${window.attacked=1}`.tiff",
    "\u05d0\u05d1\u05d2.tiff",
]  # fmt: skip
CLASSES = [
    f"</span></label><script>window.attacked=1</script>{ATTACK}", "__proto__", "constructor",
    " two  spaces\n\" onclick='window.attacked=1", "\u202esuoregnad",
]  # fmt: skip
HEADERS = {
    "Server", "Date", "Content-Type", "Content-Length", "Cache-Control", "Content-Security-Policy",
    "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp(ATTACK.replace("/", ""))
    for k, name in enumerate(SLIDES):
        slide = folder / f"{k}.tiff"
        write_tiff(slide, np.full((600, 600, 3), (235, 200, 225), np.uint8), 1.0, name)
        boxes = [[50, 50 * (i + 1), 90, 50 * (i + 1) + 40] for i in range(len(CLASSES))]
        more = {"size_px": (600, 600), "mpp_xy": [1.0, 1.0], "slide_checksum": checksum(slide), "name": name}
        write_result(folder / "out", slide, boxes, [0.9] * len(boxes), range(len(boxes)), CLASSES, **more)
    return folder / "out"


@pytest.fixture(scope="module")
def port(out):
    damaged = [DamagedSlide("\udcff\udcfe.tiff", f"\udcff{ATTACK}\r\nX-Evil: 1")]
    server = make_server([*(ShownSlide(f) for f in find_finished(out).finished), *damaged], ATTACK, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_no_header_and_no_kind_of_content_comes_from_a_name(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(path):
        connection.request("GET", path)
        response = connection.getresponse()
        assert set(response.headers) == HEADERS
        return response, response.read()

    _, body = get("/slides")
    listed = [slide["name"] for slide in json.loads(body)["slides"]]
    assert sorted(listed) == sorted([*SLIDES, "??.tiff"])
    for index in range(len(SLIDES)):
        response, body = get(f"/slides/{index}")
        assert response.headers["Content-Type"] == "application/json"
        key = json.loads(body)["key"]
        assert (
            get(f"/corrected/{index}-{key}/0.50.geojson")[0].headers["Content-Type"] == "application/geo+json"
        )
    for path in (f"/slides/{len(SLIDES)}", f"/{quote(SLIDES[3])}", f"/tiles/{quote(ATTACK)}"):
        response, body = get(path)
        assert response.status in (404, 500) and response.headers["Content-Type"].startswith("text/plain")
    connection.close()


class Markup(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_itself_has_no_inline_script_or_style_and_makes_no_html_of_text():
    static = files("mhkd.viewer") / "static"
    for tag, attributes in Markup((static / "index.html").read_text()).tags:
        assert tag != "style" and "style" not in attributes
        assert tag != "script" or attributes["src"]
        assert not [name for name in attributes if name.startswith("on")]
        assert not str(attributes.get("href", "")).startswith("javascript")
    for name, kind in STATIC.values():
        if kind.startswith("text/javascript") and "openseadragon" not in name:
            makes_html = (
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
            )
            assert not re.search(makes_html, (static / name).read_text())


@pytest.fixture
def page(browser, port):
    browser.get("about:blank")
    browser.get(f"http://127.0.0.1:{port}/")
    page = Page(browser)
    page.until(lambda: page.run("document.body.dataset.slide") in SLIDES)
    return page


def spelt_out(name):
    return re.sub("[\r\n\u202e]", lambda found: f"<U+{ord(found[0]):04X}>", name)


@pytest.mark.slow
def test_hostile_names_are_text_on_the_page(page, out, port):
    tags = page.run("document.querySelectorAll('body *').length")
    slides = page.run("mhkd.state.slides.map((slide) => slide.name)")
    options = page.run("[...document.getElementById('slide').options].map((o) => o.text)")
    shown = [re.sub(" +", " ", f"{spelt_out(name)} (5)") for name in slides[:-1]]
    assert options == [*shown, "??.tiff"]
    assert page.browser.title == f"{ATTACK} – MHKD" and page.text("folder") == ATTACK
    for index, name in enumerate(slides[:-1]):
        Select(page["slide"]).select_by_index(index)
        page.wait_for(name)
        classes = page.run("[...document.querySelectorAll('#classes .class')].map((e) => e.textContent)")
        assert classes == [spelt_out(c) for c in CLASSES]
        assert page.run("[...document.querySelectorAll('#list .class')].map((e) => e.textContent)") == classes
        assert page.run("document.querySelectorAll('body *').length") == tags
    Select(page["slide"]).select_by_index(len(SLIDES))
    page.until(lambda: "X-Evil" in page.text("message"))
    assert page.text("message") == f"\\udcff{ATTACK} X-Evil: 1"
    assert page.run("window.attacked") is None
    errors = [e["message"] for e in page.browser.get_log("browser") if e["level"] == "SEVERE"]
    assert len(errors) == 1 and f"/slides/{len(SLIDES)}" in errors[0]  # that of the damaged one


@pytest.mark.slow
def test_a_hostile_name_has_a_link_and_a_hostile_class_is_kept_as_it_is(page, out, port):
    for name in SLIDES:
        page.browser.get("about:blank")
        page.browser.get(f"http://127.0.0.1:{port}/#{quote(name, safe='')}/1")
        page.wait_for(name)
        page.until(lambda: page.run("mhkd.state.selected && mhkd.state.selected.index") == 0)
        Select(page["to-class"]).select_by_index(3)
        page.until(lambda: page.text("kept") == "1 saved")
        [word] = CorrectionFile(find_finished(out / name).finished[0]).standing().values()
        assert word.class_name == CLASSES[3]
    assert page.run("window.attacked") is None


@pytest.mark.slow
def test_a_file_of_a_hostile_slide_lands_in_the_folder_of_downloads(page, tmp_path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    for count, index in enumerate(range(len(SLIDES)), 1):
        Select(page["slide"]).select_by_index(index)
        page.wait_for(page.run("mhkd.state.slides")[index]["name"])
        page["geojson"].click()
        page.until(lambda: len([p for p in tmp_path.iterdir() if p.suffix == ".geojson"]) == count)  # noqa: B023
    assert page.run("window.attacked") is None


@pytest.mark.slow
def test_scripts_and_frames_of_others_are_blocked(page, port):
    page.run("""(() => {
        const script = document.createElement("script");
        script.textContent = "window.attacked = 1";
        const image = document.createElement("img");
        image.setAttribute("onerror", "window.attacked = 1");
        image.src = "x";
        document.body.append(script, image);
    })()""")
    page.until(lambda: len([e for e in page.browser.get_log("browser") if "Security Policy" in e["message"]]))
    assert page.run("window.attacked") is None


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes there")
def test_a_slide_whose_name_is_no_text_is_shown(tmp_path):
    name = os.fsdecode(b"\xff.tiff")
    write_result(tmp_path, tmp_path / name, [[1, 1, 9, 9]], [0.9], [0], size_px=(50, 50))
    content = ShownSlide(find_finished(tmp_path).finished[0]).content()
    assert content["name"] == "?.tiff" and content["boxes_px"] == [[1, 1, 9, 9]]
