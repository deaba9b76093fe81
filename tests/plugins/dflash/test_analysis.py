"""Figures of DFlash's own analyses on synthetic logs whose values are worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import decodebench
from decodebench.plugins.dflash.analysis import ANALYSES

from ...collate.conftest import Logs, sample
from ...collate.verify_cycles import analysis, shown, steps, three_ways, writer


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


@pytest.fixture
def write(logs):
    return writer(logs, sample)


def sections(logs):
    return analysis(logs, further=ANALYSES).sections


def only(logs, name):
    """The figures of the one cell that has this section."""
    (figures,) = sections(logs)[name].cells.values()
    return figures


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
    use = only(logs, "candidates")
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
    assert set(sections(logs)) == {"published"}


def test_seeding_by_hand(write, logs):
    def seeds(available, seeded, left):
        return {"trace": {"recycled_available": available, "seeded_count": seeded, "recycled_next": left}}

    write("a", [[(4, 2, 0.1, seeds(0, 0, 2)), (4, 1, 0.1, seeds(2, 2, 3)), (4, 3, 0.1, seeds(3, 0, 1))]])
    use = only(logs, "seeding")
    assert (use.cycles, use.attempted_cycles, use.seeded_cycles, use.seeded_tokens, use.recycled_tokens) == (
        3, 2, 1, 2, 6,
    )  # fmt: skip
    assert (use.seeded_share, use.seeded_tokens_per_cycle) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_ranks_that_are_no_numbers_are_left_out(write, logs):
    ranks = {"candidate_rank_variants": [None, 3]}
    write("a", [[(4, 2, 0.1, candidate(2, 1, [1, 2], **ranks)), (4, 2, 0.1, candidate(2, 0, [2, 1], **ranks))]])
    use = only(logs, "candidates")
    assert (use.rank_counts, use.chosen_counts, use.gained_tokens_per_cycle) == ({3: 1}, {0: 1, 1: 1}, 0.5)


def test_three_ways_take_candidates_apart(write, logs):
    three_ways(write)
    (design,) = sections(logs)["candidates"].designs
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
    assert sections(logs)["candidates"].designs == ()


def test_candidates_that_a_log_without_traces_hides_are_not_taken_for_vanilla(write, logs):
    three_ways(write)
    options = {"block_size": 4, "candidate_mode": "branch_beam", "max_candidates": 4, "branch_depth": 6}
    write("b", [[(4, 2, 0.1)] * 3], options=options, cell_index=1)
    assert sections(logs)["candidates"].designs == ()


def test_published_figures_stand_beside_ours(logs):
    engine = [
        {"published_tpot_s": 0.1, "published_ttft_s": 0.3, "published_wall_s": 1.0, "published_output_tokens": 6.0},
        {"published_tpot_s": 0.3, "published_ttft_s": 0.5, "published_wall_s": 3.0, "published_output_tokens": 10.0},
    ]
    content = [sample(i, steps([(4, 4, 0.4)]), engine=engine[i]) for i in range(2)]
    logs.write("a", 0, content, kind="speculative")
    found = only(logs, "published")
    assert (found.tpot_s, found.ttft_s) == (pytest.approx(0.2), pytest.approx(0.4))
    assert found.tokens_per_s == pytest.approx(16 / 4)
    assert found.our_tpot_s == pytest.approx(0.1)  # 4 tokens in 0.4 s


def test_the_published_speed_up_is_that_of_mean_times_per_token(logs):
    for cell, block, tpot_s in (("a", 1, 0.4), ("b", 4, 0.1)):
        content = [sample(0, steps([(block, block, 0.4)]), engine={"published_tpot_s": tpot_s})]
        logs.write(cell, 0, content, kind="speculative", backend="spec", options={"block_size": block})
    base, own = sections(logs)["published"].cells.values()
    assert (base.tpot_speedup, own.tpot_speedup) == (None, pytest.approx(4.0))


def test_every_cycle_counts_in_the_published_figures(write, logs):
    write("a", [[(4, 4, 0.2), (4, 3, 0.2), (1, 1, 0.1)]], finish="length")
    found = only(logs, "published")
    assert (found.cycles, found.tau, found.block_counts) == (3, pytest.approx(8 / 3), {1: 1, 4: 2})
    assert (found.switches, found.transitions) == (1, 2)
    assert found.tau_shares == pytest.approx((0, 1 / 3, 0, 1 / 3, 1 / 3))


def test_a_cycle_that_a_stop_cuts_counts_what_it_verified(write, logs):
    write("a", [[(4, 2, 0.2), (4, 2, 0.2, {"accepted": 3, "trace": {"tau": 4}})]])
    found = only(logs, "published")
    assert (found.tau, found.our_tau_mean) == (3.0, 2.0)


def test_the_published_share_of_drafting_leaves_out_the_rest_of_a_cycle(write, logs):
    first, second = ({"draft_s": seconds, "verify_s": 0.1, "engine_s": 0.2} for seconds in (0.02, 0.04))
    write("a", [[(4, 4, 0.2, first), (4, 2, 0.3, second)]])
    found = only(logs, "published")
    assert (found.draft_share, found.verify_s_per_cycle) == (pytest.approx(0.06 / 0.26), pytest.approx(0.1))


def test_multi_round_sampling_counts_its_rounds_and_has_no_positions(write, logs):
    cycles = [(16, 1, 0.1, {"drafted": n, "accepted": 1, "trace": {"round_idx": n}}) for n in (1, 1, 2, 3)]
    write("a", [cycles])
    found = only(logs, "rounds")
    assert (found.counts, found.mean) == ({1: 2, 2: 1, 3: 1}, 7 / 4)
    result = analysis(logs, further=ANALYSES)
    assert result.cells[0].acceptance.positions == ()
    assert "tokens by the round that found them 1:2 2:1 3:1" in shown(result)


def test_the_sections_stand_within_80_columns(write, logs):
    three_ways(write)
    text = shown(analysis(logs, further=ANALYSES))
    assert "\x1b" not in text and "…" not in text and max(map(len, text.splitlines())) <= 80
    headers = [line for line in text.splitlines() if line.startswith(" cell ")]
    ends = ("b/2", "cycles", "cycles by tau", "rate", "outputs", "chosen rank", "time", "start-up")
    assert all(header.rstrip().endswith(end) for header, end in zip(headers, ends, strict=True)), headers
    for word in ("machinery: 3 against 2", "0.80", "1:2", "+1.00"):
        assert word in text, word


def test_the_command_has_the_sections(write, logs, cli):
    three_ways(write)
    ended = cli("speculation", logs.folder, "--baseline", "cell-b")
    assert ended.code == 0 and "machinery: 3 against 2" in ended.out
    content = json.loads(cli("speculation", logs.folder, "--json").out)["sections"]
    assert len(content["candidates"]["designs"]) == 1
    assert [cell["most_candidates"] for cell in content["candidates"]["cells"].values()] == [1, 4]


def test_nobody_else_looks_into_a_trace():
    """What a decoder records by its own names is read by its plugin only."""
    root = Path(decodebench.__file__).parent
    found = [
        f"{file}: {line.strip()}"
        for room in ("core", "collate", "viz")
        for file in (root / room).rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"""trace(->|\[|\.get|"\]\[|"\]\.get)""", line)
    ]
    assert not found
