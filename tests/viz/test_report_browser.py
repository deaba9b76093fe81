"""The page in a real browser, headless Chromium: what a reader clicks does what it says, and nothing goes wrong."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.core.contract.look import LEAST_CONTRAST, contrast
from decodebench.viz.drawing import style
from decodebench.viz.report import render

from .browser import LAPTOP, NEEDS_BROWSER, PHONE
from .report_pages import HOSTILE, PROBLEMS, cells_of, large_content, write_logs, write_page

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_logs(folder)
    return write_page(folder, compare)


@pytest.fixture
def page(browser, file):
    browser.open(file)
    yield browser
    assert browser.console() == [], "the console stays empty, whatever a test does"


@pytest.mark.nightly
def test_it_loads_nothing_else_and_runs_nothing_that_a_model_wrote(page):
    loaded = page.js("performance.getEntriesByType('resource').map((each) => each.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    page.open_problem()
    assert page.js("window.hacked === undefined && document.querySelectorAll('img').length === 0")
    assert HOSTILE in page.find("#problems .prompt").text
    assert HOSTILE in page.js("document.querySelector('#methods pre').textContent")


def test_filters_act_on_tables_charts_and_samples(page):
    assert page.rows() == ["transformers f16", "llama-cpp f16", "llama-cpp q8_0", "draft-target f16"]
    page.click("#filters > summary")
    page.click("[data-dimension=backend] input[value=draft-target]")
    page.click("[data-dimension=quantisation] input[value=f16]")
    assert page.rows() == page.rows("#figures") == ["llama-cpp q8_0"]
    assert page.find("#shown").text == "1 of 4 cells"
    assert page.chart("figures", "chart.scales.y.getLabels()") == ["llama-cpp q8_0"]
    page.open_problem()
    assert [each.text for each in page.driver.find_elements("css selector", ".answer h3")] == ["llama-cpp q8_0"]
    page.click("#filters button[type=reset]")
    page.until("document.getElementById('shown').textContent === '4 cells'")
    page.find("#find-cell").send_keys("LLAMA")
    assert page.rows() == ["llama-cpp f16", "llama-cpp q8_0"]
    page.find("#find-cell").send_keys(" nothing")
    assert page.rows() == [] and page.js("document.querySelector('[data-chart=figures]').hidden")


def test_tables_sort_by_mouse_and_keyboard(page):
    page.click("#comparison th:nth-child(6) button")
    assert page.rows() == ["llama-cpp q8_0", "llama-cpp f16", "transformers f16", "draft-target f16"]
    page.find("#comparison th:nth-child(6) button").send_keys("\n")
    assert page.rows() == ["draft-target f16", "transformers f16", "llama-cpp f16", "llama-cpp q8_0"]
    assert page.find("#comparison th:nth-child(6)").get_attribute("aria-sort") == "ascending"


def hovered(page, name, dataset=0):
    """Point at the first mark of a dataset and return what the chart says of it."""
    from selenium.webdriver import ActionChains

    canvas = page.find(f"[data-chart={name}] canvas")
    page.js(f"document.querySelector('[data-chart={name}]').scrollIntoView({{block: 'center'}})")
    x, y = page.chart(name, f"((mark) => [mark.x, mark.y])(chart.getDatasetMeta({dataset}).data[0])")
    left, top = canvas.size["width"] / 2, canvas.size["height"] / 2
    ActionChains(page.driver, duration=0).move_to_element_with_offset(canvas, x - left, y - top).perform()
    page.until(f"Chart.getChart(document.querySelector('[data-chart={name}] canvas')).tooltip.opacity > 0")
    return page.chart(name, "[...chart.tooltip.title, ...chart.tooltip.body.flatMap((each) => each.lines)]")


def test_charts_tell_their_figures_where_one_points(page):
    assert hovered(page, "figures") == [
        "transformers f16",
        "9.81 tokens/s",
        "95 %: 9.34 tokens/s to 10.3 tokens/s",
        "3 rounds",
    ]
    title, ratio, around, rounds, verdict = hovered(page, "ratios")
    assert (title, ratio, rounds, verdict) == ("llama-cpp f16", "2.00×", "3 rounds", "faster")
    assert around.startswith("95 %: ")
    assert hovered(page, "rounds")[:2] == ["transformers f16", "round 1: 10.0 tokens/s"]
    assert hovered(page, "latencies") == [
        "transformers f16",
        "median: 408 ms",
        "90 %: 416 ms",
        "95 %: 416 ms",
        "180 samples",
    ]
    assert "accuracy: 100 %" in hovered(page, "accuracy")[2]


def test_another_metric_redraws_the_charts_that_show_it(page):
    page.find("[data-chart=figures] select").send_keys("Time to first token")
    page.until("Chart.getChart(document.querySelector('[data-chart=figures] canvas')).options.scales.x.title.text "
               "=== 'Time to first token'")  # fmt: skip
    assert hovered(page, "figures")[1] == "408 ms"
    assert hovered(page, "rounds")[1] == "round 1: 400 ms"
    page.find("[data-chart=latencies] select").send_keys("Time per step")
    assert "1,980 steps" in hovered(page, "latencies")


def test_a_line_of_the_time_course_can_be_hidden(page):
    from selenium.webdriver import ActionChains

    canvas = page.find("[data-chart=rounds] canvas")
    page.js("document.querySelector('[data-chart=rounds]').scrollIntoView({block: 'center'})")
    x, y = page.chart("rounds", "((box) => [box.left + 5, box.top + 5])(chart.legend.legendHitBoxes[1])")
    move = ActionChains(page.driver, duration=0).move_to_element_with_offset(
        canvas, x - canvas.size["width"] / 2, y - canvas.size["height"] / 2
    )
    move.click().perform()
    page.until("!Chart.getChart(document.querySelector('[data-chart=rounds] canvas')).isDatasetVisible(1)")
    assert page.chart("rounds", "chart.isDatasetVisible(0)")


def test_a_sample_opens_with_outputs_side_by_side_and_the_divergence_marked(page):
    assert page.find("#found").text == f"{PROBLEMS} of {PROBLEMS} problems"
    page.js("(document.querySelector('[name=which]').value = 'diverges',"
            "document.querySelector('#samples form').dispatchEvent(new Event('input')))")  # fmt: skip
    assert page.find("#found").text == f"{PROBLEMS // 3} of {PROBLEMS} problems"
    page.open_problem(2)
    answers = page.driver.find_elements("css selector", ".answer")
    assert [answer.find_element("css selector", "h3").text for answer in answers] == page.rows()
    boxes = {round(answer.rect["y"]) for answer in answers[:2]}
    assert len(boxes) == 1, "side by side"
    marks = [[mark.text for mark in answer.find_elements("css selector", "mark")] for answer in answers]
    assert marks == [[], [], ["</script><img"], []]
    output = answers[2].find_element("css selector", ".output").text
    assert output.startswith("word0 word1 word2 word3 </script><img src=x")
    assert "diverges at output token 4" in answers[2].text and "wrong" in answers[2].text
    assert "same as the baseline" in answers[1].text and "right answer: 4" in page.find("#problems").text
    page.find("#samples [name=text]").send_keys("what is 3 +")
    assert page.find("#found").text == f"1 of {PROBLEMS} problems"


def test_long_lists_come_in_pieces(page):
    count = "document.querySelectorAll('#problems > details').length"
    assert page.js(count) == 50
    page.click("#more")
    assert page.js(count) == PROBLEMS and not page.find("#more").is_displayed()


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_fits_the_screen_in_light_and_dark(page, file, size):
    page.open(file, size)
    assert page.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    light = (
        page.js("getComputedStyle(document.body).backgroundColor"),
        page.chart("figures", "chart.scales.y.options.ticks.color"),
    )
    page.scheme("dark")
    page.until(f"getComputedStyle(document.body).backgroundColor !== {light[0]!r}")
    page.chart("figures", f"chart.scales.y.options.ticks.color !== {light[1]!r}", ask=page.until)
    assert page.chart("figures", "chart.width") <= size[0]
    drawn = page.chart(
        "figures", "chart.data.datasets.find((set) => set.data[0].title === 'draft-target f16').borderColor"
    )
    assert contrast(drawn, style.DARK) >= LEAST_CONTRAST


@pytest.mark.nightly
def test_long_names_and_wide_intervals_fit_the_charts(browser, tmp_path):
    cells = [
        (name, "q8_0", 8.5, 0.001 * 8**i) for i, name in enumerate(("fast", "an-engine-with-a-long-name-" * 3, "x"))
    ]
    write_logs(tmp_path, cells=cells, problems=2, rounds=2, noise=0.6)
    browser.open(write_page(tmp_path, compare), PHONE)
    names = browser.chart("figures", "chart.scales.y.ticks.map((tick) => tick.label)")
    most = max(len(name) for name in names)
    assert most == 3, "a name takes at most three lines"
    assert browser.chart("figures", "chart.scales.y.height / chart.scales.y.ticks.length") >= 14 * most
    assert {"10", "100"} <= set(browser.chart("figures", "chart.scales.x.ticks.map((tick) => tick.label)"))
    assert {"1/4×", "1×"} <= set(browser.chart("ratios", "chart.scales.x.ticks.map((tick) => tick.label)"))
    assert browser.chart("rounds", "Math.max(...chart.legend.legendItems.map((item) => item.text.length))") <= 37


@pytest.mark.nightly
def test_on_paper_the_answer_is_first_and_tables_keep_their_heading(browser, tmp_path):
    from pypdf import PdfReader

    write_logs(tmp_path, cells=cells_of(44), problems=3)
    browser.open(write_page(tmp_path, compare))
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
    first, *others = [page.extract_text() for page in PdfReader(BytesIO(b64decode(printed))).pages]
    assert "Same text" in first and "32 more cells in the table" in first
    assert "40 of 44 cells are drawn" in " ".join("".join(others).split())
    rows = [page for page in others if page.count("slower") > 9 and "%" in page]
    assert rows and all("verdict" in page for page in rows)


@pytest.mark.nightly
def test_eight_thousand_samples_are_small_and_quick(browser, comparison, tmp_path):
    rows = tuple(
        row.model_copy(update={"cell": row.cell.model_copy(update={"cell_id": f"c{i}", "label": f"cell {i}"})})
        for i, row in enumerate(comparison.rows * 2)
    )
    large = tmp_path / "large.html"
    content = large_content(comparison.model_copy(update={"rows": rows}), problems=1000, words=100)
    large.write_text(render(comparison.model_copy(update={"rows": rows}), content), encoding="utf-8")
    assert large.stat().st_size < 10e6
    browser.driver.execute_cdp_cmd("Performance.enable", {})
    browser.open(large)
    found = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    busy = {each["name"]: each["value"] for each in found}["TaskDuration"]
    assert busy < 2.0, "seconds of work, whatever else the machine does"
    assert browser.find("#found").text == "1,000 of 1,000 problems"
    browser.open_problem()
    assert len(browser.driver.find_elements("css selector", ".answer")) == 8
    assert browser.console() == []
