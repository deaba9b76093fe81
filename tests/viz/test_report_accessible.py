"""The page for everybody: axe-core, the checker that browsers' own audits run, finds nothing in any of its states."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from decodebench.collate.comparison.compare import compare

from .browser import LAPTOP, NEEDS_BROWSER, PHONE
from .report_pages import write_logs, write_page

AXE = "axe-core@4.14.1"

pytestmark = [
    pytest.mark.nightly,  # it fetches a package
    NEEDS_BROWSER,
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here to fetch axe-core with"),
]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--prefer-offline", AXE]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode:
        pytest.skip(f"npm could not fetch {AXE}: {ended.stderr.strip()[-200:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_logs(folder)
    return write_page(folder, compare)


def unfolded(page):
    page.open_problem()
    page.js("document.querySelectorAll('details').forEach((part) => (part.open = true))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("state", [lambda page: None, unfolded], ids=["as-opened", "unfolded"])
def test_axe_finds_no_violation(browser, file, axe, size, scheme, state):
    browser.open(file, size, scheme)
    state(browser)
    browser.driver.execute_script(axe)
    browser.driver.set_script_timeout(60)
    violations = browser.driver.execute_async_script(
        """
        const done = arguments[0];
        axe.run().then(({ violations }) => done(violations.map(({ id, help, nodes }) =>
            `${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).slice(0, 5).join(", ")}`)));
        """
    )
    assert violations == []
