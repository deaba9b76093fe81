"""The demo: every available backend, a table, figures, CSV files, a page; and what is missing is said."""

from __future__ import annotations

import pytest

from decodebench.core.isolation.plugins import all_plugins

pytestmark = pytest.mark.timeout(900)  # seven engines, two rounds


@pytest.fixture(scope="module")
def demo(cli_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, cli_for(folder)("demo", "--budget", 0, "-o", folder, env={"PYTHONPATH": ""}, timeout=800)


def test_it_compares_every_engine_in_at_least_two_rounds(demo, cli_for):
    folder, ended = demo
    assert ended.code == 0, ended.err
    rows = cli_for(folder)("compare", folder, "--json").json["rows"]
    engines = {"transformers", "llama-cpp", "tinygrad", "mlc", "dflash", "fast-dllm", "draft-target"}
    assert {row["cell"]["backend"] for row in rows} == engines
    models = {row["cell"]["backend"]: row["cell"]["model"] for row in rows}
    assert models.pop("fast-dllm") == "tiny:block-diffusion" and set(models.values()) == {"tiny:target"}
    assert all(row["rounds"] == 2 and row["n"] == 32 for row in rows)
    assert rows[0]["cell"]["backend"] == "transformers" and rows[0]["verdict"] == "baseline"
    bits = [row["cell"]["bits_per_weight"] for row in rows if row["cell"]["backend"] == "llama-cpp"]
    assert bits[0] > 31 and 8 <= bits[1] < 9 and 4 <= bits[2] < 5.5


def test_it_writes_what_it_names(demo):
    folder, ended = demo
    figures = sum(figure.topic == "comparison" for figure in all_plugins().figures.values())
    assert len(list((folder / "figures").glob("*.png"))) == figures
    assert {path.name for path in folder.glob("*.csv")} == {
        "dflash.csv",
        "draft-target.csv",
        "fast-dllm.csv",
        "llama-cpp.csv",
        "mlc.csv",
        "tinygrad.csv",
        "transformers.csv",
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == figures
    for path in [*folder.glob("figures/*.png"), *folder.glob("*.csv"), folder / "report.html"]:
        assert str(path) in ended.out


def test_it_says_what_it_does_and_how_long(demo):
    _, ended = demo
    assert "as many rounds as fit into 0 s after set-up, at least 2" in ended.out
    assert "mlc q0f32" in ended.out and "tinygrad float32" in ended.out and "tokens/s" in ended.out


def test_it_names_what_was_not_measured(cli, tmp_path):
    other = {"DECODEBENCH_DISABLE_PLUGINS": "transformers,dflash,fast-dllm,draft-target,llama-cpp,tinygrad,mlc"}
    ended = cli("demo", "--budget", 0, "-o", tmp_path, env={**other, "PYTHONPATH": ""})
    assert ended.code == 2
    assert "no backend is available" in ended.err
    assert "plugin transformers is disabled" in ended.err
