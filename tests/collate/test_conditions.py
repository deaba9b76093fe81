"""Which imported runs are rounds of one cell: those that agree in every condition that their logs, or labels, have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import decodebench
from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.findings import findings
from decodebench.collate.parsers.foreign import Intake, read
from decodebench.collate.parsers.labels import parse_labels
from decodebench.core.contract.log_parser import LogParser
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.conditions import conditions_of
from decodebench.core.records.schema import Environment, RecordedSampling, Run
from decodebench.core.records.store import Store

from ..at_night import examples
from ..refusals import refused

DATA = Path(__file__).parents[1] / "data"
STACKS = sorted((DATA / "llama_cpp" / "three_stacks").glob("*.log"))
BENCH = DATA / "llama_cpp" / "llama_bench.json"
OUTCOMES = {
    "run_id", "experiment", "cell_id", "round", "order", "cell_index", "started_at", "conditions_hash", "derived",
    "changed_options", "status", "cut", "reason", "reason_code", "prepare_s", "import_s", "load_s", "warmup_s",
    "wall_s", "read_weight_bytes", "kv_bytes_per_token", "peak_rss_bytes", "peak_device_bytes", "device_use",
    "device_clock_hz", "device_other_processes", "device_temperature_c", "other_cpus", "energy_j", "notes",
    "totals", "sessions", "extra", "block", "max_rounds", "idle_cpus", "launcher", "source_file", "source_line",
    "parser", "parser_plugin", "parser_plugin_revision", "source_format",
}  # fmt: skip
"""Fields of a run that say what came out, or where the record is from; every other one says how it was run."""

MEASURED = {
    "username", "load_average", "on_battery", "cpu_temperature_c", "memory_bandwidth", "memory_bandwidth_1_thread",
    "matrix_flops_per_s", "rates_are_quiet",
}  # fmt: skip


class Records(LogParser):
    """Reads a run per line, as the schema has it."""

    name: ClassVar[str] = "records"
    summary: ClassVar[str] = "runs as JSON lines"
    version: ClassVar[str] = "1"

    def matches(self, path, head):
        return True

    def read(self, path):
        for line in path.read_text().splitlines():
            yield Run.model_validate_json(line)


VALUES = {
    "backend": ["b", "c"], "backend_version": [None, "b1", "b2"], "plugin": [None, "p 1", "p 2"],
    "plugin_revision": [None, "c1", "c2"], "kind": [None, "speculative"], "model": ["m", "n"],
    "model_hash": [None, "h1", "h2"], "size": [None, "1B", "3B"], "quantisation": ["q4", "q8"],
    "bits_per_weight": [None, 4.5, 4.9], "parameters": [None, 10, 11], "weight_bytes": [None, 100, 101],
    "device": ["cpu", "cuda:0"], "residence": [None, "in-process", "remote"], "options": [{}, {"n": 1}, {"n": 2}],
    "task": [None, "t"],
    "task_version": [None, "1", "2"], "task_plugin": [None, "p"], "task_plugin_revision": [None, "r"],
    "seed": [None, 0, 1], "samples": [None, 4, 8], "attempts": [None, 1, 2], "warmup": [None, 0, 1],
    "max_new_tokens": [None, 64, 128], "batch_size": [None, 1, 4], "depth": [None, 0, 512],
    "ignore_eos": [None, False, True], "chat": [None, False, True], "stop": [None, (), ("a",)],
    "system": [None, "Be brief."], "allow_clipped": [None, False, True], "stop_token_ids": [None, (2,), (2, 3)],
    "context_length": [None, 2048, 4096], "first_step_is_prefill": [None, False, True],
    "conditions": [{}, {"stack": "rocm6"}, {"stack": "rocm7"}],
    "sampling": [
        RecordedSampling(),
        RecordedSampling(temperature=0.0),
        RecordedSampling(temperature=0.7, top_p=0.9),
        RecordedSampling(temperature=0.7, top_p=0.9, seed=3),
    ],
    "environment": [
        None,
        Environment(gpu=("A100",)),
        Environment(gpu=("H100",)),
        Environment(gpu=("H100",), gpu_driver="575"),
        Environment(hostname="h", git_commit="abc"),
        Environment(hostname="h", git_commit="def"),
        Environment(packages={"torch": "2.9"}),
    ],
    "workload": [{}, {"prompt_tokens": 16}, {"prompt_tokens": 32}],
    "settings": [{}, {"n_threads": "4"}, {"n_threads": "8"}],
}  # fmt: skip


def test_every_field_of_a_run_is_a_condition_or_an_outcome():
    assert set(Run.model_fields) == VALUES.keys() | OUTCOMES and not VALUES.keys() & OUTCOMES
    told = {name: values[-1] for name, values in VALUES.items()}
    assert set(conditions_of(run_of("r", told))) == VALUES.keys() | {"source_format"}
    assert set(Environment.model_fields) > MEASURED


def run_of(run_id, changes):
    base = {name: values[0] for name, values in VALUES.items()}
    return Run(run_id=run_id, experiment="", cell_id="", round=0, started_at="", **{**base, **changes})


def placed(folder, runs):
    path = folder / "records.jsonl"
    path.write_text("\n".join(run.model_dump_json() for run in runs))
    return [log.run for log in read(path, "records.jsonl", Records)]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 6), max_size=3), min_size=2, max_size=12
    )
)
def test_rounds_of_a_cell_agree_in_every_condition(tmp_path, changes):
    runs = [
        run_of(f"r{at}", {name: VALUES[name][which % len(VALUES[name])] for name, which in change.items()})
        for at, change in enumerate(changes)
    ]
    cells = {}
    for run in placed(tmp_path, runs):
        cells.setdefault(run.cell_id, []).append(run.model_dump(include=VALUES.keys()))
    assert all(len({repr(run) for run in alike}) == 1 for alike in cells.values())
    assert len(cells) == len({repr(run.model_dump(include=VALUES.keys())) for run in runs})


def test_what_was_measured_and_names_of_files_are_no_conditions(tmp_path):
    twins = [
        run_of("a", {"settings": {"model_filename": "a.gguf", "published_ttft_s": "1"}}),
        run_of("b", {"settings": {"model_filename": "b.gguf"}, "environment": Environment(load_average=3.5)}),
    ]
    assert len({run.cell_id for run in placed(tmp_path, twins)}) == 1
    rounded = [run_of(name, {"weight_bytes": size}) for name, size in (("a", 100), ("b", 101))]
    rounded = [run.model_copy(update={"derived": ("weight_bytes",)}) for run in rounded]
    assert len({run.cell_id for run in placed(tmp_path, rounded)}) == 1


def stored(folder, paths, **labels):
    report = collate(
        folder, all_plugins(), intake=Intake(paths, labels=parse_labels([f"{k}={v}" for k, v in labels.items()]))
    )
    return report


def rows(folder, sql):
    with Store.open(folder) as store:
        return store.dicts(sql)


CELLS = "SELECT cell_id, count(*) AS n, any_value(conditions) AS conditions FROM runs GROUP BY cell_id"


@pytest.fixture
def stacks(tmp_path):
    """The same tests under three driver stacks, in a folder each; their logs have nothing of it."""
    for at, path in enumerate(STACKS):
        (tmp_path / "in" / f"stack{at}").mkdir(parents=True)
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.startswith(("|", "build"))]
        (tmp_path / "in" / f"stack{at}" / "bench.log").write_text("".join(lines))
    return tmp_path / "in"


def test_runs_that_differ_by_far_more_than_each_repeated_are_an_error(stacks, tmp_path):
    assert stored(tmp_path / "o", [stacks]).problems == ()
    assert {row["n"] for row in rows(tmp_path / "o", CELLS)} == {3}
    with Store.open(tmp_path / "o") as store:
        (found,) = [each for each in findings(store, "imported") if each.check == "pooled-runs"]
    assert found.severity == "error" and len(found.rows) == 3
    assert "10.9 %" in found.text and "prefill_tokens_per_s" in found.text and "--label" in found.advice


def test_the_gpu_above_a_table_keeps_runs_apart(tmp_path):
    stored(tmp_path, STACKS)
    found = rows(tmp_path, "SELECT environment->'gpu'->>0 AS gpu, count(DISTINCT cell_id) AS n FROM runs GROUP BY 1")
    assert {row["gpu"]: row["n"] for row in found} == {"AMD Radeon 8060S Graphics": 2, "Radeon 8060S Graphics": 2}
    with Store.open(tmp_path) as store:
        assert [each.severity for each in findings(store, "imported") if each.check == "pooled-runs"] == ["error"]


@pytest.mark.parametrize("value", ["{folder}", "one"])
def test_labels_keep_apart_what_the_logs_do_not(stacks, tmp_path, value):
    for folder in [stacks] if value == "{folder}" else sorted(stacks.iterdir()):
        stored(tmp_path / "o", [folder], stack=value if value == "{folder}" else folder.name)
    cells = rows(tmp_path / "o", CELLS)
    assert sorted(json.loads(row["conditions"])["stack"] for row in cells) == [
        f"stack{at}" for at in (0, 0, 1, 1, 2, 2)
    ]
    assert {row["n"] for row in cells} == {1}
    with Store.open(tmp_path / "o") as store:
        assert not [each for each in findings(store, "imported") if each.check == "pooled-runs"]
        comparison = compare(store, by="stack", metric="prefill_tokens_per_s")
    assert {row.cell.label.split()[-1] for row in comparison.rows} == {f"stack=stack{at}" for at in range(3)}


def test_labels_survive_a_rebuild_and_change_with_another_import(stacks, tmp_path):
    folder = stacks / "stack0"
    stored(tmp_path / "o", [folder], stack="a")
    before = rows(tmp_path / "o", CELLS)
    assert collate(tmp_path / "o", all_plugins(), rebuild=True).problems == ()
    assert rows(tmp_path / "o", CELLS) == before
    assert stored(tmp_path / "o", [folder]).unchanged and rows(tmp_path / "o", CELLS) == before
    assert stored(tmp_path / "o", [folder], stack="b").updated
    assert {json.loads(row["conditions"])["stack"] for row in rows(tmp_path / "o", CELLS)} == {"b"}
    (mark,) = (tmp_path / "o").rglob("*.labels.json")
    mark.write_text("[1]")
    (problem,) = collate(tmp_path / "o", all_plugins()).problems
    assert mark.name in problem.text and rows(tmp_path / "o", CELLS) == []


def test_one_content_under_two_labels_is_refused(stacks, tmp_path):
    shutil.copytree(stacks / "stack0", stacks / "copy")
    report = stored(tmp_path / "o", [stacks], stack="{folder}")
    assert [problem.text for problem in report.problems] == ["the same content as a file that was labelled stack=copy"]


def test_a_label_against_what_a_log_has_is_refused_and_one_for_what_it_has_not_fills_it(tmp_path):
    (problem,) = stored(tmp_path / "a", [BENCH], n_threads=99).problems
    assert "n_threads=99" in problem.text and rows(tmp_path / "a", CELLS) == []
    stored(tmp_path / "b", [DATA / "vllm" / "latency.json"], model="llama")
    assert rows(tmp_path / "b", "SELECT model, conditions FROM runs") == [{"model": "llama", "conditions": "{}"}]


@pytest.mark.parametrize(("name", "value", "is_refused"), [("gpu", "H100", False), ("cpu_model", "H100", True)])
def test_a_label_of_the_machine_is_held_against_the_log_and_named(tmp_path, name, value, is_refused):
    problems = stored(tmp_path / "o", [bench(tmp_path, "a.json", {"cpu_info": "EPYC"})], **{name: value}).problems
    assert bool(problems) is is_refused
    if not is_refused:
        stored(tmp_path / "o", [bench(tmp_path, "b.json", {"cpu_info": "EPYC", "test_time": "2"})], gpu="A100")
        with Store.open(tmp_path / "o") as store:
            labels = sorted(row.cell.label for row in compare(store).rows)
        assert [label.split()[-1] for label in labels] == ["gpu=A100", "gpu=H100"]


def test_logs_of_unknown_models_are_kept_apart_unless_they_are_labelled(tmp_path):
    log = json.loads((DATA / "vllm" / "latency.json").read_text())
    for at in range(2):
        (tmp_path / f"{at}.json").write_text(json.dumps(log | {"avg_latency": log["avg_latency"] + at}))
    paths = [tmp_path / f"{at}.json" for at in range(2)]
    stored(tmp_path / "a", paths)
    assert [row["n"] for row in rows(tmp_path / "a", CELLS)] == [1, 1]
    stored(tmp_path / "b", paths, host="h")
    assert [row["n"] for row in rows(tmp_path / "b", CELLS)] == [2]


@pytest.mark.parametrize("text", ["stack", "=x", "stack=", "stack={fodler}", "1=2", "a b=c", "stack=a\x07"])
def test_a_label_that_is_none_is_refused(text):
    with refused("bad-value", "--label"):
        parse_labels([text])


def test_the_command_line_takes_labels(cli, stacks, tmp_path):
    assert cli("collate", tmp_path / "o", "--import", stacks, "--label", "stack={folder}").code == 0
    table = cli("compare", tmp_path / "o", "--by", "stack", "--metric", "prefill_tokens_per_s")
    assert table.code == 0 and "stack=stack2" in table.out
    assert cli("collate", tmp_path / "o", "--label", "stack=a").code == 2
    assert cli("collate", tmp_path / "o", "--import", stacks, "--label", "stack=a", "--label", "stack=b").code == 2


def bench(folder, name, changes, mean_ns=None):
    tests = json.loads(BENCH.read_text())[1:2]
    row = {**tests[0], **changes}
    if mean_ns is not None:
        row |= {"samples_ns": [mean_ns] * 3, "samples_ts": [1e9 * row["n_gen"] / mean_ns] * 3}
    path = folder / name
    path.write_text(json.dumps([row]))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"build_commit": "0c1e571"}, {"build_number": 2}, {"cpu_info": "another"}, {"gpu_info": "RTX 4090"},
        {"n_threads": 2}, {"model_size": 3492865}, {"n_batch": 512}, {"type_k": "q8_0"}, {"n_depth": 16},
    ],
)  # fmt: skip
def test_two_builds_machines_sizes_or_options_are_two_cells(tmp_path, change):
    paths = [bench(tmp_path, "a.json", {"test_time": "2026-01-01"}), bench(tmp_path, "b.json", change)]
    stored(tmp_path / "o", paths)
    assert [row["n"] for row in rows(tmp_path / "o", CELLS)] == [1, 1]


def test_times_and_file_names_are_not_what_was_varied(tmp_path):
    changes = [{"test_time": "2026-01-01"}, {"test_time": "2026-01-02", "model_filename": "models/tiny-target.gguf"}]
    stored(tmp_path / "o", [bench(tmp_path, f"{at}.json", change) for at, change in enumerate(changes)])
    assert [row["n"] for row in rows(tmp_path / "o", CELLS)] == [2]


def test_the_temperature_of_spec_bench_is_read_in_either_spelling(tmp_path):
    (path,) = (DATA / "spec_bench").glob("*hydra*")
    stored(tmp_path / "o", [path, DATA / "spec_bench" / "eagle2.jsonl"])
    found = rows(
        tmp_path / "o", "SELECT backend, sampling->>'temperature' AS t, warmup, seed FROM runs ORDER BY backend"
    )
    assert [(row["backend"], row["t"]) for row in found] == [("eagle2", "0.0"), ("hydra", "1.0")]
    assert {(row["warmup"], row["seed"]) for row in found} == {(None, None)}


def test_guidellm_0_3_names_its_model_under_the_worker(tmp_path):
    stored(tmp_path, [DATA / "guidellm" / "benchmarks_0.3.json"])
    (row,) = rows(tmp_path, "SELECT * FROM run_metrics")
    assert (row["model"], row["backend"]) == ("Qwen/Qwen3-0.6B", "openai_http")
    assert row["decode_tokens_per_s"] == pytest.approx(15 / 2.665157, rel=1e-5)
    assert row["e2e_tokens_per_s"] == pytest.approx(16 / 3.929855, rel=1e-5)
    assert json.loads(row["options"]) == {"strategy": "synchronous"}


def test_requests_of_two_limits_or_temperatures_in_one_file_are_two_runs(tmp_path):
    lines = (DATA / "llama_cpp" / "server_answers.jsonl").read_text().splitlines()
    answer = next(row for row in map(json.loads, lines) if "generation_settings" in row)
    settings_of = answer["generation_settings"]
    path = tmp_path / "answers.jsonl"
    changes = [
        {},
        {"seed": 7},
        {"temperature": settings_of["temperature"] + 0.5},
        {"n_predict": 999, "max_tokens": 999},
    ]
    lines = [json.dumps(answer | {"generation_settings": settings_of | change}) for change in changes]
    path.write_text("\n".join(lines) + "\n")
    stored(tmp_path / "o", [path])
    found = rows(
        tmp_path / "o", "SELECT r.*, (SELECT count(*) FROM samples s WHERE s.run_id = r.run_id) AS n FROM runs r"
    )
    assert sorted(row["n"] for row in found) == [1, 1, 2] and len({row["cell_id"] for row in found}) == 3
    assert {row["max_new_tokens"] for row in found} == {settings_of["n_predict"], 999}


def test_what_a_log_has_besides_comes_back_in_exports(cli, tmp_path):
    source = DATA / "fast_dllm" / "mmlu" / "k1_first" / "summary.json"
    content = json.loads(source.read_text())
    stored(tmp_path / "o", [source, DATA / "lm_eval" / "results_2026-08-21T10-11-12.123456.json"])
    assert cli("export", tmp_path / "o", "--format", "json", "--to", tmp_path).code == 0
    runs = {run["run"]["task"]: run["run"] for run in json.loads((tmp_path / "decodebench.json").read_text())["runs"]}
    assert runs["mmlu"]["extra"]["group_results"] == content["group_results"]
    assert runs["mmlu"]["extra"]["environment"] == {"slurm_job_id": "3347285"}
    assert runs["arc_easy"]["extra"]["num_fewshot"] == 0
    assert runs["arc_easy"]["extra"]["total_evaluation_time_seconds"] == "8.0"
    assert runs["arc_easy"]["extra"]["metrics"]["acc_norm,none"] == 0.7
    silent = ("seed", "warmup", "max_new_tokens", "attempts", "depth", "chat", "stop")
    assert {runs["arc_easy"][name] for name in silent} == {None}
    assert {value for value in runs["arc_easy"]["sampling"].values()} == {None}


def test_how_the_harness_generated_is_in_the_record(tmp_path):
    content = json.loads((DATA / "lm_eval" / "results_2026-08-21T10-11-12.123456.json").read_text())
    kwargs = {"until": ["\n"], "do_sample": True, "temperature": 0.6, "max_gen_toks": 256, "min_p": 0.1}
    content["configs"]["arc_easy"]["generation_kwargs"] = kwargs
    paths = []
    for at, change in enumerate(
        ({}, {"temperature": 0.7}, {"do_sample": False}, {"max_gen_toks": "many"}, {"min_p": 0.2})
    ):
        content["configs"]["arc_easy"]["generation_kwargs"] = kwargs | change
        paths.append(tmp_path / f"results_{at}.json")
        paths[-1].write_text(json.dumps(content | {"chat_template": None, "date": 1787307072.5 + at}))
    assert stored(tmp_path / "o", paths).problems == ()
    found = rows(tmp_path / "o", "SELECT * FROM runs ORDER BY started_at")
    temperatures = [json.loads(row["sampling"])["temperature"] for row in found]
    assert (temperatures, [row["max_new_tokens"] for row in found]) == (
        [0.6, 0.7, 0.0, 0.6, 0.6],
        [256, 256, 256, None, 256],
    )
    assert {(tuple(row["stop"]), row["chat"]) for row in found} == {(("\n",), False)}
    assert len({row["cell_id"] for row in found}) == 5


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Logs of every tool in one experiment, each of which is silent about something."""
    tools = (
        "aiperf",
        "draft_target",
        "guidellm",
        "hyperfine",
        "lm_eval",
        "mlc_logs",
        "optimum_benchmark",
        "spec_bench",
    )
    tools += ("tinygrad", "verifiers", "vllm", "workflow_csv", "fast_dllm/console", "fast_dllm/older", "fast_dllm/mmlu")
    files = ("dflash/suffix_samples.jsonl", "dflash/block_sweep.csv", "dflash/dynamic.log", "llama_cpp/llama_bench.md")
    files += ("llama_cpp/completion.log", "llama_cpp/server.log", "llama_cpp/server_answers.jsonl")
    folders = [DATA / name for name in (*tools, *files)]
    folder = tmp_path_factory.mktemp("everything")
    collate(folder, all_plugins(), intake=Intake(folders))
    return folder


