"""A cell whose weights stay as they are is named by the dtype that ran, wherever its format is shown."""

from __future__ import annotations

import re

import pytest

from decodebench.core.api.results import open as open_results

from ..collate.conftest import ENVIRONMENT, Logs


@pytest.fixture
def results(tmp_path):
    logs = Logs(tmp_path)
    for cell, dtype in (("a", "float32"), ("b", "bfloat16")):
        for number in range(4):
            environment = ENVIRONMENT | {"hostname": "left" if number < 2 else "right"}
            logs.write(cell, number, quantisation="none", options={"dtype": dtype}, environment=environment, order=None)
    with open_results(tmp_path) as opened:
        yield opened


@pytest.mark.nightly
def test_page_log_entry_and_figure_name_the_dtype(results, tmp_path):
    page = results.report(to=tmp_path / "page.html").read_text(encoding="utf-8")
    chips = re.findall(r'value="(\w+)"><span class="swatch"', page)
    assert {"float32", "bfloat16"} <= set(chips) and "none" not in chips
    assert re.findall(r"Model: m, (\w+), cpu", results.log_entry()) == ["float32", "bfloat16"]
    found = results.draw(["device_comparison"], to=tmp_path, fmt="svg")
    assert found.files, found.missing
    drawn = found.files[0].read_text()
    assert "a float32" in drawn and "none:" not in drawn and " none" not in re.sub(r"<[^>]+>", "", drawn)


def test_a_dry_run_names_the_dtype(cli):
    shown = cli("run", "-b", "transformers", "-m", "tiny:target", "--prompt-tokens", 8, "--dry-run", "--no-probe").out
    assert "float32" in shown and "none" not in shown.split()
