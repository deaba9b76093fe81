"""The errors that are known of the published layer-reuse results are found unasked, at most a line each.

Figures of the runs that are not among the test data are those of the public repository mgustineli/Fast-dLLM
(Apache-2.0): GSM8K and MATH with a limit of 10 problems a task, February 2026.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.findings import findings
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

SUMMARY = Path(__file__).parents[2] / "data" / "fast_dllm" / "gsm8k" / "k1_first" / "summary.json"
SUBSETS = ("first", "middle", "last")
FAST, SLOW = "atl1-1-03-007-3-0", "atl1-1-02-004-25-0"


def summaries(folder, task, runs, limit=10):
    """Write a summary for each (k, subset): accuracy, tokens, tokens/s, host."""
    for (k, subset), (accuracy, tokens, rate, host) in runs.items():
        content = json.loads(SUMMARY.read_text())
        content |= {"task": task, "config": f"k{k}_{subset}", "accuracy": accuracy}
        content["throughput"] = {
            "tokens_generated": tokens,
            "total_time_s": round(tokens / rate, 2),
            "tokens_per_s": rate,
        }
        content["model_args"] |= {"reuse_k": k, "layer_subset": subset}
        content["eval_params"]["limit"] = float(limit)
        content["environment"]["hostname"] = host
        path = folder / task / f"k{k}_{subset}" / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))


def found_in(folder, *sources):
    report = collate(folder, all_plugins(), intake=Intake(list(sources)))
    assert not report.problems
    with Store.open(folder) as store:
        found = findings(store, "imported", further=all_plugins().findings.values)
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def test_accuracies_of_an_older_result_file(tmp_path):
    """The directory was used again, and the summary read the older of two result files."""
    shares = {1: (0.6, 0.7, 0.7), 2: (0.7, 0.1, 0.1), 3: (0.6, 0.0, 0.0)}
    tokens, rates = {1: 3540, 2: 3572, 3: 3316}, {1: 43.7, 2: 41.6, 3: 38.66}
    summaries(
        tmp_path / "in",
        "gsm8k",
        {
            (k, subset): (share, tokens[k], rates[k], FAST)
            for k in (1, 2, 3)
            for subset, share in zip(SUBSETS, shares[k], strict=True)
        },
    )
    found = found_in(tmp_path / "out", tmp_path / "in")
    stale = found["accuracies-of-other-runs"]
    assert stale.severity == "error" and len(stale.cells) == 6
    assert any("3572 tokens each, but have accuracies of" in text for text in stale.details)
    idle = found["idle-layers"]
    assert idle.severity == "error" and "at reuse_k = 1" in idle.text and "accuracies are 0.6, 0.7" in idle.text
    assert "slow-hosts" not in found and "one-accuracy" not in found


def test_like_texts_may_differ_by_one_right_answer(tmp_path):
    """Equal numbers of tokens, which are counted in whole blocks, need not be equal texts."""
    summaries(
        tmp_path / "in",
        "minerva_math",
        {
            (2, "first"): (29 / 70, 57697, 43.30, FAST),
            (2, "middle"): (28 / 70, 57697, 43.1, FAST),
            (2, "last"): (29 / 70, 57824, 43.2, FAST),
        },
    )
    assert "accuracies-of-other-runs" not in found_in(tmp_path / "out", tmp_path / "in")


def test_four_cells_on_a_slow_host(tmp_path):
    right = {1: (30, 30, 30), 2: (29, 28, 29), 3: (22, 18, 20)}
    tokens = {1: (50779,) * 3, 2: (57697, 57697, 57824), 3: (59428, 58883, 59492)}
    rates = {1: (50.16, 49.63, 49.61), 2: (43.30, 19.85, 19.59), 3: (17.44, 37.72, 16.40)}
    runs = {
        (k, subset): (right[k][i] / 70, tokens[k][i], rates[k][i], SLOW if rates[k][i] < 20 else FAST)
        for k in (1, 2, 3)
        for i, subset in enumerate(SUBSETS)
    }
    summaries(tmp_path / "in", "minerva_math", runs)
    slow = found_in(tmp_path / "out", tmp_path / "in")["slow-hosts"]
    assert len(slow.details) == 4 and all(f"on {SLOW} instead of {FAST}" in text for text in slow.details)
    assert "took 2.30 times as long" in slow.text


@pytest.mark.parametrize(("rate", "is_found"), [(40.51, False), (40.52, True), (40.5, False), (45.01, True)])
def test_a_rate_is_wrong_where_no_rounding_explains_it(tmp_path, rate, is_found):
    content = json.loads(SUMMARY.read_text())
    content["throughput"] = {"tokens_generated": 433029, "total_time_s": 10688.71, "tokens_per_s": rate}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert ("inconsistent-totals" in found_in(tmp_path / "out", tmp_path / "summary.json")) is is_found