@pytest.mark.nightly
def test_nothing_that_reads_results_needs_what_a_log_does_not_have(everything):
    with decodebench.open(everything) as results:
        comparison = results.compare()
        assert len(comparison.rows) > 50 and results.findings() and results.speculation().cells
        assert any("not recorded of" in warning for warning in comparison.warnings)
        assert results.log_entry(comparison)
        for name in ("csv", "parquet", "json", "dflash", "fast-dllm-summary", "diffusion-sweep", "gsm8k-benchmark"):
            assert all(path.stat().st_size for path in results.export(name, to=everything / name))
        rows = results.query(
            "SELECT parser, first_step_is_prefill, ttft_s FROM run_metrics WHERE ttft_s IS NOT NULL"
        ).rows
    assert not [row for row in rows if row[0].startswith(("tinygrad", "workflow"))], "their first step is a warm-up"


def test_a_value_that_no_log_has_is_empty_in_every_row(everything):
    silent = {"seed": "llama-bench", "warmup": "spec-bench", "max_new_tokens": "tinygrad", "samples": "llama-server"}
    with Store.open(everything) as store:
        for name, parser in silent.items():
            (found,) = store.query(f"SELECT count({name}), count(*) FROM runs WHERE source_format = ?", [parser])[1]
            assert found[0] == 0 < found[1], (name, parser)
