"""Cycle traces: a run per mode and block size, every time and candidate where it stood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.plugins.dflash.logs.cycles import CycleTrace

DATA = Path(__file__).parents[2] / "data" / "dflash"


def read(path):
    """Return (run, samples, steps) of every run."""
    runs = []
    for record in CycleTrace().read(path):
        if isinstance(record, Run):
            runs.append((record, [], []))
        else:
            runs[-1][1 if isinstance(record, Sample) else 2].append(record)
    return runs


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@pytest.fixture
def written(tmp_path):
    def write(rows, end="\n"):
        path = tmp_path / "cycles.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + end)
        return read(path)

    return write


def test_both_modes_are_runs_with_the_times_of_every_cycle():
    (base, base_samples, base_steps), (run, samples, steps) = read(DATA / "benchmark_cycles.jsonl")
    assert (base.options, run.options) == ({"block_size": 1}, {"block_size": 4})
    assert (base.samples, run.samples, run.task) == (1, 2, "aime25")
    assert base_samples[0].sample_id == samples[0].sample_id == "aime25/0/0"
    assert sum(s.verify_s for s in base_steps[1:]) == pytest.approx(1.0)
    first = [step for step in steps if step.sample == 0]
    assert [s.draft_s for s in first] == [None, 0.02, 0.02, 0.02, 0.0]
    assert [s.engine_s for s in first] == [None, 0.08, 0.08, 0.08, 0.06]
    assert [s.block_size for s in first] == [None, 4, 4, 4, 1]
    assert [s.t_s for s in steps] == [None] * len(steps)
    assert samples[0].duration_s is None


def test_a_shortened_block_shows_the_limit_and_where_the_output_ends():
    for run, samples, steps in read(DATA / "benchmark_cycles.jsonl"):
        assert run.max_new_tokens == 10
        assert (samples[0].output_tokens, samples[0].finish) == (10, "length")
        assert sum(step.tokens for step in steps if step.sample == 0) == 10
    assert (samples[1].output_tokens, samples[1].finish) == (6, None)


def test_candidates_of_every_cycle():
    ((_, _, steps),) = read(DATA / "candidate_cycles.jsonl")
    assert [step.candidates for step in steps] == [None, 4, 4, 1]
    assert steps[1].trace == {
        "cycle_max_candidates": 4, "selected_positions": [2, 3], "chosen_candidate_idx": 1,
        "candidate_taus": [3, 4, 2, 2], "candidate_draft_scores": [7.0, 3.5, 0.5, -1.0],
        "candidate_rank_variants": [1, 2, 3, 4],
    }  # fmt: skip


def test_the_first_candidate_script_told_less():
    ((run, (sample,), (_, step)),) = read(DATA / "candidate_cycles_first.jsonl")
    assert (step.candidates, step.tokens, sample.output_tokens) == (2, 2, 3)
    assert "candidate_rank_variants" not in step.trace and step.trace["candidate_draft_scores"] == [-0.5, -1.5]
    assert (run.max_new_tokens, run.warmup, run.seed, run.sampling.temperature) == (None,) * 4


def test_seeding_traces_have_effective_blocks_and_no_times():
    ((run, (sample,), steps),) = read(DATA / "suffix_cycles.jsonl")
    assert run.options == {"block_size": 4, "seed_mode": "sparse"}
    assert [step.block_size for step in steps] == [None, 4, 4, 4, 1]
    assert (sample.prompt_tokens, sample.output_tokens) == (12, 10)
    assert sum(step.trace["seeded_count"] for step in steps[1:]) == 2
    assert all(step.engine_s is None for step in steps)
    assert any("largest block" in note for note in run.notes)


def test_a_baseline_printed_twice_is_one_run(written):
    base = [row for row in rows_of("benchmark_cycles.jsonl") if row["mode"] == "baseline"]
    runs = written([*base, *({**row, "mode": "speculative"} for row in base)])
    assert [run.conditions["mode"] for run, _, _ in runs] == ["baseline"]


def test_joined_traces_are_runs_of_their_own(written):
    rows = rows_of("candidate_cycles.jsonl")
    assert [len(steps) for _, _, steps in written(rows * 2)] == [4, 4]


def test_a_cut_trace_keeps_what_stands_before_the_cut(tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_bytes((DATA / "candidate_cycles.jsonl").read_bytes()[:-30])
    ((run, _, steps),) = read(path)
    assert run.status == "incomplete" and "line 3" in run.reason
    assert [step.tokens for step in steps] == [1, 4, 4]


@pytest.mark.parametrize(
    ("at", "change", "words"),
    [
        (2, {"cycle_idx": 3}, "cycle_idx': cycle 3 of the prompt, but 2 stand before it"),
        (1, {"generated_tokens_before": 5}, "generated_tokens_before': 5, but the cycles before it end at 4"),
        (1, {"tau": 5}, "tau': 5 tokens from a block of 4"),
        (1, {"tau": 0}, "tau': 0 "),
        (1, {"draft_s": "fast"}, "draft_s': 'fast'"),
        (1, {"candidate_taus": [1, "2"]}, "candidate_taus': '2' must be an integer"),
        (1, {"mode": 3}, "mode': 3"),
        (1, {"effective_block_size": 10**20}, "effective_block_size': a huge number must be an integer"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_field(written, at, change, words):
    rows = rows_of("candidate_cycles.jsonl")
    rows[at] |= change
    with pytest.raises(RawLogError, match=rf"cycles\.jsonl:{at + 1}: field '") as caught:
        written(rows)
    assert words in str(caught.value)


def test_steps_are_numbered_and_belong_to_a_sample():
    for path in sorted(DATA.glob("*_cycles*.jsonl")):
        for run, samples, steps in read(path):
            assert all(isinstance(step, RecordedStep) and step.run_id == run.run_id for step in steps)
            for sample in samples:
                of_one = [step for step in steps if step.sample == sample.index]
                assert [step.index for step in of_one] == list(range(len(of_one)))
                assert sum(step.tokens for step in of_one) == sample.output_tokens
