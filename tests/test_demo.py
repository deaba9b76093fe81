"""The demo: two engines first, then the others while time lasts, a page, and what to do next."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from decodebench.core.api.results import open as open_results
from decodebench.core.cli.demo import demo_plan
from decodebench.core.isolation.plugins import all_plugins
from decodebench.viz.drawing.numbers import by_unit

pytestmark = pytest.mark.timeout(900)
ENGINES = ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx", "dflash", "fast-dllm", "draft-target")
FEW = ("tinygrad", "mlc", "mlx", "draft-target", "fast-dllm")


def test_it_plans_every_engine_of_this_process_and_the_second_at_4_bits_too():
    registry = all_plugins()
    cells = {cell.backend: cell for cell in demo_plan(registry).cells}
    assert list(cells)[0] == "transformers" and set(cells) == set(ENGINES)
    models = {name: cell.model for name, cell in cells.items()}
    assert models.pop("fast-dllm") == ["tiny:block-diffusion"] and set(map(str, models.values())) == {"['tiny:target']"}
    bits = {one.name: one.bits_per_weight for one in registry.backend("llama-cpp").quantisations()}
    assert [bits[chosen] for chosen in cells["llama-cpp"].quantisation] == pytest.approx([32, 4.5], rel=0.1)
    assert all(len(cell.quantisation) == 1 for name, cell in cells.items() if name != "llama-cpp")


@pytest.fixture(
    scope="module",
    params=[pytest.param((8, 29, FEW), id="few"), pytest.param((60, 150, ()), marks=pytest.mark.nightly)],
)
def demo(request, cli_for, tmp_path_factory):
    """The demo's folder, how it ended, its times and the engines that it may measure."""
    first, limit, without = request.param
    folder = tmp_path_factory.mktemp("demo")
    other = {"DECODEBENCH_DISABLE_PLUGINS": ",".join(without), "PYTHONPATH": ""}
    ended = cli_for(folder)("demo", "--first", first, "--limit", limit, "-o", folder, env=other, timeout=800)
    return folder, ended, (first, limit), set(ENGINES) - set(without)


def test_it_measures_within_its_time_two_engines_first(demo):
    folder, ended, (first, limit), engines = demo
    assert ended.code == 0, ended.err
    rounds = []
    for log in (folder / "raw").glob("*/*.jsonl"):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        began = datetime.fromisoformat(lines[0]["started_at"]).timestamp()
        rounds.append((began, began + lines[-1]["wall_s"], lines[0]["backend"]))
    rounds.sort()
    begun = rounds[0][0]
    assert max(end for _, end, _ in rounds) - begun < limit
    assert {backend for start, _, backend in rounds if start - begun < first - 1} <= {"transformers", "llama-cpp"}
    assert {backend for *_, backend in rounds} <= engines and not list((folder / "raw").glob("*/*.part"))


def test_it_shows_a_table_early_and_one_at_the_end_and_says_what_is_next(demo):
    folder, ended, (first, _), engines = demo
    with open_results(folder) as results:
        comparison = results.compare()
    assert comparison.metric == "decode_tokens_per_s"
    (base,) = [row for row in comparison.rows if row.verdict == "baseline"]
    shown = [line for line in ended.out.splitlines() if line.startswith(base.cell.label) and " baseline" in line]
    assert len(shown) >= 2, ended.out
    assert f" {by_unit(base.metrics[comparison.metric].value, 'tokens/s')} " in shown[-1]
    announced, *_ = ended.out.splitlines()
    assert f"for {first} s" in announced and "up to 3 rounds" in announced
    assert "[1/9] " in ended.err  # 3 cells, 3 rounds
    assert (folder / "report.html").is_file() and f"page: {folder / 'report.html'}" in ended.out
    assert sum(line.startswith("  decodebench ") for line in ended.out.splitlines()) == 3
    left_out = set(ENGINES) - engines
    assert all(f"not measured: plugin {engine} is disabled" in ended.out for engine in left_out)


def test_it_names_what_was_not_measured(cli, tmp_path):
    other = {"DECODEBENCH_DISABLE_PLUGINS": ",".join(ENGINES)}
    ended = cli("demo", "-o", tmp_path, env={**other, "PYTHONPATH": ""})
    assert ended.code == 2
    assert "no backend is available" in ended.err
    assert "plugin transformers is disabled" in ended.err
