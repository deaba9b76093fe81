"""The store as files of the published scripts: what goes out comes back in, and the table holds what the rows say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.parsers import foreign
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.schema import Environment, RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.plugins.dflash.export import EXPORTER, SUMMARY_COLUMNS
from decodebench.plugins.dflash.logs import LOG_PARSERS

DATA = Path(__file__).parents[2] / "data" / "dflash"
PARSERS = {parser.name: parser for parser in LOG_PARSERS}
SAMPLES = sorted(DATA.glob("*_samples.jsonl"))


def logs_of(*paths):
    return [
        log for path in paths for log in foreign.read(path, path.name, PARSERS[foreign.recognise(path, PARSERS)[0]])
    ]


@pytest.fixture
def export(tmp_path):
    """Put runs into a store and write them in the published formats; returns the files by ending of their name."""
    calls = iter(range(99))

    def export(logs, experiment=None):
        folder = tmp_path / f"store{next(calls)}"
        with Store.open(folder, read_only=False) as store:
            with store.transaction():
                for log in logs:
                    store.add(log.run, log.samples, log.steps)
            paths = EXPORTER.write(store, experiment, folder / "files")
        assert sorted(path.name for path in paths) == sorted(path.name for path in (folder / "files").iterdir())
        endings = ("_samples.jsonl", "_cycles.jsonl", "summary.csv")
        return {ending: [path for path in paths if path.name.endswith(ending)] for ending in endings}

    return export


def content(logs):
    """What a run is made of, by options; identities and provenance left out."""
    found = {}
    for log in logs:
        drop = {"run_id"}
        samples = [sample.model_dump(exclude=drop) for sample in log.samples]
        steps = [step.model_dump(exclude=drop) for step in log.steps]
        found.setdefault(json.dumps(log.run.options, sort_keys=True), []).append((samples, steps))
    return found


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_imported_rows_come_back_as_they_were(export, path):
    logs = logs_of(path)
    files = export(logs)["_samples.jsonl"]
    assert len(files) == len(logs) - any(log.run.options == {"block_size": 1} for log in logs)
    before, after = content(logs), content(logs_of(*files))
    assert before.keys() == after.keys()
    for options, runs in before.items():
        (samples, steps), (samples_after, steps_after) = runs[0], after[options][0]
        for ours, theirs in zip(samples, samples_after, strict=True):
            assert {**theirs, "prompt": None} == {**ours, "prompt": None}
        assert steps_after == steps


@pytest.mark.parametrize("path", sorted(DATA.glob("*_cycles*.jsonl")), ids=lambda path: path.name)
def test_imported_traces_come_back_as_they_were(export, path):
    logs = logs_of(path)
    if "candidate" in path.name:  # the trace names no rule; a run that has one is exported with its candidates
        logs[-1].run = logs[-1].run.model_copy(
            update={"options": {**logs[-1].run.options, "candidate_mode": "branch_beam"}}
        )
    (file,) = export(logs)["_cycles.jsonl"]
    back = logs_of(file)
    assert len(back) == len(logs)
    for ours, theirs in zip(logs, back, strict=True):
        assert [step.model_dump(exclude={"run_id"}) for step in theirs.steps] == [
            step.model_dump(exclude={"run_id"}) for step in ours.steps
        ]
        assert [s.output_tokens for s in theirs.samples] == [s.output_tokens for s in ours.samples]


def test_the_table_holds_what_the_rows_say(export):
    files = export(logs_of(DATA / "benchmark_samples.jsonl"))
    with files["summary.csv"][0].open(newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == SUMMARY_COLUMNS
    assert dict(zip(header, row, strict=True)) == {
        "dataset": "aime25", "max_samples": "2", "block_size": "4",
        "speedup": "3.60",  # (0.1 + 0.08) / (0.03 + 0.02)
        "tau": "2.50",  # mean of 10 / 4 and 5 / 2
        "gpu_name": "NA", "cuda_version": "NA", "torch_version": "NA",
        "baseline_total_wall_s": "1.800000", "speculative_total_wall_s": "0.850000",
        "baseline_tokens_per_sec": "8.888889", "speculative_tokens_per_sec": "18.823529",  # 16 tokens
        "baseline_tpot": "0.090000", "speculative_tpot": "0.025000",
        "baseline_ttft": "0.150000", "speculative_ttft": "0.150000",
        "acceptance_histogram": "['0.0%', '33.3%', '16.7%', '16.7%', '33.3%']",
        "log_path": "benchmark_samples.jsonl", "output_jsonl_path": str(files["_samples.jsonl"][0]),
    }  # fmt: skip
    runs = {log.run.conditions["mode"]: log.run for log in logs_of(files["summary.csv"][0])}
    baseline, run = runs["baseline"], runs["speculative"]
    assert (baseline.settings["published_tpot_s"], run.settings["published_tau_mean"]) == ("0.090000", "2.50")


def test_aggregates_of_a_console_log_make_a_row_of_the_table(export):
    files = export(logs_of(DATA / "multi_block.log"))
    assert files["_samples.jsonl"] == []
    with files["summary.csv"][0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["block_size"], row["speedup"], row["tau"], row["baseline_tpot"]) for row in rows] == [
        ("8", "4.00", "5.50", "0.040000"), ("12", "5.00", "6.50", "0.040000"),
    ]  # fmt: skip
    assert rows[0]["gpu_name"] == "NVIDIA A100 80GB PCIe" and rows[0]["acceptance_histogram"].startswith(
        "['0.0%', '12.5%'"
    )


def own_run(run_id, options, round=0, **more):
    return Run(
        run_id=run_id, experiment="exp", cell_id=f"cell-{sorted(options.items())}", round=round,
        started_at="2026-01-01",
        backend="dflash", kind="speculative", model="tiny:target", quantisation="none", device="cpu", task="sums",
        options={"dtype": "float32", **options}, samples=1, warmup=1, max_new_tokens=8, chat=False,
        environment=Environment(hostname="h", gpu=("GPU",), packages={"torch": "2.13"}), **more,
    )  # fmt: skip


def own_log(run, cycles, ids, text="a\nb ✓", **engine):
    """A run as the backend measures it: a warm-up sample and one more, both with the given cycles."""
    samples, steps = [], []
    for index in range(2):
        samples.append(
            Sample(
                run_id=run.run_id, index=index, is_warmup=index == 0, sample_id="p0", prompt="2 + 3\n=",
                prompt_tokens=5,
                output_tokens=len(ids), output_ids=tuple(ids), text=text, finish="length", duration_s=0.5,
                engine={"published_ttft_s": 0.1, "published_tpot_s": 0.04, "published_wall_s": 0.49, **engine},
            )
        )  # fmt: skip
        at = 1
        steps.append(RecordedStep(run_id=run.run_id, sample=index, index=0, t_s=0.1, step_s=0.1, tokens=1, forwards=1))
        for number, (tokens, size, trace) in enumerate(cycles, start=1):
            at += tokens
            steps.append(
                RecordedStep(
                    run_id=run.run_id, sample=index, index=number, t_s=0.1 * (number + 1), step_s=0.1, tokens=tokens,
                    token_ids=tuple(ids[at - tokens : at]), block_size=size, drafted=size - 1, accepted=tokens - 1,
                    forwards=1, draft_s=0.02 * (size > 1), verify_s=0.06, engine_s=0.09, trace=trace,
                )
            )  # fmt: skip
    return foreign.RawLog(run, samples, steps)


IDS = (5, 6, 7, 8, 9, 10, 11, 12)


def test_own_runs_come_back_with_their_taus_blocks_times_and_ids(export):
    baseline = own_log(own_run("b", {"block_size": 1}), [(1, 1, None)] * 7, IDS)
    run = own_log(own_run("m", {"block_size": 4}), [(3, 4, None), (2, 2, None), (2, 4, {"tau": 3})], IDS)
    files = export([baseline, run])
    back = {log.run.options["block_size"]: log for log in logs_of(*files["_samples.jsonl"])}
    assert set(back) == {1, 4}
    for log, size in ((baseline, 1), (run, 4)):
        (sample,) = back[size].samples  # the warm-up is left out
        assert (sample.output_ids, sample.text, sample.prompt) == (IDS, "a\nb ✓", "2 + 3\n=")
        assert sample.engine["published_wall_s"] == sample.duration_s == 0.49
        assert [sample.engine[f"published_{n}_s"] for n in ("ttft", "tpot")] == [0.1, 0.04]
        ours = [step for step in log.steps if step.sample == 1]
        names = ("tokens", "block_size", "drafted", "trace")
        for name in names:
            assert [getattr(s, name) for s in back[size].steps] == [getattr(s, name) for s in ours]
    assert back[4].samples[0].engine["published_target_decode_s"] == pytest.approx(0.18)
    assert back[4].samples[0].engine["published_draft_share_decode"] == pytest.approx(0.25)

    cycles = logs_of(*files["_cycles.jsonl"])
    assert [log.run.conditions["mode"] for log in cycles] == ["baseline", "speculative"]
    ours = [step for step in run.steps if step.sample == 1]
    for name in ("tokens", "block_size", "draft_s", "verify_s", "engine_s", "trace"):
        assert [getattr(s, name) for s in cycles[1].steps[1:]] == [getattr(s, name) for s in ours[1:]]


def test_a_scheduled_run_and_a_seeded_one_keep_their_traces(export):
    scheduler = {"scheduler": "ewma", "candidate_block_sizes": [2, 4], "ewma_alpha": 0.1, "warmup_cycles": 2}
    traces = [
        {"chosen_block_size": 4, "l_gen": 4, "tau_hat": 3.5, "current_block_size": 4},
        {"chosen_block_size": 2, "l_gen": 2},
    ]
    dynamic = own_log(own_run("d", scheduler), [(3, 4, traces[0]), (2, 2, traces[1])], IDS[:6])
    names = ("recycled_available", "seeded_count", "recycled_next")
    seeds = [dict(zip(names, counts, strict=True)) for counts in ((0, 0, 2), (2, 1, 0))]
    seeded = own_log(
        own_run("s", {"seed_mode": "sparse", "block_size": 4}), [(2, 4, seeds[0]), (3, 4, seeds[1])], IDS[:6]
    )
    files = export([dynamic, seeded])
    back = {log.run.conditions["mode"]: log for log in logs_of(*files["_samples.jsonl"])}
    assert {name: back["dynamic"].run.options[name] for name in scheduler} == scheduler
    assert [step.trace for step in back["dynamic"].steps] == [None, *traces]
    assert [step.engine_s for step in back["dynamic"].steps] == [None, 0.09, 0.09]
    engine = back["speculative"].samples[0].engine
    assert (engine["published_seeded_cycles"], engine["published_seeded_cycle_rate"]) == (1, 0.5)
    (trace,) = logs_of(*files["_cycles.jsonl"])
    assert [step.trace for step in trace.steps] == [None, *seeds]
    assert trace.samples[0].prompt_tokens == 5


def test_each_round_has_the_baseline_of_its_round(export):
    logs = []
    for number, tpot_s in enumerate((0.4, 0.2)):
        base = own_run(f"b{number}", {"block_size": 1}, round=number)
        logs.append(own_log(base, [(1, 1, None)] * 7, IDS, published_tpot_s=tpot_s))
        run = own_run(f"m{number}", {"block_size": 4}, round=number)
        logs.append(own_log(run, [(4, 4, None), (3, 4, None)], IDS, published_tpot_s=0.1))
    other = own_run("x", {"block_size": 1, "dtype": "bfloat16"}, round=1)
    logs.append(own_log(other, [(1, 1, None)] * 7, IDS, published_tpot_s=9.0))
    files = export(logs)
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in files["_samples.jsonl"]]
    found = [(row["block_size"], row["baseline"]["tpot_s"], row["speculative"]["tpot_s"]) for row in rows]
    assert found == [(4, 0.4, 0.1), (4, 0.2, 0.1), (1, 9.0, 9.0)]


def test_rows_have_the_published_fields_and_three_more(export):
    (before,) = (json.loads(line) for line in (DATA / "candidate_samples.jsonl").read_text().splitlines())
    (file,) = export(logs_of(DATA / "candidate_samples.jsonl"))["_samples.jsonl"]
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after.keys() == before.keys()
    assert after["speculative"].keys() - before["speculative"].keys() == {"output_ids", "used_block_sizes"}
    assert before["speculative"].keys() <= after["speculative"].keys()
    (row, *_) = (json.loads(line) for line in (DATA / "benchmark_cycles.jsonl").read_text().splitlines())
    (file,) = export(logs_of(DATA / "benchmark_cycles.jsonl"))["_cycles.jsonl"]
    for line in file.read_text().splitlines():
        assert json.loads(line).keys() == row.keys() | {"committed_tokens"}


def test_a_store_without_such_runs_is_refused(export):
    with pytest.raises(UsageError, match="no finished run of backend 'dflash'"):
        export([])
    with pytest.raises(UsageError, match="has times, cycles or a fixed block size"):
        export(logs_of(DATA / "dynamic.log")[:1])


def test_every_format_is_imported_by_collate(tmp_path):
    files = sorted(path for path in DATA.iterdir() if path.suffix != ".md" and path.name != "published_configs.json")
    report = collate(tmp_path, all_plugins(), intake=Intake(files))
    assert len(report.added) == len(files)
    problems = {Path(problem.file).name for problem in report.problems}
    assert problems == {"block_sweep.csv", "block_sweep_started.csv", "fixed_prefix_sweep.csv"}  # rows that are NA
    with Store.open(tmp_path) as store:
        (taus,) = store.query(
            "SELECT tau, tau_mean, tpot_s FROM run_metrics WHERE source_file LIKE '%/benchmark_samples.jsonl' "
            "AND options->>'block_size' = '4'"
        )[1]
    assert taus[0] == pytest.approx((9 + 5) / 5)  # the cut last cycle of the first prompt is left out
    assert taus[1] == pytest.approx((3 + 2.5) / 2)
    assert taus[2] == pytest.approx((0.4 + 0.15) / (9 + 5))


def test_the_command_writes_a_named_format_and_experiment(cli, tmp_path):
    files = [DATA / "benchmark_samples.jsonl", DATA / "benchmark_cycles.jsonl"]
    for file, name in zip(files, ("samples", "cycles"), strict=True):
        assert cli("collate", tmp_path, "--import", file, "--experiment", name).code == 0
    target = tmp_path / "out"
    ended = cli("export", tmp_path, "--format", "dflash", "--experiment", "samples", "--to", target, "--json")
    assert ended.code == 0, ended.err
    assert sorted(Path(path).name.rsplit("_", 1)[-1] for path in ended.json) == ["samples.jsonl", "summary.csv"]
    ended = cli("export", tmp_path, "--experiment", "cycles", "--to", target)
    assert ended.code == 0 and ended.out == f"{target / 'dflash.csv'}\n"
    with (target / "dflash.csv").open(newline="") as file:
        assert {row["experiment"] for row in csv.DictReader(file)} == {"cycles"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "dflas"], "unknown export format 'dflas'; did you mean 'dflash'? known: csv, dflash"),
        (["--format", "dflash", "--cumulative-text"], "--cumulative-text changes a column of --format csv"),
        (["--experiment", "importe"], "did you mean 'imported'"),
    ],
)
def test_bad_usage_of_the_command_is_refused(cli, tmp_path, arguments, words):
    assert cli("collate", tmp_path, "--import", DATA / "benchmark_samples.jsonl").code == 0
    ended = cli("export", tmp_path, *arguments)
    assert ended.code == 2 and words in ended.err and "Traceback" not in ended.err


DECODED = """
SELECT s.output_ids, list(t.tokens ORDER BY t."index") AS tokens, list(t.block_size ORDER BY t."index") AS block_sizes,
    list(t.trace->>'tau' ORDER BY t."index") AS cut_taus, s.engine->>'published_wall_s' AS wall_s,
    s.engine->>'published_tpot_s' AS tpot_s
