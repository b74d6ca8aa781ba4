"""The page of ``mhkd view`` as a user sees it, in Debian's chromium or any pair of browser and driver."""

import contextlib
import os
import shutil
import threading

from mhkd.slide_detection.finished import find_finished
from mhkd.viewer.content import ShownSlide
from mhkd.viewer.server import make_server

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


def browser_or_skip():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if found and driver:
        return found, driver
    message = "no browser: apt-get install chromium chromium-driver"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@contextlib.contextmanager
def serving(out):
    """The address of a page on a folder of results, in this process."""
    server = make_server([ShownSlide(f) for f in find_finished(out).finished], "out", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Page:
    """What a user sees and does."""

    def __init__(self, browser):
        self.browser = browser

    def __getitem__(self, element_id):
        return self.browser.find_element(By.ID, element_id)

    def text(self, element_id):
        return self[element_id].text

    def until(self, condition):
        return WebDriverWait(self.browser, 60, poll_frequency=0.1).until(lambda _: condition())

    def run(self, script, *arguments):
        return self.browser.execute_script(f"return {script}", *arguments)

    def keys(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def wait_for(self, slide):
        self.until(lambda: self.run("document.body.dataset.slide") == slide)

    @property
    def items(self):
        return self.browser.find_elements(By.CSS_SELECTOR, "#list li")

    @property
    def drawn(self):
        return int(self["marks"].get_attribute("data-boxes"))

    @property
    def center(self):
        return self.run("mhkd.view.center()")

    @property
    def scale(self):
        return self.run("mhkd.view.toScreen.scale")

    def colour_at(self, canvas, x_px, y_px):
        """RGBA of a canvas at a pixel of the slide."""
        script = """(() => {
            const {scale, x, y} = mhkd.view.toScreen, canvas = document.querySelector(arguments[0]);
            const ratio = canvas.width / canvas.clientWidth;
            const at = [arguments[1] * scale + x, arguments[2] * scale + y].map((v) => Math.round(v * ratio));
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data];
        })()"""
        return self.run(script, canvas, x_px, y_px)
