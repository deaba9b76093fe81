"""Derived figures of speculative decoding on synthetic logs whose values are worked out by hand."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from decodebench.collate.collate import collate
from decodebench.collate.speculation import analyse, pair
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.viz.terminal.speculation import bars, cell_names, speculation_view


def analysis(logs, experiment="exp", **arguments):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return analyse(store, experiment, **arguments)


def steps(cycles, ttft=0.5):
    """A prefill step of one token after ``ttft`` seconds, then one step per cycle.

    A cycle is (block, tokens, seconds) or that with a dict of further fields.
    """
    made = [{"index": 0, "t_s": ttft, "step_s": ttft, "tokens": 1, "token_ids": [1]}]
    for index, (block, tokens, seconds, *more) in enumerate(cycles, start=1):
        made.append({
            "index": index, "t_s": made[-1]["t_s"] + seconds, "step_s": seconds, "tokens": tokens,
            "token_ids": [1] * tokens, "block_size": block, "drafted": block - 1, "accepted": tokens - 1,
            "forwards": 1, **(more[0] if more else {}),
        })  # fmt: skip
    return made


TWO_SAMPLES = (
    [(4, 4, 0.2), (4, 1, 0.1), (4, 2, 0.1)],
    [(4, 1, 0.1), (4, 1, 0.1)],
)


@pytest.fixture
def write(logs, make_sample):
    """Write one round: ``write(cell, samples)`` with the cycles of each sample."""

    def write_round(cell, samples=TWO_SAMPLES, round=0, finish="stop", sample=(), **run):
        content = [
            make_sample(i, steps(cycles), finish=finish, **dict(sample)) for i, cycles in enumerate(samples)
        ]  # fmt: skip
        options = run.pop("options", {"block_size": 4})
        run = {"backend": "spec", "kind": "speculative", "options": options, **run}
        return logs.write(cell, round, content, samples=len(samples), **run)

    return write_round


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


def test_the_cycle_that_the_limit_cuts_counts_in_the_published_figures_only(write, logs):
    write("a", [[(4, 4, 0.2), (4, 3, 0.2), (1, 1, 0.1)]], finish="length")
    cell = analysis(logs).cells[0]
    assert (cell.acceptance.cycles, cell.acceptance.tau.value) == (2, 3.5)
    assert (cell.published.cycles, cell.published.tau) == (3, pytest.approx(8 / 3))
    assert cell.published.block_counts == {1: 1, 4: 2} and [use.block_size for use in cell.blocks.sizes] == [4]
    assert (cell.blocks.switches, cell.blocks.transitions) == (0, 1)
    assert (cell.published.switches, cell.published.transitions) == (1, 2)
    assert cell.published.tau_shares == pytest.approx((0, 1 / 3, 0, 1 / 3, 1 / 3))
    assert (cell.hit_cap, cell.hit_cap_share, cell.output_tokens_mean) == (1, 1.0, 9.0)


def test_a_cycle_that_a_stop_cuts_counts_what_it_committed_and_published_what_it_verified(write, logs):
    write("a", [[(4, 2, 0.2), (4, 2, 0.2, {"accepted": 3, "trace": {"tau": 4}})]])
    cell = analysis(logs).cells[0]
    assert (cell.acceptance.tau.value, cell.published.tau) == (2.0, 3.0)


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
    cell = analysis(logs).cells[0]
    time = cell.time
    assert (time.clock, time.cycle_s, time.engine_cycle_s) == ("runner", pytest.approx(0.25), pytest.approx(0.2))
    assert (time.draft_s, time.verify_s) == (pytest.approx(0.03), pytest.approx(0.1))
    assert time.draft_share_of_cycle == pytest.approx(0.06 / 0.5)
    assert time.verify_share_of_cycle == pytest.approx(0.2 / 0.5)
    assert cell.published.draft_share == pytest.approx(0.06 / 0.26)
    assert cell.published.verify_s_per_cycle == pytest.approx(0.1)


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
    assert cell.e2e_tokens_per_s.value is None and cell.published.draft_share is None


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


def candidate(count, chosen, taus, **trace):
    more = {"chosen_candidate_idx": chosen, "candidate_taus": taus, "candidate_rank_variants": [1, 2, 3, 4][:count]}
    return {"candidates": count, "trace": more | trace}


def test_candidates_by_hand(write, logs):
    samples = [
        [
            (4, 2, 0.1, candidate(4, 1, [1, 2, 1, 1], cycle_max_candidates=4)),
            (4, 3, 0.1, candidate(2, 0, [3, 1], cycle_max_candidates=8)),
            (4, 4, 0.1, candidate(4, 3, [1, 1, 1, 4], cycle_max_candidates=4)),
        ],
        [(4, 1, 0.1, candidate(1, 0, [1], cycle_max_candidates=1))],
    ]
    write("a", samples)
    use = analysis(logs).cells[0].candidates
    assert use.candidates_per_cycle == pytest.approx(11 / 4)
    assert use.candidates_per_cycle_mean == pytest.approx((10 / 3 + 1) / 2)
    assert use.verify_calls_per_sample == 2.0  # three and one
    assert use.most_candidates == 4
    assert use.budget_counts == {1: 1, 4: 2, 8: 1}
    assert use.chosen_counts == {0: 2, 1: 1, 3: 1} and use.rank_counts == {1: 2, 2: 1, 4: 1}
    assert use.not_greedy_share == 0.5
    assert use.gained_tokens_per_cycle == pytest.approx((1 + 0 + 3 + 0) / 4)


def test_candidates_are_absent_without_the_machinery(write, logs):
    write("a")
    cell = analysis(logs).cells[0]
    assert cell.candidates is None and cell.seeding is None


def test_seeding_by_hand(write, logs):
    def seeds(available, seeded, left):
        return {"trace": {"recycled_available": available, "seeded_count": seeded, "recycled_next": left}}

    write("a", [[(4, 2, 0.1, seeds(0, 0, 2)), (4, 1, 0.1, seeds(2, 2, 3)), (4, 3, 0.1, seeds(3, 0, 1))]])
    use = analysis(logs).cells[0].seeding
    assert (use.cycles, use.attempted_cycles, use.seeded_cycles, use.seeded_tokens, use.recycled_tokens) == (
        3, 2, 1, 2, 6,
    )  # fmt: skip
    assert (use.seeded_share, use.seeded_tokens_per_cycle) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_ranks_that_are_no_numbers_are_left_out(write, logs):
    ranks = {"candidate_rank_variants": [None, 3]}
    write("a", [[(4, 2, 0.1, candidate(2, 1, [1, 2], **ranks)), (4, 2, 0.1, candidate(2, 0, [2, 1], **ranks))]])
    use = analysis(logs).cells[0].candidates
    assert (use.rank_counts, use.chosen_counts, use.gained_tokens_per_cycle) == ({3: 1}, {0: 1, 1: 1}, 0.5)


def test_multi_round_sampling_counts_its_rounds_and_has_no_positions(write, logs):
    cycles = [(16, 1, 0.1, {"drafted": n, "accepted": 1, "trace": {"round_idx": n}}) for n in (1, 1, 2, 3)]
    write("a", [cycles])
    found = analysis(logs).cells[0].acceptance
    assert (found.round_counts, found.round_mean, found.positions) == ({1: 2, 2: 1, 3: 1}, 7 / 4, ())


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


def test_published_figures_stand_beside_ours(logs, make_sample):
    engine = [
        {"published_tpot_s": 0.1, "published_ttft_s": 0.3, "published_wall_s": 1.0, "published_output_tokens": 6.0},
        {"published_tpot_s": 0.3, "published_ttft_s": 0.5, "published_wall_s": 3.0, "published_output_tokens": 10.0},
    ]
    content = [make_sample(i, steps([(4, 4, 0.4)]), engine=engine[i]) for i in range(2)]
    logs.write("a", 0, content, kind="speculative")
    cell = analysis(logs).cells[0]
    assert (cell.published.tpot_s, cell.published.ttft_s) == (pytest.approx(0.2), pytest.approx(0.4))
    assert cell.published.tokens_per_s == pytest.approx(16 / 4)
    assert cell.tpot_s.value == pytest.approx(0.1)  # 4 tokens in 0.4 s


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


def baseline_cycles(tokens, seconds):
    """What the same loop does with a block of one: a token a cycle."""
    return [(1, 1, seconds)] * tokens


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
    assert pair(result, "spec f16 block_size=4", "spec f16 block_size=1") == found
    back = pair(result, "spec f16 block_size=1", "cell-b")
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
    logs.write("a", 0, [make_sample(0, slow), make_sample(1, quick)], options={"block_size": 1}, backend="s")
    swapped = [make_sample(0, quick, sample_id="p1"), make_sample(1, slow, sample_id="p0")]
    logs.write("b", 0, swapped, options={"block_size": 4}, backend="s")
    (found,) = analysis(logs).pairs
    assert found.tpot_geomean.value == pytest.approx(1.0)
    assert (found.tpot_geomean.low, found.tpot_geomean.high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert any("prompt_hash differs for 2 prompts" in text for text in found.warnings)


def test_unlike_conditions_of_a_pair_are_named(write, logs):
    write("a", options={"block_size": 1}, sampling={"temperature": 0.7})
    write("b", environment={"hostname": "other"}, device="cuda:0")
    (found,) = analysis(logs).pairs
    for text in ("hostname differs: other", "device differs: cuda:0", "sampling.temperature differs: 0.0"):
        assert any(text in warning for warning in found.warnings), text
    assert found.identical_share is None  # sampled outputs differ by design


def test_without_a_common_prompt_nothing_is_compared(write, logs):
    write("a", options={"block_size": 1}, sample={"sample_id": "x"})
    write("b", sample={"sample_id": "y"})
    (found,) = analysis(logs).pairs
    assert (found.samples, found.tpot.value, found.decomposition, found.cycle_time) == (0, None, None, None)
    assert any("no prompt in common" in text for text in found.warnings)


def three_ways(write):
    off, on = ({"candidates": n, "trace": {"chosen_candidate_idx": 0}} for n in (1, 4))
    common = {"block_size": 4, "candidate_mode": "none", "max_candidates": 4}
    mode = {"candidate_mode": "branch_beam"}
    write("a", [baseline_cycles(6, 0.1)], options={**common, "block_size": 1}, cell_index=0)
    write("b", [[(4, 2, 0.1)] * 3], options=common, cell_index=1)
    write("c", [[(4, 2, 0.125, off)] * 3], options={**common, **mode, "max_candidates": 1}, cell_index=2)
    write("d", [[(4, 3, 0.15, on)] * 2], options={**common, **mode}, cell_index=3)


def test_three_ways_take_candidates_apart(write, logs):
    three_ways(write)
    (design,) = analysis(logs).designs
    assert "max_candidates=1" in design.off and "candidate_mode=none" in design.vanilla
    assert "block_size=4" in design.vanilla
    # six tokens take 0.3 s without, 0.375 s with the machinery alone, 0.3 s with candidates
    assert design.machinery.tpot.value == pytest.approx(0.3 / 0.375)
    assert design.candidates.tpot.value == pytest.approx(0.375 / 0.3)
    assert design.whole.tpot.value == pytest.approx(1.0)
    assert (design.machinery.tau_delta.value, design.candidates.tau_delta.value) == (0.0, 1.0)
    assert design.candidates.cycle_time == pytest.approx(0.125 / 0.15)


def test_no_design_without_all_three(write, logs):
    write("a", [[(4, 2, 0.1, {"candidates": 4})]], options={"candidate_mode": "branch_beam"})
    write("b", [[(4, 2, 0.1)]], options={"candidate_mode": "none"})
    assert analysis(logs).designs == ()


def test_candidates_that_a_log_without_traces_hides_are_not_taken_for_vanilla(write, logs):
    three_ways(write)
    options = {"block_size": 4, "candidate_mode": "branch_beam", "max_candidates": 4, "branch_depth": 6}
    write("b", [[(4, 2, 0.1)] * 3], options=options, cell_index=1)
    assert analysis(logs).designs == ()


def test_a_baseline_out_of_another_log_is_no_silent_one(write, logs):
    write("a", options={"block_size": 1}, source_format="other")
    write("b", source_format="other")
    (found,) = analysis(logs).pairs
    assert "other logs: raw/b/b_0.jsonl of 'spec f16 block_size=4', raw/a/a_0.jsonl" in found.warnings[0]


def test_the_baseline_is_the_block_of_one_of_the_same_backend(write, logs, make_sample, make_steps):
    logs.write("p", 0, [make_sample(0, make_steps())], backend="plain", cell_index=0)
    write("a", options={"block_size": 4}, cell_index=1)
    write("b", options={"block_size": 1}, cell_index=2)
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
    with pytest.raises(UsageError, match="did you mean 'other'"):
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
    with pytest.raises(UsageError, match="'plain' has no speculative decoding.*try --experiment exp"):
        analysis(logs, experiment="plain")


def test_a_speculative_log_without_steps_has_what_it_supports(logs):
    logs.write("a", 0, [], kind="speculative", load={"import_s": 4.4})
    cell = analysis(logs).cells[0]
    assert (cell.acceptance, cell.time, cell.published, cell.samples) == (None, None, None, 0)
    assert cell.start_up.import_s == 4.4 and cell.output_tokens_mean is None


def test_an_unknown_cell_of_a_pair_is_suggested(write, logs):
    write("a")
    result = analysis(logs)
    with pytest.raises(UsageError, match="unknown cell 'spec f17'; did you mean 'spec f16'"):
        pair(result, "spec f17", "spec f16")


CYCLES = st.lists(
    st.lists(st.integers(1, 12).flatmap(lambda b: st.tuples(st.just(b), st.integers(1, b), st.just(0.1))), min_size=1),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15, deadline=None)
@given(samples=CYCLES, other=CYCLES, finish=st.sampled_from(["stop", "length"]))
def test_identities(samples, other, finish, tmp_path_factory, make_logs, make_sample):
    logs = make_logs(tmp_path_factory.mktemp("identities"))
    for cell, content in (("a", samples), ("b", other)):
        made = [make_sample(i, steps(cycles), finish=finish) for i, cycles in enumerate(content)]
        logs.write(cell, 0, made, kind="speculative")
    result = analysis(logs)
    for cell, content in zip(result.cells, (samples, other), strict=True):
        every, published = sum(map(len, content)), cell.published
        assert published.cycles == every == sum(published.block_counts.values())
        assert published.transitions == every - len(content)
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


@settings(max_examples=10, deadline=None)
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


def shown(result, width=80):
    output = io.StringIO()
    Console(file=output, width=width).print(speculation_view(result))
    return output.getvalue()


def test_everything_stands_within_80_columns(write, logs):
    three_ways(write)
    text = shown(analysis(logs))
    assert "\x1b" not in text and "…" not in text and max(map(len, text.splitlines())) <= 80
    headers = [line for line in text.splitlines() if line.startswith(" cell ")]
    ends = ("b/2", "rounds", "cycles by tau", "rate", "chosen rank", "outputs", "time", "start-up")
    assert all(header.rstrip().endswith(end) for header, end in zip(headers, ends, strict=True)), headers
    for word in ("machinery: 3 against 2", "0.80", "1:2", "3.00 x", "+1.00"):
        assert word in text, word


def test_cells_go_by_what_tells_them_apart_and_by_number_where_that_is_long(write, logs):
    write("a", options={"block_size": 1, "draft": "x"})
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
    for text in ("exp: speculative decoding", "max_candidates=4, the baseline", "machinery: 3 against 2"):
        assert text in ended.out, text


def test_the_command_prints_the_model_as_json(write, logs, cli):
    write("a", options={"block_size": 1})
    write("b")
    content = json.loads(cli("speculation", logs.folder, "--steady-state", "--json").out)
    assert content["steady_state"] is True and [cell["samples"] for cell in content["cells"]] == [1, 1]
    assert content["pairs"][0]["cell"] == "spec f16 block_size=4"


def test_the_command_words_its_errors(write, logs, cli):
    logs.write("p")
    refused = cli("speculation", logs.folder)
    assert refused.code == 2 and "no step tells what was drafted" in refused.err and "Traceback" not in refused.err
