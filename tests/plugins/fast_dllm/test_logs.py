"""Published result files: what they say comes out to the printed digits, and damage is refused in one line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.log_entry import log_entry
from decodebench.collate.findings import findings
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run
from decodebench.core.records.store import Store
from decodebench.plugins.fast_dllm.logs import LOG_PARSERS

DATA = Path(__file__).parents[2] / "data" / "fast_dllm"
FILES = sorted(path for path in DATA.rglob("*") if path.suffix in (".json", ".log"))
PRINTED = {  # accuracy in per cent, tokens/s, tokens, right answers of 1,319
    "k1_first": (80.44, 22.75, 436484, 1061),
    "k1_middle": (80.44, 49.54, 436484, 1061),
    "k1_last": (80.44, 49.63, 436484, 1061),
    "k2_first": (73.69, 39.85, 429539, 972),
    "k2_middle": (73.62, 33.48, 431492, 971),
    "k2_last": (73.77, 40.51, 433029, 973),
    "k3_first": (67.17, 34.29, 438188, 886),
    "k3_middle": (67.55, 33.86, 442062, 891),
    "k3_last": (67.70, 34.05, 441934, 893),
}


def parser_of(path):
    found = [parser for parser in LOG_PARSERS if parser().matches(path, path.read_bytes()[:HEAD_BYTES])]
    assert len(found) == 1, path
    return found[0]()


def imported(folder, *sources):
    report = collate(folder, all_plugins(), intake=Intake([DATA / source for source in sources]))
    assert not report.problems
    return Store.open(folder)


def by_check(store):
    return {found.check: found for found in findings(store, "imported", further=all_plugins().findings.values)}


def test_the_nine_runs_have_the_printed_figures(tmp_path):
    with imported(tmp_path, "gsm8k") as store:
        rows = store.dicts("SELECT settings->>'published_config' AS config, * FROM run_metrics")
        assert {row["config"] for row in rows} == set(PRINTED)
        for row in rows:
            accuracy, rate, tokens, right = PRINTED[row["config"]]
            assert f"{100 * row['accuracy']:.2f}" == f"{accuracy:.2f}"
            assert f"{row['e2e_tokens_per_s']:.2f}" == f"{rate:.2f}"
            assert row["output_tokens"] == tokens
            assert row["accuracy"] * 1319 == pytest.approx(right, abs=1e-9)


def test_the_tool_says_what_is_wrong_with_them(tmp_path):
    with imported(tmp_path, "gsm8k") as store:
        found = by_check(store)
    slow = str(found["slow-hosts"])
    assert re.match("'fast-dllm unknown on .* reuse_k=1 layer_subset=first' took 2.18 times as long", slow)
    assert "436484 tokens" in slow and "on atl1-1-03-003-21-0.pace.gatech.edu instead of" in slow
    assert "before attributing this to layer_subset" in slow
    assert "9 cells ran on 3 hosts" in found["several-hosts"].text
    idle = found["idle-layers"]
    assert len(idle.cells) == 9 and sum("the layers cannot matter" in text for text in idle.details) == 2
    assert any("3 repeats of one experiment" in text for text in idle.details)
    assert found.keys() == {"slow-hosts", "several-hosts", "idle-layers", "single-rounds"}


def test_nine_identical_accuracies_are_an_option_that_did_nothing(tmp_path):
    with imported(tmp_path, "mmlu") as store:
        found = by_check(store)
        accuracies = store.query("SELECT DISTINCT accuracy, e2e_tokens_per_s FROM run_metrics")[1]
    assert accuracies == [(0.6652898447514599, None)]
    one = found["one-accuracy"].text
    assert "9 cells that differ in layer_subset and reuse_k have the same accuracy" in one
    assert sum("never applied" in text for text in found["idle-layers"].details) == 3
    assert "several-hosts" not in found  # nothing was timed


def test_a_rate_that_is_not_tokens_by_time_is_found(tmp_path):
    source = tmp_path / "in" / "summary.json"
    source.parent.mkdir()
    content = json.loads((DATA / "gsm8k" / "k2_last" / "summary.json").read_text())
    content["throughput"]["tokens_per_s"] = 45.01
    source.write_text(json.dumps(content))
    collate(tmp_path / "out", all_plugins(), intake=Intake([source]))
    with Store.open(tmp_path / "out") as store:
        found = [str(finding) for finding in findings(store, "imported", further=all_plugins().findings.values)]
    assert any("40.51 tokens/s, the log has 45.01" in text for text in found)


def _ending(ratios, end):
    (value,) = [value for label, value in ratios.items() if label.endswith(end)]
    return value


def _cell(store, end):
    return _ending({row.cell.label: row.cell.cell_id for row in compare(store).rows}, end)


def test_ratios_of_totals_are_compared_and_unlike_hosts_warned_of(tmp_path):
    with imported(tmp_path, "gsm8k") as store:
        comparison = compare(store, baseline=_cell(store, "reuse_k=1 layer_subset=middle"))
        entries = log_entry(store, comparison)
    assert comparison.metric == "e2e_tokens_per_s"
    ratios = {row.cell.label: row.ratio.value for row in comparison.rows}
    assert f"{_ending(ratios, 'reuse_k=2 layer_subset=last'):.2f}" == "0.82"
    assert f"{_ending(ratios, 'reuse_k=3 layer_subset=first'):.2f}" == "0.69"
    assert any(text.startswith("hostname differs") for text in comparison.warnings)
    assert re.search(
        r"^#### 2026-01-19 - imported: fast-dllm unknown on \S+ reuse_k=2 layer_subset=last$", entries, re.M
    )
    assert "threshold" not in entries and "  - Accuracy: 73.77%\n" in entries
    assert "  - Throughput: 40.51 tokens/s\n" in entries and "0.82x in e2e_tokens_per_s" in entries


def test_what_was_not_written_on_the_command_line_is_not_known():
    path = DATA / "gsm8k" / "k2_middle" / "summary.json"
    run = next(iter(parser_of(path).read(path)))
    assert run.options == {"reuse_k": 2, "layer_subset": "middle", "cache": "sub-block", "reuse": "published"}
    assert run.changed_options == ("cache", "layer_subset", "reuse", "reuse_k")
    assert (run.task, run.max_new_tokens, run.batch_size, run.device) == ("gsm8k", None, 1, "cuda:0")
    assert (run.samples, run.seed, run.sampling.temperature, run.warmup) == (None,) * 4
    assert run.conditions["config"] == "k2_middle" and run.conditions["num_fewshot"] == 0
    assert run.extra["gpu_info"]["gpu_total_vram_gb"] == 23.46
    assert list(run.extra["environment"]) == ["slurm_job_id"] and run.extra["environment"]["slurm_job_id"].isdigit()
    assert run.environment.gpu == ("Quadro RTX 6000",) and run.started_at == "2026-01-19T00:53:49"


def test_older_shapes_and_console_output_are_read(tmp_path):
    with imported(tmp_path, "older", "console") as store:
        rows = store.dicts("SELECT source_file, * FROM run_metrics")
    by_file = {Path(row["source_file"]).name: row for row in rows}
    for name in ("summary_2025.json", "runtime_metrics_20251118-231502.json", "v2.log"):
        assert f"{by_file[name]['e2e_tokens_per_s']:.2f}" == "34.11"
    assert by_file["summary_2025.json"]["accuracy"] == 0.6
    assert by_file["runtime_metrics_20251118-231502.json"]["accuracy"] is None
    assert by_file["llada.log"]["samples"] is None and json.loads(by_file["llada.log"]["totals"])["samples"] == 2
    assert f"{by_file['llada.log']['tokens_per_forward']:.3f}" == "0.786"
    assert by_file["dream.log"]["e2e_tokens_per_s"] == 25.0


def test_two_evaluations_in_one_log_are_refused(tmp_path):
    path = tmp_path / "two.log"
    path.write_text((DATA / "console" / "dream.log").read_text() * 2)
    with pytest.raises(RawLogError, match=":4: field 'output_tokens': a second evaluation in one log"):
        list(parser_of(path).read(path))


def test_like_accuracies_of_different_texts_are_no_finding(tmp_path):
    """Three small runs may agree by chance; then they do not have the same number of tokens."""
    for at, tokens in enumerate((3540, 3572, 3316)):
        content = json.loads((DATA / "gsm8k" / "k2_last" / "summary.json").read_text())
        content |= {"accuracy": 0.7, "throughput": {"tokens_generated": tokens, "total_time_s": 80.0 + at}}
        content["model_args"]["reuse_k"] = at + 1
        (tmp_path / str(at)).mkdir()
        (tmp_path / str(at) / "summary.json").write_text(json.dumps(content))
    collate(tmp_path / "out", all_plugins(), intake=Intake([tmp_path / str(at) for at in range(3)]))
    with Store.open(tmp_path / "out") as store:
        found = [str(finding) for finding in findings(store, "imported", further=all_plugins().findings.values)]
    assert not any("the same accuracy" in text or "times as long" in text for text in found)


def test_an_empty_throughput_and_a_missing_accuracy_are_no_figures(tmp_path):
    content = json.loads((DATA / "mmlu" / "k1_first" / "summary.json").read_text())
    content["accuracy"] = None
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(content))
    run = next(iter(parser_of(path).read(path)))
    assert run.totals is None and run.status == "ok"


def test_what_is_exported_is_read_back_alike(tmp_path, cli):
    with imported(tmp_path / "a", "gsm8k") as store:
        first = store.query("SELECT settings->>'published_config', totals, options FROM runs ORDER BY 1")[1]
    ended = cli("export", tmp_path / "a", "--format", "fast-dllm-summary", "--to", tmp_path / "files")
    assert ended.code == 0, ended.err
    written = json.loads((tmp_path / "files" / "gsm8k" / "k3_last" / "summary.json").read_text())
    assert list(written)[:5] == ["task", "config", "timestamp", "accuracy", "throughput"]
    assert written["throughput"] == {"tokens_generated": 441934, "total_time_s": 12980.48, "tokens_per_s": 34.05}
    assert "threshold" not in written["resolved_args"] and "max_new_tokens" not in written["model_args"]
    original = json.loads((DATA / "gsm8k" / "k3_last" / "summary.json").read_text())
    for name in ("gpu_info", "git", "environment", "eval_params"):
        assert written[name] == original[name], name
    collate(tmp_path / "b", all_plugins(), intake=Intake([tmp_path / "files"]))
    with Store.open(tmp_path / "b") as store:
        again = store.query("SELECT settings->>'published_config', totals, options FROM runs ORDER BY 1")[1]
    assert again == first


def test_a_sweeps_table_has_empty_cells_where_the_log_has_no_steps(cli, tmp_path):
    content = json.loads((DATA / "gsm8k" / "k2_last" / "summary.json").read_text())
    content["model_args"]["bd_size"] = 32
    (tmp_path / "summary.json").write_text(json.dumps(content))
    collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "summary.json"]))
    assert cli("export", tmp_path / "o", "--format", "diffusion-sweep").code == 0
    header, row = ((tmp_path / "o" / "imported.csv").read_text()).splitlines()
    assert row.split(",")[:3] == ["B32", "32", ""] and header.startswith("run_name,block_length,steps")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accuracy": 1.5}, "'accuracy': 1.5"),
        ({"accuracy": "high"}, "'accuracy': 'high'"),
        ({"timestamp": "yesterday"}, "'timestamp': no date and time"),
        ({"throughput": {"tokens_generated": -4}}, "'throughput.tokens_generated'"),
        ({"throughput": []}, "'throughput': []"),
        ({"task": 7}, "'task': 7"),
    ],
)
def test_a_wrong_value_names_its_field(tmp_path, change, words):
    content = json.loads((DATA / "gsm8k" / "k1_last" / "summary.json").read_text())
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(content | change))
    with pytest.raises(RawLogError) as refused:
        list(parser_of(path).read(path))
    assert words in str(refused.value) and str(path) in str(refused.value)


@given(
    file=st.sampled_from(FILES),
    place=st.floats(0, 1, exclude_max=True),
    piece=st.one_of(
        st.binary(max_size=6), st.sampled_from([b"NaN", b"1e999", b"9" * 400, b"[" * 5000, b'"\\ud800"', b"null", b"}"])
    ),
    removed=st.integers(0, 400),
)
@settings(max_examples=400, deadline=None)
def test_damaged_files_are_read_or_refused(tmp_path_factory, file, place, piece, removed):
    data = file.read_bytes()
    at = int(place * len(data))
    path = tmp_path_factory.mktemp("damaged") / file.name
    path.write_bytes(data[:at] + piece + data[at + removed :])
    try:
        for parser in LOG_PARSERS:
            if parser().matches(path, path.read_bytes()[:HEAD_BYTES]):
                for record in parser().read(path):
                    assert isinstance(record, Run)
                    assert Run.model_validate_json(record.model_dump_json()) == record
    except RawLogError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
    finally:
        shutil.rmtree(path.parent)
