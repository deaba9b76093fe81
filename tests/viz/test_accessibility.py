"""The page under axe-core, in both themes: whoever reads it by ear, by keyboard or with little contrast can."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.viz.figures import backend_comparison, summary_stats

from ..at_night import at_night
from .browser import DESKTOP, LAPTOP, NEEDS_BROWSER, PHONE, TABLET
from .report_pages import cells_of, write_logs, write_page

ROOT = Path(__file__).parents[2]
(VERSION,) = re.findall(r"^AXE_VERSION := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
AXE = ROOT / "build" / f"axe-{VERSION}.min.js"

pytestmark = [NEEDS_BROWSER, pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: `make axe` (needs npm)")]


NOISY = {"rounds": 2, "noise": 0.6}
"""Two rounds that differ much: intervals wider than any axis, and verdicts that say so."""
PAGES = {"2": (2, {}), "14": (14, {}), "200": (200, {}), "noisy": (4, NOISY)}
SEEN = [
    (name, scheme, size)
    for name in PAGES
    for scheme in ("light", "dark")
    for size in (LAPTOP, PHONE, DESKTOP, TABLET)
    if name in ("2", "14") or size in (LAPTOP, PHONE)
]


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    """A page of ``PAGES``, one of whose cells diverges, with its static figures."""

    @cache
    def made(name):
        folder = tmp_path_factory.mktemp("page")
        count, how = PAGES[name]
        write_logs(folder, cells=cells_of(count), problems=6, **how)
        return write_page(folder, compare, figures=[backend_comparison.FIGURE, summary_stats.FIGURE])

    return made


def violations(page) -> list[str]:
    """Return what axe-core finds in the page as it is seen now, with the first places of each."""
    page.driver.execute_script(AXE.read_text(encoding="utf-8"))
    page.driver.set_script_timeout(180)
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(({ violations }) => done(violations));"
    )
    places = [[node["html"][:200] for node in each["nodes"][:3]] for each in found]
    return [f"{each['id']}: {each['help']}: {place}" for each, place in zip(found, places, strict=True)]


@pytest.mark.parametrize(("name", "scheme", "size"), at_night(SEEN, but=[("14", "dark", LAPTOP)]))
def test_everybody_can_use_the_page(browser, file_of, name, scheme, size):
    browser.open(file_of(name), size, scheme)
    assert violations(browser) == []
    browser.js("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.until("document.querySelector('.answers')")
    assert violations(browser) == [], "with everything unfolded"
