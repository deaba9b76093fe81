"""Derived figures of speculative decoding on synthetic logs whose values are worked out by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.collate.speculation import pair
from decodebench.core.records.store import Store
from decodebench.viz.terminal.speculation import bars, cell_names

from ..at_night import examples
from ..refusals import refused
from .verify_cycles import analysis, baseline_cycles, shown, steps, three_ways, writer

PLAIN = [baseline_cycles(8, 0.1), baseline_cycles(2, 0.1)]


@pytest.fixture
def write(logs, make_sample):
    return writer(logs, make_sample)


def test_acceptance_by_hand(write, logs):
    write("a")
    found = analysis(logs).cells[0].acceptance
    assert (found.cycles, found.tokens) == (5, 9)
    assert found.tau.value == pytest.approx(9 / 5)
    assert found.tau_mean.value == pytest.approx((7 / 3 + 1) / 2)
    assert found.tau_counts == (0, 3, 1, 0, 1)  # tau 1: three cycles, tau 2: one, tau 4: one
    assert found.tau_shares == (0, 0.6, 0.2, 0, 0.2)
    # accepted drafts are 3, 0, 1, 0, 0: position 1 in two cycles of five, positions 2 and 3 in one
    assert [(p.position, p.reached, p.accepted) for p in found.positions] == [(1, 5, 2), (2, 5, 1), (3, 5, 1)]
    assert [p.share for p in found.positions] == [0.4, 0.2, 0.2]
    assert found.rate.value == pytest.approx(4 / 15)
    assert found.rate_mean.value == pytest.approx((4 / 9 + 0) / 2)
    assert found.below_half_share == 0.6  # tau 1 < 4 / 2; tau 2 is not below


def test_positions_count_only_blocks_that_reach_them(write, logs):
    write("a", [[(2, 2, 0.1), (4, 3, 0.1)]])
    positions = analysis(logs).cells[0].acceptance.positions
    assert [(p.reached, p.accepted) for p in positions] == [(2, 2), (1, 1), (1, 0)]


def test_one_round_is_bootstrapped_over_its_samples(write, logs):
    write("a")
    tau = analysis(logs).cells[0].acceptance.tau
    # two samples of (7 tokens, 3 cycles) and (2, 2): a resample is one of them twice (a quarter each) or both, so
    # that the 2.5 % and 97.5 % quantiles are the samples' own tau
    assert (tau.low, tau.high) == (pytest.approx(1.0), pytest.approx(7 / 3))
    assert (tau.unit, tau.n) == ("sample", 2)


def test_rounds_that_repeat_one_another_are_no_replication_of_tau(write, logs):
    for round in range(3):
        write("a", round=round)
    tau = analysis(logs).cells[0].acceptance.tau
    assert (tau.unit, tau.n) == ("sample", 2) and tau.low < tau.high


def test_rounds_that_differ_are_the_unit(write, logs):
    write("a", [[(4, 2, 0.1)]], round=0)
    write("a", [[(4, 4, 0.1)]], round=1)
    tau = analysis(logs).cells[0].acceptance.tau
    assert (tau.unit, tau.n) == ("round", 2)
    assert tau.value == pytest.approx(8**0.5)  # geometric mean of 2 and 4, as compare shows positive figures


def test_a_single_sample_has_no_interval(write, logs):
    write("a", [[(4, 2, 0.1)]])
    tau = analysis(logs).cells[0].acceptance.tau
    assert (tau.value, tau.low, tau.high, tau.unit) == (2.0, None, None, None)


def test_the_cycle_that_the_limit_cuts_does_not_count(write, logs):
    write("a", [[(4, 4, 0.2), (4, 3, 0.2), (1, 1, 0.1)]], finish="length")
    cell = analysis(logs).cells[0]
    assert (cell.acceptance.cycles, cell.acceptance.tau.value) == (2, 3.5)
    assert [use.block_size for use in cell.blocks.sizes] == [4]
    assert (cell.blocks.switches, cell.blocks.transitions) == (0, 1)
    assert (cell.hit_cap, cell.hit_cap_share, cell.output_tokens_mean) == (1, 1.0, 9.0)


def test_a_cycle_that_a_stop_cuts_counts_what_it_committed(write, logs):
    write("a", [[(4, 2, 0.2), (4, 2, 0.2, {"accepted": 3, "trace": {"tau": 4}})]])
    assert analysis(logs).cells[0].acceptance.tau.value == 2.0


def test_limit_is_told_by_the_token_count_where_the_log_has_no_reason(write, logs):
    write("a", [[(4, 3, 0.1)], [(4, 1, 0.1)]], finish=None, max_new_tokens=4)
    assert analysis(logs).cells[0].hit_cap == 1


def test_tau_agrees_with_the_metrics(write, logs):
    write("a", [[(4, 4, 0.2), (4, 1, 0.1)], [(4, 2, 0.1), (2, 1, 0.1), (1, 1, 0.1)]], finish="length")
    cell = analysis(logs).cells[0]
    with Store.open(logs.folder) as store:
        metrics = store.dicts("SELECT * FROM run_metrics")[0]
    assert cell.acceptance.tau.value == pytest.approx(metrics["tau"])
    assert cell.acceptance.tokens / cell.acceptance.cycles == pytest.approx(metrics["tau"])
    assert cell.acceptance.tau_mean.value == pytest.approx(metrics["tau_mean"])
    assert cell.decode_tokens_per_s.value == pytest.approx(metrics["decode_tokens_per_s"])


def test_cycle_times_by_hand(write, logs):
    first = {"draft_s": 0.02, "verify_s": 0.1, "engine_s": 0.15}
    second = {"draft_s": 0.04, "verify_s": 0.1, "engine_s": 0.25}
    write("a", [[(4, 4, 0.2, first), (4, 2, 0.3, second)]])
    time = analysis(logs).cells[0].time
    assert (time.clock, time.cycle_s, time.engine_cycle_s) == ("runner", pytest.approx(0.25), pytest.approx(0.2))
    assert (time.draft_s, time.verify_s) == (pytest.approx(0.03), pytest.approx(0.1))
    assert time.draft_share_of_cycle == pytest.approx(0.06 / 0.5)
    assert time.verify_share_of_cycle == pytest.approx(0.2 / 0.5)


def test_a_log_without_step_times_falls_back_on_the_engines_clock(logs, make_sample):
    made = steps([(4, 4, 0.2, {"engine_s": 0.1}), (4, 2, 0.2, {"engine_s": 0.3})])
    for step in made:
        step["t_s"] = step["step_s"] = None
    logs.write("a", 0, [make_sample(0, made, duration_s=2.0)], kind="speculative")
    cell = analysis(logs).cells[0]
    assert (cell.time.clock, cell.time.cycle_s) == ("engine", pytest.approx(0.2))
    assert cell.blocks.sizes[0].tokens_per_s == pytest.approx(6 / 0.4)
    assert cell.e2e_tokens_per_s.value == pytest.approx(7 / 2)
    assert cell.decode_tokens_per_s.value is None and cell.time.draft_s is None


def test_a_log_without_any_cycle_time_has_none(logs, make_sample):
    made = steps([(4, 4, 0.2)])
    for step in made:
        step["t_s"] = step["step_s"] = None
    logs.write("a", 0, [make_sample(0, made, duration_s=None)], kind="speculative")
    cell = analysis(logs).cells[0]
    assert cell.time is None and cell.blocks.sizes[0].tokens_per_s is None and cell.acceptance.tau.value == 4
    assert cell.e2e_tokens_per_s.value is None


def test_block_usage_by_hand(write, logs):
    write("a", [[(8, 2, 0.1), (8, 4, 0.1), (16, 8, 0.4)], [(16, 7, 0.1), (8, 8, 0.2)]])
    blocks = analysis(logs).cells[0].blocks
    eight, sixteen = blocks.sizes
    assert (eight.block_size, eight.cycles, eight.share) == (8, 3, 0.6)
    assert (eight.tau, eight.tokens_per_s) == (pytest.approx(14 / 3), pytest.approx(14 / 0.4))
    assert eight.below_half_share == pytest.approx(1 / 3)  # 2 of 8; 4 of 8 is not below
    assert (sixteen.tau, sixteen.tokens_per_s, sixteen.below_half_share) == (7.5, pytest.approx(15 / 0.5), 0.5)
    assert (blocks.switches, blocks.transitions) == (2, 3)  # 8 8 16 | 16 8: none across samples
    assert blocks.switch_rate == pytest.approx(2 / 3)


def test_a_backend_without_block_sizes_is_read_by_what_it_drafted(write, logs):
    write("a", [[(6, 3, 0.1, {"block_size": None})]])
    assert analysis(logs).cells[0].blocks.sizes[0].block_size == 6  # five drafts and the anchor


def test_aggregates_of_an_imported_log_are_handed_on(logs):
    logs.write("a", 0, [], kind="speculative", settings={"published_tau": "7.46", "attention": "sdpa"})
    result = analysis(logs)
    assert result.cells[0].printed == {"published_tau": "7.46"} and "published_tau 7.46" in shown(result)


def test_start_up_by_hand(logs, make_sample):
    content = [
        make_sample(0, steps([(4, 4, 2.5)]), is_warmup=True),  # 5 tokens in 3 s
        make_sample(1, steps([(4, 4, 0.5)])),  # 5 tokens in 1 s
        make_sample(2, steps([(4, 4, 0.5), (4, 4, 0.8)])),  # 9 tokens in 1.8 s
    ]
    logs.write("a", 0, content, kind="speculative", load={"load_s": 2.0, "import_s": 0.5})
    found = analysis(logs).cells[0].start_up
    # others: 14 tokens in 2.8 s, 0.2 s a token; the first sample's 5 tokens should take 1 s and took 3
    assert found.first_sample_excess_s == pytest.approx(2.0)
    assert (found.import_s, found.load_s, found.total_s) == (0.5, 2.0, pytest.approx(4.5))


def test_start_up_has_no_total_where_a_part_is_unknown(write, logs):
    write("a", [[(4, 4, 0.5)]])
    found = analysis(logs).cells[0].start_up
    assert (found.load_s, found.import_s, found.first_sample_excess_s, found.total_s) == (1.5, None, None, None)


def test_steady_state_leaves_out_the_first_measured_sample_only(logs, make_sample):
    content = [
        make_sample(0, steps([(4, 4, 9.0)]), is_warmup=True),
        make_sample(1, steps([(4, 4, 4.0)])),
        make_sample(2, steps([(4, 2, 0.2)])),
        make_sample(3, steps([(4, 2, 0.2)])),
    ]
    logs.write("a", 0, content, kind="speculative")
    whole, steady = analysis(logs).cells[0], analysis(logs, steady_state=True).cells[0]
    assert (whole.samples, whole.decode_tokens_per_s.value) == (3, pytest.approx(8 / 4.4))
    assert (steady.samples, steady.decode_tokens_per_s.value) == (2, pytest.approx(10.0))
    assert steady.acceptance.tau.value == 2.0 and steady.start_up == whole.start_up


def test_a_pair_by_hand(write, logs):
    write("a", [baseline_cycles(8, 0.1), baseline_cycles(4, 0.1)], options={"block_size": 1})
    write("b", [[(4, 4, 0.2), (4, 4, 0.2)], [(4, 2, 0.2), (4, 2, 0.2)]])
    result = analysis(logs)
    (found,) = result.pairs
    assert (found.baseline, found.cell) == ("spec f16 block_size=1", "spec f16 block_size=4")
    assert (found.rounds, found.samples) == (1, 2)
    # decoding 12 tokens takes 1.2 s against 0.8 s; wall, with two prefills of 0.5 s, 2.2 s against 1.8 s
    assert found.tpot.value == pytest.approx(1.5)
    assert (found.tpot.unit, found.tpot.n) == ("sample", 2)
    # per prompt 0.8 / 0.4 = 2 and 0.4 / 0.4 = 1
    assert found.tpot_geomean.value == pytest.approx(2**0.5)
    assert (found.tpot.low, found.tpot.high) == (pytest.approx(1.0), pytest.approx(2.0))
    assert found.throughput.value == found.wall.value == pytest.approx(2.2 / 1.8)
    assert found.token_ratio == 1.0
    assert found.tau_delta.value == pytest.approx(3 - 1)  # 12 tokens in 4 cycles
    assert (found.tau_delta.low, found.tau_delta.high) == (pytest.approx(1.0), pytest.approx(3.0))
    assert found.cycle_time == pytest.approx(0.5)  # 0.1 s against 0.2 s
    assert (found.identical_outputs, found.compared_outputs, found.identical_share) == (2, 2, 1.0)
    # F16: tau 3 times as high; wall per cycle 2.2 / 12 against 1.8 / 4
    assert found.decomposition.tau_ratio == pytest.approx(3.0)
    assert found.decomposition.cycle_ratio == pytest.approx((2.2 / 12) / (1.8 / 4))
    assert found.decomposition.is_exact and found.decomposition.rest == pytest.approx(1.0)
    assert found.warnings == ()
    one, four = result.observed
    assert pair(four, one) == found
    back = pair(one, four)
    assert back.tpot.value == pytest.approx(1 / 1.5) and back.tau_delta.value == pytest.approx(-2)


def test_more_tokens_part_wall_from_throughput_and_leave_a_rest(write, logs):
    write("a", [baseline_cycles(4, 0.1)], options={"block_size": 1})  # 5 tokens in 0.9 s
    write("b", [[(4, 4, 0.1), (4, 4, 0.3)]])  # 9 tokens in 0.9 s
    (found,) = analysis(logs).pairs
    assert (found.wall.value, found.throughput.value) == (pytest.approx(1.0), pytest.approx(9 / 5))
    assert found.token_ratio == pytest.approx(9 / 5)
    assert found.throughput.value == pytest.approx(found.wall.value * found.token_ratio)
    # tau 4, wall per cycle 0.9 / 4 against 0.9 / 2; 8 of 9 tokens are the cycles' against 4 of 5
    assert found.decomposition.tau_ratio * found.decomposition.cycle_ratio == pytest.approx(4 * 0.5)
    assert not found.decomposition.is_exact and found.decomposition.rest == pytest.approx((9 / 8) / (5 / 4))
    assert found.identical_share == 0.0
    assert any("output_tokens differ" in text for text in found.warnings)


def test_rounds_are_the_unit_of_a_pair_where_there_are_several(write, logs):
    for round, seconds in enumerate((0.1, 0.2)):
        write("a", [baseline_cycles(4, 0.1)], options={"block_size": 1}, round=round)
        write("b", [[(4, 4, 4 * seconds / 4)]], round=round)
    (found,) = analysis(logs).pairs
    # 4 tokens take 0.4 s against 0.1 and 0.2 s: speed-ups 4 and 2
    assert (found.tpot.value, found.tpot.unit, found.tpot.n) == (pytest.approx(8**0.5), "round", 2)
    assert (found.rounds, found.samples) == (2, 2)


def test_samples_are_paired_by_their_identity_not_their_place(logs, make_sample):
    slow, quick = steps([(1, 1, 0.4)]), steps([(1, 1, 0.1)])
    logs.write(
        "a",
        0,
        [make_sample(0, slow), make_sample(1, quick)],
        options={"block_size": 1},
        backend="s",
        kind="speculative",
    )
    swapped = [make_sample(0, quick, sample_id="p1"), make_sample(1, slow, sample_id="p0")]
    logs.write("b", 0, swapped, options={"block_size": 4}, backend="s")
    (found,) = analysis(logs).pairs
    assert found.tpot_geomean.value == pytest.approx(1.0)
    assert (found.tpot_geomean.low, found.tpot_geomean.high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert any("prompt_hash differs for 2 prompts" in text for text in found.warnings)


def test_unlike_conditions_of_a_pair_are_named(write, logs):
    write("a", PLAIN, options={"block_size": 1}, sampling={"temperature": 0.7})
    write("b", environment={"hostname": "other"}, device="cuda:0")
    (found,) = analysis(logs).pairs
    for text in ("hostname differs: other", "device differs: cuda:0", "sampling.temperature differs: 0.0"):
        assert any(text in warning for warning in found.warnings), text
    assert found.identical_share is None  # sampled outputs differ by design


def test_without_a_common_prompt_nothing_is_compared(write, logs):
    write("a", PLAIN, options={"block_size": 1}, sample={"sample_id": "x"})
    write("b", sample={"sample_id": "y"})
    (found,) = analysis(logs).pairs
    assert (found.samples, found.tpot.value, found.decomposition, found.cycle_time) == (0, None, None, None)
    assert any("no prompt in common" in text for text in found.warnings)


def test_a_baseline_out_of_another_log_is_no_silent_one(write, logs):
    write("a", PLAIN, options={"block_size": 1}, source_format="other")
    write("b", source_format="other")
    (found,) = analysis(logs).pairs
    assert "other logs: raw/b/b_0.jsonl of 'spec f16 block_size=4', raw/a/a_0.jsonl" in found.warnings[0]


def test_the_baseline_is_the_cell_of_the_same_backend_that_drafted_nothing(write, logs, make_sample, make_steps):
    logs.write("p", 0, [make_sample(0, make_steps())], backend="plain", cell_index=0)
    write("a", options={"block_size": 4}, cell_index=1)
    write("b", PLAIN, options={"block_size": 1}, cell_index=2)
    write("o", backend="other", options={"block_size": 4}, cell_index=3)
    found = {cell.cell.label: cell.baseline for cell in analysis(logs).cells}
    assert found == {
        "plain f16": "plain f16",
        "spec f16 block_size=4": "spec f16 block_size=1",
        "spec f16 block_size=1": "spec f16 block_size=1",
        "other f16": "plain f16",
    }
    plain = analysis(logs).cells[0]
    assert plain.acceptance is None and plain.blocks is None and plain.decode_tokens_per_s.value == pytest.approx(10)
    assert {each.baseline for each in analysis(logs, baseline="other").pairs} == {"other f16"}
    with refused("unknown-name", nearest="other"):
        analysis(logs, baseline="othr")


def test_failed_rounds_and_samples_never_count(write, logs, make_sample):
    write("a", [[(4, 4, 0.1)]])
    write("a", [[(4, 1, 0.1)]], round=1, status="timeout")
    logs.write("a", 2, [make_sample(0, steps([(4, 1, 0.1)]), status="failed")], backend="spec", kind="speculative",
               options={"block_size": 4})  # fmt: skip
    cell = analysis(logs).cells[0]
    assert (cell.rounds, cell.failed, cell.samples, cell.acceptance.tau.value) == (2, 1, 1, 4.0)


def test_nothing_that_drafts_is_a_clear_error_that_names_what_does(write, logs):
    logs.write("p", experiment="plain")
    write("a")
    with refused("no-results", "'plain'", "--experiment exp"):
        analysis(logs, experiment="plain")


def test_a_speculative_log_without_steps_has_what_it_supports(logs):
    logs.write("a", 0, [], kind="speculative", load={"import_s": 4.4})
    cell = analysis(logs).cells[0]
    assert (cell.acceptance, cell.time, cell.samples) == (None, None, 0)
    assert cell.start_up.import_s == 4.4 and cell.output_tokens_mean is None


CYCLES = st.lists(  # blocks of two at least: a cell whose cycles draft nothing is a baseline
    st.lists(st.integers(2, 12).flatmap(lambda b: st.tuples(st.just(b), st.integers(1, b), st.just(0.1))), min_size=1),
    min_size=1,
    max_size=4,
)


@settings(max_examples=examples(15), deadline=None)
@given(samples=CYCLES, other=CYCLES, finish=st.sampled_from(["stop", "length"]))
def test_identities(samples, other, finish, tmp_path_factory, make_logs, make_sample):
    logs = make_logs(tmp_path_factory.mktemp("identities"))
    for cell, content in (("a", samples), ("b", other)):
        made = [make_sample(i, steps(cycles), finish=finish) for i, cycles in enumerate(content)]
        logs.write(cell, 0, made, kind="speculative")
    result = analysis(logs)
    for cell, content in zip(result.cells, (samples, other), strict=True):
        every = sum(map(len, content))
        if cell.acceptance is None:
            assert finish == "length" and every == len(content)
            continue
        found = cell.acceptance
        assert sum(found.tau_counts) == found.cycles == sum(use.cycles for use in cell.blocks.sizes)
        assert found.cycles == every - (len(content) if finish == "length" else 0)
        assert sum(found.tau_shares) == pytest.approx(1) == sum(use.share for use in cell.blocks.sizes)
        assert sum(tau * count for tau, count in enumerate(found.tau_counts)) == found.tokens
        # tau = 1 + accepted drafts, which are the positions that were accepted
        assert found.tokens == found.cycles + sum(position.accepted for position in found.positions)
        low = sum(use.below_half_share * use.cycles for use in cell.blocks.sizes)
        assert found.below_half_share * found.cycles == pytest.approx(low)
    taken = result.pairs[0].decomposition
    assert taken.throughput_ratio == pytest.approx(taken.tau_ratio * taken.cycle_ratio * taken.rest)
    assert taken.is_exact == (abs(taken.rest - 1) < 1e-9)


@settings(max_examples=examples(10), deadline=None)
@given(samples=st.lists(CYCLES.map(lambda content: content[0]), min_size=2, max_size=2))
def test_the_decomposition_is_exact_where_cycles_make_all_tokens(samples, tmp_path_factory, make_logs, make_sample):
    """With the first token left to the first cycle, the sum of taus is the number of tokens."""
    logs = make_logs(tmp_path_factory.mktemp("exact"))
    for cell, cycles in zip("ab", samples, strict=True):
        made = steps(cycles)
        made[0] |= {"tokens": 0, "token_ids": []}
        logs.write(cell, 0, [make_sample(0, made)], kind="speculative")
    (found,) = analysis(logs).pairs
    assert found.decomposition.is_exact
    assert found.throughput.value == pytest.approx(found.decomposition.tau_ratio * found.decomposition.cycle_ratio)


def test_everything_stands_within_80_columns(write, logs):
    three_ways(write)
    text = shown(analysis(logs))
    assert "\x1b" not in text and "…" not in text and max(map(len, text.splitlines())) <= 80
    headers = [line for line in text.splitlines() if line.startswith(" cell ")]
    ends = ("b/2", "cycles", "cycles by tau", "rate", "outputs", "start-up")
    assert all(header.rstrip().endswith(end) for header, end in zip(headers, ends, strict=True)), headers
    for word in ("3.00 x", "+1.00"):
        assert word in text, word


def test_a_warning_of_a_cell_calls_it_as_the_tables_do(write, logs):
    three_ways(write)
    write(
        "d", round=1, options={"block_size": 4, "candidate_mode": "branch_beam", "max_candidates": 4}, status="failed"
    )
    found = analysis(logs)
    (label,) = [cell.cell.label for cell in found.cells if cell.failed]
    assert f"warning: {cell_names(found)[label]}: 1 round did not finish" in " ".join(shown(found).split())


def test_cells_go_by_what_tells_them_apart_and_by_number_where_that_is_long(write, logs):
    write("a", PLAIN, options={"block_size": 1, "draft": "x"})
    write("b", options={"block_size": 4, "draft": "x"})
    assert list(cell_names(analysis(logs)).values()) == ["block_size=1", "block_size=4"]
    write("c", options={"block_size": 4, "draft": "a long name"})
    assert list(cell_names(analysis(logs)).values()) == ["1", "2", "3"]


def test_brackets_in_a_name_are_no_markup(write, logs):
    write("a", model="[/bold]")
    write("b", model="[red]x")
    assert "[/bold]" in shown(analysis(logs)) and "[red]x" in shown(analysis(logs))


@pytest.mark.parametrize(("has_unicode", "drawn"), [(True, "█▄▁ "), (False, "9500")])
def test_bars_have_a_plain_form(has_unicode, drawn):
    assert bars([1.0, 0.5, 0.01, 0.0], has_unicode=has_unicode) == drawn


def test_the_command_shows_tables_in_a_pipe(write, logs, cli):
    three_ways(write)
    ended = cli("speculation", logs.folder, "--baseline", "cell-b")
    assert ended.code == 0 and "\x1b" not in ended.out and ended.err == ""
    for text in ("exp: speculative decoding", "max_candidates=4, the baseline"):
        assert text in ended.out, text


def test_the_command_prints_the_model_as_json(write, logs, cli):
    write("a", PLAIN, options={"block_size": 1})
    write("b")
    content = json.loads(cli("speculation", logs.folder, "--steady-state", "--json").out)
    assert content["steady_state"] is True and [cell["samples"] for cell in content["cells"]] == [1, 1]
    assert content["pairs"][0]["cell"] == "spec f16 block_size=4"


def test_the_command_words_its_errors(write, logs, cli):
    logs.write("p")
    refused = cli("speculation", logs.folder)
    assert refused.code == 2 and refused.err.endswith("[no-results]\n") and "Traceback" not in refused.err
