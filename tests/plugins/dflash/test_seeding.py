"""Where rejected tokens come back, and the sums that finished samples must keep."""

from __future__ import annotations

import pytest

from decodebench import PluginError
from decodebench.plugins.dflash.accounting import check_sample
from decodebench.plugins.dflash.seeding import SuffixSeeder

BLOCK = [7, 11, 12, 13, 14, 15, 16, 17]  # anchor and seven drafted tokens


def hints(mode, alignment, tau=3, max_tokens=-1, block_size=8):
    seeder = SuffixSeeder(mode, max_tokens, alignment)
    seeder.observe(BLOCK, tau)
    return seeder.hints(block_size), seeder.trace()


def test_a_token_stands_where_it_was_drafted_for():
    """With tau 3 the token at place 3 becomes the anchor's position, so 14 belongs one behind it."""
    assert hints("dense", "positional")[0] == {1: 14, 2: 15, 3: 16, 4: 17}
    assert hints("sparse", "positional")[0] == {2: 15, 4: 17}
    assert hints("dense", "positional", max_tokens=2)[0] == {1: 14, 2: 15}


def test_the_published_places_are_late():
    assert hints("dense", "published")[0] == {1: 13, 2: 14, 3: 15, 4: 16, 5: 17}
    assert hints("sparse", "published")[0] == {2: 13, 4: 14, 6: 15}
    assert hints("sparse", "published", max_tokens=2)[0] == {2: 13, 4: 14}


def test_the_counts_of_a_cycle():
    _, counts = hints("sparse", "published", max_tokens=2)
    assert counts == {"recycled_available": 5, "seeded_count": 2, "recycled_next": 5}
    assert hints("none", "positional")[0] == {}
    assert hints("dense", "positional", tau=8) == ({}, {"recycled_available": 0, "seeded_count": 0, "recycled_next": 0})


def test_hints_keep_within_a_shorter_block():
    assert hints("dense", "positional", block_size=3)[0] == {1: 14, 2: 15}
    assert hints("dense", "published", block_size=1)[0] == {}


@pytest.mark.parametrize(
    ("taus", "committed", "limit", "stopped", "compat"),
    [
        ([4, 1, 4], 10, 10, False, "none"),
        ([], 1, 1, False, "none"),
        ([4, 1, 4, 1], 10, 10, False, "published"),  # a tail cycle of one token that is known already
        ([], 1, 10, True, "none"),  # the first token is the stop
        ([3], 1, 10, True, "published"),
        ([4, 4], 7, 20, True, "none"),  # the stop is the second token of the last cycle
        ([4, 4], 9, 20, True, "none"),  # it is the last one
    ],
)
def test_sums_that_hold(taus, committed, limit, stopped, compat):
    check_sample(taus, committed, limit, stopped, compat)
    for wrong in (committed - 1, committed + 1):  # nor does a neighbour pass where nothing was cut off
        if not stopped:
            with pytest.raises(PluginError):
                check_sample(taus, wrong, limit, stopped, compat)


@pytest.mark.parametrize(
    ("taus", "committed", "limit", "stopped", "compat"),
    [
        ([4, 1, 4, 1], 10, 10, False, "none"),
        ([4, 1, 4], 9, 10, False, "none"),
        ([4, 4], 5, 20, True, "none"),  # the stop would stand in the first cycle
        ([4, 4], 10, 20, True, "none"),
        ([4, 1, 4], 10, 10, False, "published"),
    ],
)
def test_sums_that_do_not_are_named(taus, committed, limit, stopped, compat):
    with pytest.raises(PluginError, match=f"N = {committed}, sum of tau = {sum(taus)}"):
        check_sample(taus, committed, limit, stopped, compat)
