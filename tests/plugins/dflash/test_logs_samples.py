"""Result rows of the DFlash scripts: every mode a run; taus, block sizes and times as they stand; nothing invented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run, Sample
from decodebench.plugins.dflash.logs import LOG_PARSERS
from decodebench.plugins.dflash.logs.samples import SampleRows

DATA = Path(__file__).parents[2] / "data" / "dflash"
TEN_STEPS = [1] * 10 + [0]  # of an output of 10: the published loop runs a cycle behind its last token


def read(path):
    """Return {mode, or mode and block size where there are several: (run, samples, steps of each sample)}."""
    runs = []
    for record in SampleRows().read(path):
        if isinstance(record, Run):
            runs.append((record, [], []))
        elif isinstance(record, Sample):
            runs[-1][1].append(record)
            runs[-1][2].append([])
        else:
            runs[-1][2][record.sample].append(record)
    return runs


def column(steps, name):
    return [[getattr(step, name) for step in of_one] for of_one in steps]


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def written(tmp_path):
    """Write rows and read them."""

    def write(rows, end="\n"):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + end, encoding="utf-8")
        return read(path)

    return write


def test_baseline_and_method_are_two_runs_whose_samples_pair():
    (base, base_samples, base_steps), (run, samples, steps) = read(DATA / "benchmark_samples.jsonl")
    assert (base.options, base.conditions["mode"]) == ({"block_size": 1}, "baseline")
    assert (run.options, run.conditions["mode"]) == ({"block_size": 4, "draft_steps": 1}, "speculative")
    assert {(r.status, r.kind, r.backend, r.task, r.samples) for r in (base, run)} == {
        ("ok", "speculative", "dflash", "aime25", 2)
    }
    assert [s.sample_id for s in base_samples] == [s.sample_id for s in samples]
    assert len({s.sample_id for s in samples}) == 2
    assert column(base_steps, "tokens") == [TEN_STEPS, [1] * 6]
    assert column(steps, "tokens") == [[1, 4, 1, 4, 0], [1, 3, 2]]
    assert [sum(s) for s in column(steps, "tokens")] == [s.output_tokens for s in samples] == [10, 6]


def test_taus_block_sizes_and_accepted_tokens_are_the_published_ones():
    _, (_, _, steps) = read(DATA / "benchmark_samples.jsonl")
    taus = [[(step.trace or {}).get("tau", step.tokens) for step in of_one[1:]] for of_one in steps]
    assert taus == [[4, 1, 4, 1], [3, 2]]
    assert column(steps, "block_size") == [[None, 4, 4, 4, 1], [None, 4, 4]]
    assert column(steps, "drafted") == [[None, 3, 3, 3, 0], [None, 3, 3]]
    assert column(steps, "accepted") == [[None, 3, 0, 3, 0], [None, 2, 1]]


def test_times_are_those_of_the_row_and_cycles_have_none():
    _, (run, samples, steps) = read(DATA / "benchmark_samples.jsonl")
    assert [s.duration_s for s in samples] == [0.5, 0.35]
    assert column(steps, "t_s") == [[0.1, None, None, None, None], [0.2, None, None]]
    engine = samples[0].engine
    assert [engine[f"published_{name}"] for name in ("ttft_s", "tpot_s", "wall_s", "output_tokens")] == [
        0.1,
        0.03,
        0.5,
        10,
    ]
    assert engine["published_draft_share_decode"] == pytest.approx(0.2)
    assert engine["published_profiled_cycles"] == 4
    assert run.environment is None and run.model == "unknown"


def test_the_limit_is_seen_where_the_loop_ran_on_behind_the_last_token():
    for run, samples, _ in read(DATA / "benchmark_samples.jsonl"):
        assert run.max_new_tokens == 10
        assert [s.finish for s in samples] == ["length", "stop"]
        assert any("10 is where outputs end" in note for note in run.notes)


def test_no_limit_is_guessed_from_one_output_that_may_have_stopped(written):
    (run, (sample,), _) = written(rows_of("benchmark_samples.jsonl")[1:])[1]
    assert (run.max_new_tokens, run.warmup, run.seed, run.sampling.temperature, sample.finish) == (None,) * 5


def test_every_block_size_of_a_multi_block_file_is_a_run():
    runs = read(DATA / "multi_block_samples.jsonl")
    assert [run.options for run, _, _ in runs] == [{"block_size": 1}, {"block_size": 4}, {"block_size": 2}]
    assert column(runs[2][2], "block_size") == [[None, 2, 2, 2, 2, 2, 1], [None, 2, 2, 2]]
    assert len({run.run_id for run, _, _ in runs}) == 3


def test_texts_and_prompts_of_several_lines_come_back():
    (_, samples, _), _ = read(DATA / "benchmark_samples.jsonl")
    assert samples[0].text == "Five.\nLine two"
    assert samples[1].prompt == "<user>How many primes lie below 10? ✓<assistant>"


def test_seeding_is_in_the_options_and_its_counters_in_the_sample():
    ((run, (sample,), _),) = read(DATA / "suffix_samples.jsonl")
    assert run.options == {"block_size": 4, "seed_mode": "sparse", "seed_max_tokens": -1}
    assert sample.engine["published_seeded_token_total"] == 2
    assert sample.engine["published_seeded_tokens_per_cycle"] == 0.5


def test_candidate_options_and_counters():
    _, (run, (sample,), (steps,)) = read(DATA / "candidate_samples.jsonl")
    assert run.options["candidate_mode"] == "fixed_prefix_rank"
    assert run.options["adaptive_budgets"] == [1, 4, 8] and run.options["branch_margin_threshold"] == -1
    assert sample.engine["published_candidate_count_sum"] == 9
    assert sample.engine["published_adaptive_budget_counts_4"] == 2
    assert [step.tokens for step in steps] == [1, 4, 4, 1] and steps[3].trace == {"tau": 2}
    assert [step.block_size for step in steps] == [None, 4, 4, 2]


def test_a_scheduled_run_has_its_trace_step_by_step():
    (_, _, (base_steps,)), (run, _, (steps,)) = read(DATA / "dynamic_samples.jsonl")
    assert (run.options["scheduler"], run.options["candidate_block_sizes"]) == ("ewma", [2, 4])
    assert run.options["ewma_alpha"] == 0.1
    assert [step.block_size for step in steps] == [None, 2, 4, 4, 1]
    assert [step.engine_s for step in steps] == [None, 0.05, 0.06, 0.07, 0.04]
    assert steps[2].trace == {
        "chosen_block_size": 4, "l_gen": 4, "tau_hat": 4.0, "cycle_hat": 0.06, "score_hat": 66.67,
        "current_block_size": 4,
    }  # fmt: skip
    assert steps[4].trace["tau"] == 1 and steps[4].tokens == 0
    assert [step.tokens for step in base_steps] == [1] * 10  # its row lists no cycles: one token each


def test_the_first_scheduler_is_known_by_its_rolling_tau():
    ((run, _, (steps,)),) = read(DATA / "threshold_samples.jsonl")
    assert run.options == {"scheduler": "threshold", "candidate_block_sizes": [2, 4]}
    assert [step.trace for step in steps[1:]] == [{"rolling_tau": 4.0}, {"rolling_tau": 3.0}]
    assert [step.tokens for step in steps] == [1, 4, 2]


def test_an_older_name_of_a_scheduler_is_read_as_the_present_one(written):
    (row,) = rows_of("dynamic_samples.jsonl")
    row["dynamic"]["scheduler"]["type"] = "ewma_performance"
    assert written([row])[1][0].options["scheduler"] == "ewma"


def test_multi_round_steps_are_one_token_each_and_tell_the_round():
    _, (run, _, (steps,)) = read(DATA / "multiround_samples.jsonl")
    assert run.options == {"round_block_sizes": [4, 2]}
    assert [(s.tokens, s.block_size, s.drafted, s.accepted) for s in steps[1:]] == [(1, 4, 1, 1), (1, 1, 2, 0)]
    assert [(s.trace["round_idx"], s.trace["u"]) for s in steps[1:]] == [(1, 0.3), (3, 0.0)]


def test_without_a_baseline_there_is_one_run(written):
    rows = rows_of("benchmark_samples.jsonl")
    assert [run.conditions["mode"] for run, _, _ in written([{**row, "baseline": None} for row in rows])] == [
        "speculative"
    ]


def test_blocks_of_one_token_are_the_baseline_and_counted_once(written):
    rows = [{**row, "block_size": 1, "speculative": row["baseline"]} for row in rows_of("benchmark_samples.jsonl")]
    assert [run.options for run, _, _ in written(rows)] == [{"block_size": 1}]
    alone = [{**row, "baseline": None} for row in rows]
    assert [(run.options, run.conditions["mode"]) for run, _, _ in written(alone)] == [({"block_size": 1}, "baseline")]


def test_joined_files_are_runs_of_their_own(written):
    rows = rows_of("benchmark_samples.jsonl")
    runs = written([*rows, *rows])
    assert [(len(samples), run.options["block_size"]) for run, samples, _ in runs] == [(2, 1), (2, 4), (2, 1), (2, 4)]


def test_problems_pair_by_their_prompt_whatever_row_they_stand_in(written):
    first, second = rows_of("benchmark_samples.jsonl")
    swapped = written([{**second, "dataset_row_idx": 0}, {**first, "dataset_row_idx": 1}])[0][1]
    straight = read(DATA / "benchmark_samples.jsonl")[0][1]
    assert [s.sample_id for s in swapped] == [s.sample_id for s in reversed(straight)]


def test_a_cut_last_line_is_left_out_and_said(tmp_path):
    path = tmp_path / "cut.jsonl"
    data = (DATA / "benchmark_samples.jsonl").read_bytes()
    for at in (len(data) - 20, data.index("✓".encode()) + 1):
        path.write_bytes(data[:at])
        runs = read(path)
        assert [len(samples) for _, samples, _ in runs] == [1, 1]
        assert {run.status for run, _, _ in runs} == {"incomplete"}
        assert {run.reason for run, _, _ in runs} == {"the file ends inside its line 2, which is left out: it was cut"}
    path.write_bytes(data[:-1])
    assert {run.status for run, _, _ in read(path)} == {"ok"}


def test_a_file_cut_in_its_first_line_is_an_incomplete_run(tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_bytes((DATA / "benchmark_samples.jsonl").read_bytes()[:300])
    assert SampleRows().matches(path, path.read_bytes())
    ((run, samples, _),) = read(path)
    assert (run.status, samples) == ("incomplete", []) and "line 1" in run.reason


def bad(change):
    rows = rows_of("benchmark_samples.jsonl")
    change(rows[1])
    return rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["speculative"].update(num_output_tokens=float("nan")), "num_output_tokens': nan must be an"),
        (lambda r: r["speculative"].update(wall_time_s="long"), "field 'speculative.wall_time_s': 'long'"),
        (lambda r: r["speculative"].update(wall_time_s=-1), "field 'speculative.wall_time_s': -1"),
        (lambda r: r["speculative"].update(num_output_tokens=10**30), "num_output_tokens': a huge number"),
        (lambda r: r["speculative"].update(num_output_tokens=True), "num_output_tokens': True must be an integer"),
        (lambda r: r["speculative"].update(acceptance_lengths=[3, 2.5]), "acceptance_lengths': 2.5 must be an integer"),
        (lambda r: r["speculative"].update(acceptance_lengths=[5, 1]), "5 tokens from a block of 4"),
        (lambda r: r["speculative"].update(acceptance_lengths=[1, 1]), "gained 2 tokens do not make an output of 6"),
        (lambda r: r["speculative"].update(acceptance_lengths=[4, 4, 1]), "do not make an output of 6"),
        (lambda r: r["speculative"].pop("acceptance_lengths"), "field 'speculative.acceptance_lengths': missing"),
        (lambda r: r["speculative"].update(ttft_s=0.36), "ttft_s': 0.36 s to the first token, but 0.35 s in all"),
        (lambda r: r["speculative"].update(output_text="\ud800"), "field 'speculative': half a character"),
        (lambda r: r.update(block_size="4"), "field 'block_size': '4' must be an integer"),
        (lambda r: r.update(baseline=None, speculative=None), "neither a baseline nor a method"),
        (lambda r: r.update(speculative={"0": {}}), "field 'speculative.0': no block size"),
        (lambda r: r.update(dataset=None), "field 'dataset': None"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_file_line_and_field(written, change, words):
    with pytest.raises(RawLogError, match=r"rows\.jsonl:2: ") as caught:
        written(bad(change))
    assert words in str(caught.value)


@pytest.mark.parametrize(("line", "words"), [("[1]", "not a JSON object"), ('{"a": x}', "no JSON"), ("torn{", "not a")])
def test_a_line_that_is_no_object_is_left_out_and_said(tmp_path, line, words):
    path = tmp_path / "x.jsonl"
    path.write_text(f"{(DATA / 'benchmark_samples.jsonl').read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    whole, found = read(DATA / "benchmark_samples.jsonl"), read(path)
    assert [len(samples) for _, samples, _ in found] == [len(samples) for _, samples, _ in whole]
    for run, _, _ in found:
        assert run.status == "incomplete" and re.match(rf"left out: line 3: field 'line': {words}", run.reason)
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(RawLogError, match=r"x\.jsonl:1: field 'line'"):
        read(path)


def test_runs_are_told_apart_by_content_and_not_by_place(tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((DATA / "benchmark_samples.jsonl").read_bytes())
    ids = [[run.run_id for run, _, _ in read(path)] for path in (copy, DATA / "benchmark_samples.jsonl")]
    assert ids[0] == ids[1]
    assert ids[0][0] not in [run.run_id for run, _, _ in read(DATA / "multi_block_samples.jsonl")]


EXPECTED = {
    "_samples.jsonl": "dflash-samples", "_cycles.jsonl": "dflash-cycles", "_cycles_first.jsonl": "dflash-cycles",
    ".log": "dflash-console", ".csv": "dflash-summary",
}  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted(p for p in DATA.iterdir() if p.suffix not in (".md", ".json")), ids=lambda path: path.name
)
def test_every_format_is_recognised_by_its_own_parser_alone(path):
    head = path.read_bytes()[:HEAD_BYTES]
    found = [parser.name for parser in LOG_PARSERS if parser().matches(path, head)]
    assert found == [next(name for ending, name in EXPECTED.items() if path.name.endswith(ending))]


@pytest.mark.parametrize(
    "text",
    [
        "", "\0\1", "{}\n", "hello\n", '{"type": "run", "schema": 1}\n', "dataset,max_samples\n1,2\n",
        '{"rank": 0, "text": "\\"dataset_row_idx\\": 1, \\"prompt_text\\": 2"}\n', "seed = 42\n",
        "the Baseline TTFT: 0.1\n", '{"build_commit": "abc"}\n',
    ],
)  # fmt: skip
def test_other_files_are_not_taken_for_one_of_them(text):
    assert [p.name for p in LOG_PARSERS if p().matches(Path("x"), text.encode())] == []