FROM runs r JOIN samples s USING (run_id) JOIN steps t ON t.run_id = s.run_id AND t.sample = s."index"
WHERE r.source_format <> 'dflash-cycles' AND NOT s.is_warmup GROUP BY ALL ORDER BY ALL
"""


@pytest.mark.nightly
def test_what_the_backend_decodes_comes_back(cli, tmp_path):
    flags = "-b dflash -m random:qwen3-30m --prompt-tokens 16 --samples 2 --warmup 1 --rounds 1 --max-new-tokens 6"
    ended = cli("run", "-o", tmp_path / "own", *flags.split(), "--set", "block_size=1,4")
    assert ended.code == 0, ended.err
    assert cli("export", tmp_path / "own", "--format", "dflash", "--to", tmp_path / "files").code == 0
    assert cli("collate", tmp_path / "back", "--import", tmp_path / "files").code == 0
    own, back = (cli("query", DECODED, tmp_path / folder, "--json").rows for folder in ("own", "back"))
    assert len(own) == 4 and own == back


def test_what_a_row_has_besides_comes_back(export, tmp_path):
    rows = [json.loads(line) for line in (DATA / "benchmark_samples.jsonl").read_text().splitlines()]
    further = {"slurm_job_id": "7", "vram_gb": {"peak": 30.5}}
    source = tmp_path / "benchmark_samples.jsonl"
    source.write_text("".join(json.dumps(row | further) + "\n" for row in rows))
    logs = logs_of(source)
    assert [sample.extra for log in logs for sample in log.samples] == [further] * 2 * len(rows)
    for file in export(logs)["_samples.jsonl"]:
        written = [json.loads(line) for line in file.read_text().splitlines()]
        assert [{name: row[name] for name in further} for row in written] == [further] * len(rows)
