"""The same weights through both engines commit the same greedy tokens, and where they do not the tool says why."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.nightly  # `test_parity_command.py` has the same engines and formats by day
TIE = 1e-4
PLAN = """
name = "parity"
rounds = 1
[workload]
model = "tiny:target"
task = "tiny-gsm"
samples = 64
[[cells]]
backend = "transformers"
quantisation = "none"
options = { dtype = "float32" }
[[cells]]
backend = "llama-cpp"
quantisation = "f32"
options = { kv_cache_type = "f32", flash_attention = "off", n_threads = 1 }
[[cells]]
backend = "llama-cpp"
quantisation = ["f16", "q4_0", "q2_k"]
options = { n_threads = 1 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def comparison(folder, cli_for):
    (folder / "plan.toml").write_text(PLAN)
    ended = cli_for(folder)("run", folder / "plan.toml", "-o", folder, "--json")
    assert ended.code == 0, ended.err
    return ended.json["comparison"]


def rows(comparison) -> dict[str, dict]:
    return {f"{row['cell']['backend']} {row['cell']['quantisation']}": row for row in comparison["rows"]}


def test_float32_commits_identical_tokens_in_both_engines(comparison):
    assert comparison["rows"][0]["cell"]["backend"] == "transformers"
    parity = rows(comparison)["llama-cpp f32"]["parity"]
    assert parity["compared"] == 64
    assert parity["verdict"] in ("identical", "ties only")
    assert all(divergence["top2_margin"] < TIE for divergence in parity["divergences"])


def test_every_divergence_is_reported_with_its_log_probability_gap(comparison):
    found = rows(comparison)
    assert found["llama-cpp q2_k"]["parity"]["identical"] < 64, "two bits must show in the outputs"
    for name in ("llama-cpp f16", "llama-cpp q4_0", "llama-cpp q2_k"):
        parity = found[name]["parity"]
        assert parity["identical"] + len(parity["divergences"]) == parity["compared"] == 64
        for divergence in parity["divergences"]:
            assert divergence["logprob_gap"] is not None
            assert divergence["top2_margin"] >= 0
            assert divergence["logprob_gap"] >= divergence["top2_margin"] - 1e-4, "the baseline chose the likeliest"


def test_the_divergences_survive_a_rebuild_of_the_store(comparison, folder, cli_for):
    cli = cli_for(folder)
    assert cli("collate", folder, "--rebuild").code == 0
    again = cli("compare", folder, "--json").json
    assert [row["parity"] for row in again["rows"]] == [row["parity"] for row in comparison["rows"]]


def test_accuracy_stands_beside_speed(comparison):
    for name, row in rows(comparison).items():
        accuracy = row["accuracy"]
        assert accuracy["task"].startswith("tiny-gsm"), name
        assert accuracy["value"]["low"] <= accuracy["value"]["value"] <= accuracy["value"]["high"]
        assert accuracy["value"]["n"] == 64
    assert rows(comparison)["transformers none"]["accuracy"]["value"]["value"] >= 0.75


def test_gates_end_with_exit_code_3(comparison, folder, cli_for):
    cli = cli_for(folder)
    assert cli("compare", folder, "--fail-if-accuracy-drops", "50pp").code == 0
    differing = cli("compare", folder, "--fail-if-outputs-differ")
    assert differing.code == 3
    assert "llama-cpp q2_k" in differing.err and "differ" in differing.err
