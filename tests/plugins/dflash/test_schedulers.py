"""Schedulers against exact sequences, computed from the published rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.plugins.dflash.options import DFlashOptions
from decodebench.plugins.dflash.schedulers import Observation, make_scheduler


def blocks(kind, tau_of, cycle_s_of, cycles):
    """Run a scheduler with its defaults; return the block sizes that it chose, and itself."""
    scheduler = make_scheduler(DFlashOptions(scheduler=kind), 16)
    chosen = []
    for cycle in range(cycles):
        size = scheduler.select(cycle)
        chosen.append(size)
        scheduler.update(Observation(cycle, tau_of(cycle, size), cycle_s_of(size), size, size))
    return chosen, scheduler


def wavering(cycle, size):
    return 1 + (7 * cycle + 3) % size


def collapsing(cycle, size):
    return min(size, 10) if cycle < 20 else min(size, 3)


def test_ewma_with_a_wavering_tau():
    chosen, scheduler = blocks("ewma", wavering, lambda size: 0.05, 40)
    assert chosen == [8, 12, 8, 16, 16, *[12] * 7, 16, 16, 12, *[16] * 11, 8, *[16] * 11, 12, 16]
    assert [chosen.count(size) for size in (8, 12, 16)] == [3, 10, 27]
    assert scheduler.scores == pytest.approx({8: 72.4, 12: 166.348819, 16: 167.93259})


COLLAPSE = [8, 12, 8, *[16] * 11, 12, *[16] * 7, 12, 12, 8, 8, 16, 12, 12, 8, 8, 8, 16, 16, 12, 12, 8, 8, 12, 16]


def test_ewma_with_a_tau_that_collapses():
    chosen, scheduler = blocks("ewma", collapsing, lambda size: 0.05, 40)
    assert chosen == COLLAPSE
    assert scheduler.scores == pytest.approx({8: 107.82969, 12: 126.961566, 16: 134.40174})


def test_ewma_where_longer_blocks_cost_more():
    chosen, _ = blocks("ewma", lambda cycle, size: min(size, 12), lambda size: 0.02 + 0.002 * size, 30)
    assert chosen == [8, 12, 8, 16, 16, *[12] * 9, 16, *[12] * 11, 8, 12, 12, 12]


def test_adl_ewma_follows_its_lengths():
    chosen, scheduler = blocks("adl_ewma", collapsing, lambda size: 0.05, 30)
    assert chosen == COLLAPSE[:30]
    state = scheduler.trace()
    assert (state["adl_target_k"], state["adl_target_bs"]) == (11, 12)
    assert state["adl_lgen_hat"] == pytest.approx(10.94622, abs=1e-5)
    assert state["adl_lacc_hat"] == pytest.approx(3.197629, abs=1e-6)


def test_threshold_goes_down_and_up_again():
    chosen, _ = blocks("threshold", lambda c, b: min(b, 10) if c < 12 or c >= 24 else min(b, 3), lambda size: 0.05, 40)
    assert chosen == [16] * 16 + [8] * 13 + [16] * 11


def test_a_clamped_block_at_the_end_teaches_nothing():
    scheduler = make_scheduler(DFlashOptions(scheduler="ewma"), 16)
    scheduler.update(Observation(0, 5, 0.05, 5, 5))
    assert scheduler.scores == {}


def test_a_fixed_block_stays():
    scheduler = make_scheduler(DFlashOptions(), 11)
    assert {scheduler.select(cycle) for cycle in range(5)} == {scheduler.largest} == {11}


@given(
    st.sampled_from(["threshold", "ewma", "adl_ewma"]),
    st.sets(st.integers(2, 24), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(1, 24), st.floats(1e-4, 1.0), st.integers(1, 24)), max_size=60),
    st.integers(0, 4),
    st.integers(0, 6),
)
def test_only_the_given_sizes_are_ever_chosen(kind, sizes, cycles, warmup, interval):
    options = DFlashOptions(
        scheduler=kind, candidate_block_sizes=tuple(sizes), warmup_cycles=warmup, probe_interval=interval
    )
    scheduler = make_scheduler(options, 16)
    assert scheduler.largest == max(sizes)
    for cycle, (tau, cycle_s, length) in enumerate(cycles):
        size = scheduler.select(cycle)
        assert size in sizes
        scheduler.update(Observation(cycle, min(tau, size), cycle_s, size, min(length, size)))
