"""The demo: every available backend, a table, figures, CSV files, a page; and what is missing is said."""

from __future__ import annotations

import pytest

from decodebench.core.cli.demo import demo_plan
from decodebench.core.isolation.plugins import all_plugins

pytestmark = pytest.mark.timeout(900)  # eight engines, two rounds
BITS = {"transformers": [32, 8], **dict.fromkeys(("llama-cpp", "tinygrad", "mlc", "mlx"), [32, 8, 4.5])}
ONE_FORMAT = ("dflash", "fast-dllm", "draft-target")


def test_it_plans_every_engine_near_32_8_and_4_bits():
    registry = all_plugins()
    cells = {cell.backend: cell for cell in demo_plan(registry).cells}
    assert list(cells)[0] == "transformers" and set(cells) == {*BITS, *ONE_FORMAT}
    models = {name: cell.model for name, cell in cells.items()}
    assert models.pop("fast-dllm") == ["tiny:block-diffusion"] and set(map(str, models.values())) == {"['tiny:target']"}
    assert {len(cells[name].quantisation) for name in ONE_FORMAT} == {1}
    for name, wanted in BITS.items():
        bits = {one.name: one.bits_per_weight for one in registry.backend(name).quantisations()}
        assert [bits[chosen] for chosen in cells[name].quantisation] == pytest.approx(wanted, rel=0.1), name


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("tinygrad", "mlc", "mlx", "draft-target"), id="four-fewer"),
        pytest.param((), marks=pytest.mark.nightly),
    ],
)
def demo(request, cli_for, tmp_path_factory):
    """The demo's folder, how it ended and the engines in it; those that compile first take most of the time."""
    folder = tmp_path_factory.mktemp("demo")
    other = {"DECODEBENCH_DISABLE_PLUGINS": ",".join(request.param), "PYTHONPATH": ""}
    ended = cli_for(folder)("demo", "--budget", 0, "-o", folder, env=other, timeout=800)
    return folder, ended, {*BITS, *ONE_FORMAT} - set(request.param)


def test_it_compares_every_engine_in_at_least_two_rounds(demo, cli_for):
    folder, ended, engines = demo
    assert ended.code == 0, ended.err
    rows = cli_for(folder)("compare", folder, "--json").json["rows"]
    assert {row["cell"]["backend"] for row in rows} == engines
    models = {row["cell"]["backend"]: row["cell"]["model"] for row in rows}
    assert models.pop("fast-dllm") == "tiny:block-diffusion" and set(models.values()) == {"tiny:target"}
    assert all(row["rounds"] == 2 and row["n"] == 32 for row in rows)
    assert rows[0]["cell"]["backend"] == "transformers" and rows[0]["verdict"] == "baseline"
    bits = [row["cell"]["bits_per_weight"] for row in rows if row["cell"]["backend"] == "llama-cpp"]
    assert bits[0] > 31 and 8 <= bits[1] < 9 and 4 <= bits[2] < 5.5


def test_it_writes_what_it_names(demo):
    folder, ended, engines = demo
    figures = sum(figure.topic == "comparison" for figure in all_plugins().figures.values())
    assert len(list((folder / "figures").glob("*.png"))) == figures
    assert {path.name for path in folder.glob("*.csv")} == {f"{engine}.csv" for engine in engines}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == figures
    for path in [*folder.glob("figures/*.png"), *folder.glob("*.csv"), folder / "report.html"]:
        assert str(path) in ended.out


def test_it_says_what_it_does_and_how_long(demo):
    _, ended, engines = demo
    assert "as many rounds as fit into 0 s after set-up, at least 2" in ended.out
    assert all(f"{engine} " in ended.out for engine in engines) and "tokens/s" in ended.out
    left_out = {*BITS, *ONE_FORMAT} - engines
    assert all(f"not measured: plugin {engine} is disabled" in ended.out for engine in left_out)


def test_it_names_what_was_not_measured(cli, tmp_path):
    other = {"DECODEBENCH_DISABLE_PLUGINS": "transformers,dflash,fast-dllm,draft-target,llama-cpp,tinygrad,mlc,mlx"}
    ended = cli("demo", "--budget", 0, "-o", tmp_path, env={**other, "PYTHONPATH": ""})
    assert ended.code == 2
    assert "no backend is available" in ended.err
    assert "plugin transformers is disabled" in ended.err
