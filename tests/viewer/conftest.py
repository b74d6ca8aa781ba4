import pytest
from page import browser_or_skip
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@pytest.fixture(scope="package")
def browser():
    binary, driver = browser_or_skip()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1300,900"):
        options.add_argument(argument)
    # Not even by accident: nothing but this machine can be reached.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.add_argument("--force-prefers-reduced-motion")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as browser:
        browser.set_page_load_timeout(120)
        yield browser


@pytest.fixture(autouse=True)
def left_page(request):
    """No page asks a server that is gone, and no test reads in the log what failed in another."""
    yield
    if "browser" in request.fixturenames:
        browser = request.getfixturevalue("browser")
        browser.get("about:blank")
        browser.get_log("browser")
