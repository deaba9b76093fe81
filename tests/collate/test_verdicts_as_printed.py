"""What a comparison prints agrees with itself: verdict, interval, gate, JSON and terminal, whatever was measured."""

from __future__ import annotations

import re

import numpy as np
import pytest

EQUIVALENT_WITHIN, SLOWER_BY = 0.02, 0.05


def measured(logs, cells, rounds, seed):
    """An experiment of cells whose true ratios to the first lie between a half and two."""
    generator = np.random.default_rng(seed)
    ratios = [1.0, 1.0, *np.exp(generator.uniform(np.log(0.5), np.log(2), cells))][:cells]
    for cell, ratio in zip("abcdefghijklmnopqrstuvwxyz", ratios, strict=False):
        noise = np.exp(0.03 * generator.standard_normal(rounds))
        logs.speeds(cell, [0.1 / ratio * each for each in noise], samples=1)


@pytest.mark.parametrize(
    ("cells", "rounds"),
    [
        (2, 1),
        (3, 2),
        (5, 3),
        (4, 10),
        *(pytest.param(cells, rounds, marks=pytest.mark.nightly) for cells in (2, 8, 20) for rounds in (2, 5, 12, 30)),
    ],
)
def test_verdict_interval_gate_and_terminal_agree(cli, logs, cells, rounds):
    measured(logs, cells, rounds, seed=10 * cells + rounds)
    gate = ("--fail-if-slower", SLOWER_BY)
    told = cli("compare", logs.folder, *gate, "--json")
    printed = cli("compare", logs.folder, *gate)
    assert (told.code, told.err) == (printed.code, printed.err)
    tripped = {re.match(r"decodebench: gate: (.+?): ", line)[1] for line in told.err.splitlines()}
    assert told.code == (3 if tripped else 0)
    baseline, *rows = told.json["rows"]
    assert baseline["verdict"] == "baseline" and told.json["comparisons"] == (cells - 1 if rounds > 1 else 0)
    for row in rows:
        alone, together = row["ratio"], row["ratio_simultaneous"]
        low, high = together["low"], together["high"]
        assert row["verdict"] == expected(low, high)
        if low is None:
            assert row["p_value"] is None and row["cell"]["label"] in tripped
            continue
        assert low <= alone["low"] <= alone["value"] <= alone["high"] <= high and alone["n"] == rounds
        assert (row["p_value"] < 0.05) == (low > 1 or high < 1)
        assert (row["cell"]["label"] in tripped) == (high < 1 - SLOWER_BY)
        assert (row["rounds_needed"] is None) == (narrow(alone["low"], alone["high"]))
        shown = together if cells > 2 else alone
        assert f"[{shown['low']:.2f}, {shown['high']:.2f}]" in printed.out


def expected(low, high):
    if low is None:
        return "not tested"
    if low >= 1 / (1 + EQUIVALENT_WITHIN) and high <= 1 + EQUIVALENT_WITHIN:
        return "equivalent"
    return "faster" if low > 1 else "slower" if high < 1 else "no difference shown"


def narrow(low, high):
    return np.log(high / low) / 2 <= np.log(1 + EQUIVALENT_WITHIN)


def test_captions_say_what_n_counts_and_what_the_intervals_are(cli, logs, make_sample, make_steps):
    problems = [make_sample(i, make_steps()) for i in range(4)]
    for cell in "abc":
        for index in range(2):
            logs.write(cell, index, problems, scores=[1.0, 0.0, 1.0, 1.0], task="t", samples=4)
    told = " ".join(cli("compare", logs.folder).out.split())
    for words in ("n = 2 rounds", "over rounds", "over 2 comparisons", "Sidak 1967", "2 rounds:", "n = 4 problems"):
        assert words in told
    assert "over prompts" in " ".join(cli("compare", logs.folder, "--over", "prompts").out.split())


def test_one_round_is_not_tested_and_says_so(cli, logs):
    logs.write("a")
    logs.write("b")
    assert [row["verdict"] for row in cli("compare", logs.folder, "--json").json["rows"]] == ["baseline", "not tested"]
    assert "1 round: no interval" in cli("compare", logs.folder).out
