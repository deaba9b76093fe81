"""Where rejected tokens come back, and the sums that finished samples must keep."""

from __future__ import annotations

from functools import partial

import pytest

from decodebench import PluginError
from decodebench.plugins.dflash.accounting import check_published_sample, check_sample
from decodebench.plugins.dflash.published_loop import LateSeeder
from decodebench.plugins.dflash.seeding import SuffixSeeder

check_whole_blocks = partial(check_published_sample, has_whole_blocks=True)
BLOCK = [7, 11, 12, 13, 14, 15, 16, 17]  # anchor and seven drafted tokens


def hints(mode, kind=SuffixSeeder, tau=3, max_tokens=-1, block_size=8):
    seeder = kind(mode, max_tokens)
    seeder.observe(BLOCK, tau)
    return seeder.hints(block_size), seeder.trace()


def test_a_token_stands_where_it_was_drafted_for():
    """With tau 3 the token at place 3 becomes the anchor's position, so 14 belongs one behind it."""
    assert hints("dense")[0] == {1: 14, 2: 15, 3: 16, 4: 17}
    assert hints("sparse")[0] == {2: 15, 4: 17}
    assert hints("dense", max_tokens=2)[0] == {1: 14, 2: 15}


def test_the_published_places_are_late():
    assert hints("dense", LateSeeder)[0] == {1: 13, 2: 14, 3: 15, 4: 16, 5: 17}
    assert hints("sparse", LateSeeder)[0] == {2: 13, 4: 14, 6: 15}
    assert hints("sparse", LateSeeder, max_tokens=2)[0] == {2: 13, 4: 14}


def test_the_counts_of_a_cycle():
    _, counts = hints("sparse", LateSeeder, max_tokens=2)
    assert counts == {"recycled_available": 5, "seeded_count": 2, "recycled_next": 5}
    assert hints("none")[0] == {}
    assert hints("dense", tau=8) == ({}, {"recycled_available": 0, "seeded_count": 0, "recycled_next": 0})


def test_hints_keep_within_a_shorter_block():
    assert hints("dense", block_size=3)[0] == {1: 14, 2: 15}
    assert hints("dense", LateSeeder, block_size=1)[0] == {}


@pytest.mark.parametrize(
    ("check", "taus", "committed", "limit", "stopped"),
    [
        (check_sample, [4, 1, 4], 10, 10, False),
        (check_sample, [], 1, 1, False),
        (check_published_sample, [4, 1, 4, 1], 10, 10, False),  # a tail cycle of one token that is known already
        (check_sample, [], 1, 10, True),  # the first token is the stop
        (check_published_sample, [3], 1, 10, True),
        (check_whole_blocks, [4, 1, 8], 10, 10, False),  # the last block reaches three tokens too far
        (check_whole_blocks, [4, 6], 10, 10, False),
        (check_sample, [4, 4], 7, 20, True),  # the stop is the second token of the last cycle
        (check_sample, [4, 4], 9, 20, True),  # it is the last one
    ],
)
def test_sums_that_hold(check, taus, committed, limit, stopped):
    check(taus, committed, limit, stopped)
    for wrong in (committed - 1, committed + 1):  # nor does a neighbour pass where nothing was cut off
        if not stopped:
            with pytest.raises(PluginError):
                check(taus, wrong, limit, stopped)


@pytest.mark.parametrize(
    ("check", "taus", "committed", "limit", "stopped"),
    [
        (check_sample, [4, 1, 4, 1], 10, 10, False),
        (check_sample, [4, 1, 4], 9, 10, False),
        (check_sample, [4, 4], 5, 20, True),  # the stop would stand in the first cycle
        (check_sample, [4, 4], 10, 20, True),
        (check_published_sample, [4, 1, 4], 10, 10, False),
        (check_published_sample, [4, 1, 8], 10, 10, False),
        (check_whole_blocks, [4, 8, 1], 10, 10, False),  # the last cycle began behind the limit
        (check_whole_blocks, [4, 1, 4], 10, 10, False),
    ],
)
def test_sums_that_do_not_are_named(check, taus, committed, limit, stopped):
    with pytest.raises(PluginError, match=f"N = {committed}, sum of tau = {sum(taus)}"):
        check(taus, committed, limit, stopped)
