"""Results of lm-evaluation-harness as runs with an accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake
from decodebench.collate.parsers.lm_eval import LmEvalResults
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.store import Store

DATA = Path(__file__).parents[1] / "data" / "lm_eval"


def test_tasks_and_groups_come_out_with_the_accuracy_that_counts(tmp_path):
    report = collate(tmp_path, all_plugins(), intake=Intake([DATA / "results_gsm8k.json", DATA / "results_mmlu.json"]))
    assert not report.problems
    with Store.open(tmp_path) as store:
        rows = {row["task"]: row for row in store.dicts("SELECT * FROM run_metrics")}
    assert set(rows) == {"gsm8k", "mmlu"}
    assert rows["gsm8k"]["accuracy"] == 0.8043972706595906 and rows["mmlu"]["accuracy"] == 0.6652898447514599
    assert json.loads(rows["gsm8k"]["settings"])["published_metric"] == "exact_match,flexible-extract"
    assert json.loads(rows["gsm8k"]["totals"])["samples"] == 1319
    assert rows["gsm8k"]["backend"] == "fast_dllm_v2" and rows["gsm8k"]["model"].endswith("Fast_dLLM_v2_7B")
    assert rows["mmlu"]["backend"] == "hf" and rows["mmlu"]["device"] == "cuda:0"
    assert rows["gsm8k"]["e2e_tokens_per_s"] is None


def test_a_task_without_a_share_is_refused(tmp_path):
    content = json.loads((DATA / "results_gsm8k.json").read_text())
    content["results"]["gsm8k"] = {"perplexity,none": 8.5}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    assert LmEvalResults().matches(path, path.read_bytes())
    with pytest.raises(RawLogError, match="no metric with a share"):
        list(LmEvalResults().read(path))


def test_a_cut_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "results.json"
    path.write_text((DATA / "results_gsm8k.json").read_text()[:700])
    with pytest.raises(RawLogError, match="no JSON"):
        list(LmEvalResults().read(path))
