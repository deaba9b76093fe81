"""A page in headless Chromium, as the tests of the report drive it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LAPTOP, PHONE = (1280, 800), (390, 844)
DESKTOP, TABLET = (1440, 900), (1024, 768)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NEEDS_BROWSER = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium and chromedriver here: `make chromium` (apt-get install chromium chromium-driver)",
)


class Page:
    """One page in one browser, which all tests of this file share."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, size=LAPTOP, scheme="light"):
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.scheme(scheme)
        self.driver.get(path.as_uri())
        self.until("document.querySelectorAll('#problems details').length > 0")
        return self

    def scheme(self, name):
        features = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)

    def js(self, expression):
        return self.driver.execute_script(f"return {expression}")

    def until(self, expression, timeout=20):
        self.driver.set_script_timeout(2 * timeout)
        value = self.driver.execute_async_script(
            f"const look = () => {expression};"
            """
            const [timeout_ms, done] = arguments, end = performance.now() + timeout_ms;
            const again = () => look() || performance.now() > end ? done(look()) : setTimeout(again, 20);
            again();
            """,
            1000 * timeout,
        )
        assert value, f"never true: {expression}"
        return value

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.js(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        self.find(selector).click()

    def open_problem(self, nth=1):
        problem = f"#problems details:nth-child({nth})"
        self.click(f"{problem} summary")
        self.until(f"document.querySelector('{problem} .answers')")  # a browser tells of `toggle` when it has time

    def rows(self, table="#comparison"):
        return self.js(
            f"[...document.querySelectorAll('{table} tbody tr:not([hidden]) th')].map((each) => each.textContent)"
        )

    def chart(self, name, expression, ask=None):
        ask = ask or self.js
        return ask(f"((chart) => {expression})(Chart.getChart(document.querySelector('[data-chart={name}] canvas')))")

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own, and end it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()
