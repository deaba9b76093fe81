"""What a public engine-comparison workflow collates: accuracy sweeps and per-step CSVs."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.exporters.csv_tables import export_csv
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.plugins.engine_comparison.verifiers import VerifiersSweep
from decodebench.plugins.engine_comparison.workflow_csv import WorkflowCsv

DATA = Path(__file__).parents[2] / "data"
SWEEP = DATA / "verifiers" / "sweep_gsm8k_1B_20251130_161218.json"
REVERSE = DATA / "verifiers" / "llamacpp_sweep_reverse_text_1B_20251130_210608.json"
FLOAT16 = DATA / "tinygrad" / "softmacs_1B_float16_seed42_uuid3cffbfe6.csv"
LLAMA = DATA / "workflow_csv" / "llamacpp.csv"


def rows(folder, *paths):
    report = collate(folder, all_plugins(), intake=Intake(paths))
    with Store.open(folder) as store:
        return store.dicts("SELECT * FROM run_metrics ORDER BY started_at, run_id"), report.problems


def sweep(folder, **changed):
    """The real sweep with its first entry changed; a value of None takes the key out."""
    entries = json.loads(SWEEP.read_text())
    entries[0] = {name: value for name, value in (entries[0] | changed).items() if value is not None}
    path = folder / "sweep.json"
    path.write_text(json.dumps(entries))
    return next(iter(VerifiersSweep().read(path)))


def test_a_real_sweep_gives_its_rewards_and_times(tmp_path):
    found, problems = rows(tmp_path, SWEEP)
    assert not problems
    assert [row["quantisation"] for row in found] == ["default", "int8", "nf4", "float16"]
    assert [row["accuracy"] for row in found] == [0, 0, 0.2, 0.2]
    totals = [json.loads(row["totals"]) for row in found]
    assert [told["wall_s"] for told in totals] == [62.24, 46.95, 266.86, 47.4]
    assert {told["samples"] for told in totals} == {5}
    assert {(row["backend"], row["task"], row["max_new_tokens"]) for row in found} == {("tinygrad", "gsm8k", 512)}
    assert [row["e2e_tokens_per_s"] for row in found] == [None] * 4
    assert json.loads(found[2]["settings"])["published_reward"] == "0.2 ± 0.4"


def test_a_reward_that_is_no_accuracy_says_so(tmp_path):
    found, _ = rows(tmp_path, REVERSE)
    assert [row["accuracy"] for row in found] == [0.105, 0.106, 0.119, 0.102]
    assert all("partial credit" in " ".join(row["notes"]) for row in found)
    assert {json.loads(row["totals"])["samples"] for row in found} == {500} and found[0]["backend"] == "llama-cpp"


def test_the_examples_that_were_run_count_and_not_those_that_were_asked_for(tmp_path):
    run = sweep(tmp_path, num_examples=100, stderr="Processing 20 groups (20 total rollouts): 100%|###| 20/20\n")
    assert (run.samples, run.totals.samples) == (100, 20)
    assert "100 examples were asked for and 20 were run: accuracy is over 20" in run.notes


def test_partial_credit_does_not_count_where_the_answer_is_checked(tmp_path):
    names = {"reward": 0.14, "check_answer_": 0.0, "partial_credit_": 0.1, "format_reward_func": 0.2}
    run = sweep(tmp_path, metrics={name: {"avg": avg, "std": 0.0} for name, avg in names.items()})
    assert (run.totals.accuracy, run.settings["published_metric"]) == (0.0, "check_answer_")
    assert run.settings["published_reward"] == "0.14 ± 0"


def test_a_failed_entry_is_a_failed_run_with_the_tools_last_words(tmp_path):
    run = sweep(tmp_path, returncode=1, metrics={}, stderr="Traceback ...\nConnectionError: refused\n")
    assert (run.status, run.reason) == ("failed", "vf-eval ended with code 1: ConnectionError: refused")
    assert run.totals is None
    assert sweep(tmp_path, metrics={}).reason == "the tool printed no metric"


def test_unknown_keys_are_kept_and_a_wrong_value_names_its_field(tmp_path):
    run = sweep(tmp_path, temperature=0.7, rollouts=3)
    assert (run.sampling.temperature, run.extra, run.conditions) == (0.7, {"rollouts": 3}, {"rollouts": 3})
    with pytest.raises(RawLogError, match=r"field '\[0\].metrics.reward.avg': 1.5"):
        sweep(tmp_path, metrics={"reward": {"avg": 1.5, "std": 0}})
    with pytest.raises(RawLogError, match="num_examples"):
        sweep(tmp_path, num_examples="five")


def test_the_published_steps_of_tinygrad_have_the_published_mean():
    records = list(WorkflowCsv().read(FLOAT16))
    (run,) = [record for record in records if isinstance(record, Run)]
    steps = [record for record in records if isinstance(record, RecordedStep)]
    assert (run.backend, run.run_id, run.quantisation) == ("tinygrad", "uuid3cffbfe6", "float16")
    assert run.weight_bytes == pytest.approx(3.001e9, rel=1e-3)
    assert statistics.fmean(1 / step.step_s for step in steps) == pytest.approx(42.740, abs=2e-3)
    assert [step.index for step in steps] == list(range(20)) and steps[0].enqueue_s == pytest.approx(0.02091)
    with FLOAT16.open(newline="") as file:
        for step, row in zip(steps, csv.DictReader(file), strict=True):
            assert step.bytes_read / step.step_s / 1e9 == pytest.approx(float(row["memory_throughput_gb_s"]))


def test_a_log_and_its_csv_are_one_run_and_the_log_counts(tmp_path):
    found, problems = rows(tmp_path, FLOAT16, FLOAT16.with_suffix(".txt"))
    assert [row["source_format"] for row in found] == ["tinygrad"]
    assert "counted once" in problems[0].text


def test_the_published_repetitions_of_llama_cpp_without_their_average_in_true_bytes(tmp_path):
    found, problems = rows(tmp_path, LLAMA)
    assert not problems
    first, second = found
    assert (first["quantisation"], second["quantisation"]) == ("q6_k", "q4_k_m")
    assert (first["weight_bytes"], first["parameters"], first["device"]) == (1014687744, 1235814432, "metal")
    assert second["bits_per_weight"] == pytest.approx(8 * 799862784 / 1235814432)
    assert first["measured_samples"] == 3
    rates = (114.2, 115.1, 114.9)
    assert first["decode_tokens_per_s"] == pytest.approx(3 / sum(1 / rate for rate in rates))
    assert second["param_throughput_bytes_per_s"] == pytest.approx(799862784 * second["decode_tokens_per_s"])
    samples = [record for record in WorkflowCsv().read(LLAMA) if isinstance(record, Sample)]
    assert [20 / sample.decode_s for sample in samples[:3]] == pytest.approx(rates)


def test_our_own_export_is_refused_with_what_to_do(tmp_path):
    rows(tmp_path, FLOAT16)
    with Store.open(tmp_path) as store:
        (path,) = export_csv(store, tmp_path / "csv")
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([path]))
    (problem,) = report.problems
    assert problem.text.endswith("an export of decodebench, which has less in it than its logs: import those")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1,20.91,42.54", "1,20.91,", "field 'total_latency_ms': no time"),
        ("1,20.91,42.54", "one,20.91,42.54", "field 'step'"),
        ("1,20.91,42.54", "1,20.91,nan", "field 'total_latency_ms'"),
        ("1,20.91,", "1,", "15 values for 16 columns"),
    ],
)
def test_a_damaged_row_is_refused_with_its_line_and_field(tmp_path, old, new, words):
    path = tmp_path / "x.csv"
    path.write_text(FLOAT16.read_text().replace(old, new, 1))
    with pytest.raises(RawLogError, match=words) as refused:
        list(WorkflowCsv().read(path))
    assert f"{path}:2:" in str(refused.value)
