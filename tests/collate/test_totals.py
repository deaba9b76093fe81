"""Totals are held against themselves and against their own samples, record by record."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.findings import findings
from decodebench.collate.parsers.columns import parse_columns
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

DATA = Path(__file__).parents[1] / "data"
LM_EVAL = DATA / "lm_eval"
COLUMNS = (
    "backend=engine,option.config=configuration,total_accuracy=accuracy,total_output_tokens=tokens,"
    "total_tokens_per_s=tokens/s,total_wall_h=total time (h)"
)
PUBLISHED = """\
engine,configuration,accuracy,tokens/s,total time (h),tokens
fast-dllm,k1_first,0.8044,22.75,5.33,436484
fast-dllm,k1_middle,0.8044,49.54,2.45,436484
fast-dllm,k1_last,0.8044,49.63,2.44,436484
fast-dllm,k2_first,0.7369,39.85,2.79,429539
fast-dllm,k2_middle,0.7362,33.48,3.25,431492
fast-dllm,k2_last,0.7377,40.51,2.70,433029
fast-dllm,k3_first,0.6717,34.29,3.19,438188
fast-dllm,k3_middle,0.6755,33.86,3.23,442062
fast-dllm,k3_last,0.6770,34.05,3.22,441934
"""
"""The published table of mgustineli/Fast-dLLM (Apache-2.0, January 2026), with the tokens of its result files."""


def found_in(folder, *sources, columns=None):
    report = collate(folder, all_plugins(), intake=Intake(list(sources), columns=columns))
    assert not report.problems
    with Store.open(folder) as store:
        return {finding.check: finding for finding in findings(store, "imported")}


def imported_table(tmp_path, text, columns=COLUMNS):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return found_in(tmp_path / "out", path, columns=parse_columns([columns]))


def test_six_of_nine_published_totals_are_wrong(tmp_path):
    finding = imported_table(tmp_path, PUBLISHED)["inconsistent-totals"]
    assert finding.severity == "error" and finding.text.startswith("in 6 of 9 totals, tokens, time and rate disagree")
    assert len(finding.details) == len(finding.cells) == 6
    assert not any("k1" in name for name in finding.cells)
    assert "config=k3_" in finding.text  # the worst first: 11 % off


def test_a_table_whose_rounding_explains_everything_has_none(tmp_path):
    right = {"2.79": "2.99", "3.25": "3.58", "2.70": "2.97", "3.19": "3.55", "3.23": "3.63", "3.22": "3.61"}
    text = PUBLISHED
    for wrong, hours in right.items():
        text = text.replace(f",{wrong},", f",{hours},")
    assert "inconsistent-totals" not in imported_table(tmp_path, text)


@pytest.mark.parametrize(
    ("unit", "time", "is_found"),
    [
        ("s", "99.9", False),
        ("s", "100.2", True),
        ("ms", "99900.0", False),
        ("min", "1.665", False),
        ("min", "1.64", True),
        ("h", "0.028", False),
        ("h", "0.0287", True),
    ],
)
def test_a_time_is_known_to_the_digits_of_its_own_unit(tmp_path, unit, time, is_found):
    columns = f"backend=engine,total_output_tokens=n,total_tokens_per_s=rate,total_wall_{unit}=time"
    found = imported_table(tmp_path, f"engine,n,rate,time\na,1000,10.01,{time}\n", columns)
    assert ("inconsistent-totals" in found) is is_found


def lm_eval_files(folder, share):
    """The results of a run and the samples beside them, whose mean is not always what the results say."""
    folder.mkdir()
    date = "2026-08-21T10-11-12.123456"
    samples = folder / f"samples_gsm8k_{date}.jsonl"
    shutil.copy(LM_EVAL / samples.name, samples)
    content = json.loads((LM_EVAL / f"results_{date}.json").read_text())
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    metric = "exact_match,flexible-extract"
    right = [row["exact_match"] for row in rows if row["filter"] == "flexible-extract"]
    content["results"] = {"gsm8k": {metric: sum(right) / len(right) if share is None else share}}
    content |= {"group_subtasks": {}, "n-samples": {"gsm8k": {"original": len(right), "effective": len(right)}}}
    (folder / f"results_{date}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(("share", "is_found"), [(None, False), (0.123, True)])
def test_an_accuracy_that_its_own_samples_do_not_give(tmp_path, share, is_found):
    found = found_in(tmp_path / "out", lm_eval_files(tmp_path / "in", share))
    assert ("unlike-samples" in found) is is_found
    if is_found:
        assert found["unlike-samples"].severity == "error" and "0.123 as an accuracy" in found["unlike-samples"].text
        assert len(found["unlike-samples"].rows) == 2


VLLM = {"total_output_tokens": 17, "completed": 2, "total_input_tokens": 100, "mean_ttft_ms": 312.5}


def test_vllms_sums_and_means_are_those_of_its_requests(tmp_path):
    right = json.loads((DATA / "vllm" / "serve_detailed.json").read_text())
    named = {"right": {}, "output_throughput": {"output_throughput": 5.0}}
    named |= {name: {name: value} for name, value in VLLM.items()}
    for name, wrong in named.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(right | wrong | {"model_id": name}))
    del right["errors"]  # as files of older versions have none: the failed request has no token
    (tmp_path / "older.json").write_text(json.dumps(right | {"model_id": "right"}))
    found = found_in(tmp_path / "out", tmp_path)
    assert sorted(cell.split()[-1] for cell in found["unlike-samples"].cells) == sorted(VLLM)
    assert sorted(cell.split()[-1] for cell in found["inconsistent-totals"].cells) == [
        "output_throughput", "total_output_tokens",
    ]  # fmt: skip


GUIDELLM = {
    "metrics request_totals successful": (2, 3, 1),  # the right one, then wrong ones
    "metrics output_token_count successful total_sum": (12.0000000001, 13),
    "metrics prompt_token_count successful total_sum": (24, 25),
    "metrics request_latency successful mean": (1.625, 1.6),
    "metrics time_to_first_token_ms successful mean": (375.0, 250.0),
    "metrics inter_token_latency_ms successful mean": (250.0, 240.0),
}


def test_guidellms_sums_and_means_are_those_of_its_requests(tmp_path):
    files = []
    for place, values in GUIDELLM.items():
        for value in values:
            content = json.loads((DATA / "guidellm" / "benchmarks.json").read_text())
            benchmark = content["benchmarks"][0]
            benchmark["config"]["backend"]["model"] = f"{place} {value}"
            *within, last = place.split()
            inner = benchmark
            for name in within:
                inner = inner.setdefault(name, {})
            inner[last] = value
            files.append(tmp_path / f"{len(files)}.json")
            files[-1].write_text(json.dumps({**content, "benchmarks": [benchmark]}))
    cells = found_in(tmp_path / "out", *files)["unlike-samples"].cells
    wrong = [f"{place} {value}" for place, values in GUIDELLM.items() for value in values[1:]]
    assert len(cells) == len(wrong) and all(any(name in cell for cell in cells) for name in wrong)


AIPERF = DATA / "aiperf" / "profile_export_aiperf.json"
AIPERF_FIGURES = (
    "request_count", "total_osl", "input_sequence_length", "request_latency", "time_to_first_token",
    "inter_token_latency",
)  # fmt: skip


@pytest.mark.parametrize(
    ("began", "factor", "is_found"),
    [
        ("2026-01-01T00:00:00", 1, False),
        ("2026-01-01T00:00:00", 1.5, True),
        ("2025-12-31T18:30:00", 1.5, True),  # the client's clock, of another zone
        ("2026-01-01T00:00:00+00:00", 1.5, True),
        ("2026-01-01T00:00:01", 1.5, False),  # the records are of another benchmark
    ],
)
def test_aiperfs_sums_are_held_against_the_records_beside_them(tmp_path, began, factor, is_found):
    content = json.loads(AIPERF.read_text())
    content |= {"start_time": began, "end_time": (datetime.fromisoformat(began) + timedelta(seconds=2)).isoformat()}
    content["total_osl"]["avg"] *= 2 if factor > 1 else 1
    for figure in AIPERF_FIGURES:
        content[figure]["avg"] *= 2 if factor > 1 and "count" in figure else factor
    (tmp_path / AIPERF.name).write_text(json.dumps(content))
    found = found_in(tmp_path / "out", tmp_path / AIPERF.name, AIPERF.with_name("profile_export.jsonl"))
    assert ("unlike-samples" in found) is is_found
    if is_found:
        finding = found["unlike-samples"]
        assert len(finding.details) == len(AIPERF_FIGURES) and len({place.run_id for place in finding.rows}) == 2
