"""What a harsh weight format costs, measured: lower accuracy, fewer outputs like those of float32, and words for it."""

from __future__ import annotations

import pytest


def measured(cli, folder, model, flags, samples):
    command = ["run", "-m", model, *flags, "--task", "tiny-gsm", "--samples", samples, "--rounds", 1]
    ended = cli(*command, "--set", "n_threads=1", "--timeout", 6000, "-o", folder, "--json", timeout=7200)
    assert ended.code == 0, ended.err
    return ended.json["comparison"]


@pytest.mark.nightly
def test_four_bits_cost_the_small_model_accuracy_and_the_tool_says_so(cli, tmp_path):
    comparison = measured(cli, tmp_path, "tiny:draft", ["-b", "llama-cpp", "-q", "f32", "-q", "q4_0"], 300)
    base, four = comparison["rows"]
    assert base["accuracy"]["value"]["n"] == four["parity"]["compared"] == 300
    assert base["accuracy"]["value"]["low"] < base["accuracy"]["value"]["value"] < base["accuracy"]["value"]["high"]
    difference = four["accuracy"]["difference"]
    assert difference["low"] < difference["value"] < difference["high"] < 0
    assert four["accuracy"]["verdict"] == "lower" and four["accuracy"]["p_value"] < 0.05
    assert four["parity"]["identical"] < 270
    texts = [finding["text"] for finding in comparison["findings"]]
    assert any("'llama-cpp q4_0' loses accuracy: -" in text and "'llama-cpp f32'" in text for text in texts)
    gate = cli("compare", tmp_path, "--fail-if-accuracy-drops", "1pp")
    assert gate.code == 3 and "llama-cpp q4_0: accuracy fell by" in gate.err
    assert "llama-cpp q4_0: accuracy -" in gate.out and "against llama-cpp f32 on 300 problems" in gate.out
    assert cli("compare", tmp_path, "--fail-if-accuracy-drops", "20%").code == 0


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_five_formats_of_the_target_on_a_thousand_problems(cli, tmp_path):
    formats = [part for name in ("none", "f16", "q8_0", "q4_0", "q2_k") for part in ("-q", name)]
    rows = measured(cli, tmp_path, "tiny:target", ["-b", "transformers", "-b", "llama-cpp", *formats], 1000)["rows"]
    assert [row["cell"]["quantisation"] for row in rows] == ["none", "f16", "q8_0", "q4_0", "q2_k"]
    identical = [row["parity"]["identical"] for row in rows[1:]]
    assert identical == sorted(identical, reverse=True) and identical[0] >= 998 and identical[-1] < 980
    values = [row["accuracy"]["value"]["value"] for row in rows]
    assert values[-1] == min(values) and rows[-1]["accuracy"]["difference"]["value"] < 0
    assert all(row["accuracy"]["p_value"] is not None for row in rows[1:])
