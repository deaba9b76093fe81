"""The commit rules, sub-sets and counts against the exact vectors of the published code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench import Request
from decodebench.plugins.fast_dllm.accounts import block_causal_tokens
from decodebench.plugins.fast_dllm.canvas import Canvas
from decodebench.plugins.fast_dllm.commit import above, at_least, best, by_factor, quota_table, time_table
from decodebench.plugins.fast_dllm.layer_reuse import subset_layers
from decodebench.plugins.fast_dllm.likelihood import padded_length

CONFIDENCES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
MASK, STOP = 63, 2


@pytest.mark.parametrize(
    ("masks", "steps", "counts"),
    [(32, 5, [7, 7, 6, 6, 6]), (32, 1, [32]), (5, 8, [1, 1, 1, 1, 1, 0, 0, 0])],
)
def test_quota_shares_the_masks_out(masks, steps, counts):
    assert quota_table(masks, steps) == counts


@pytest.mark.parametrize(
    ("confidences", "committed"),
    [([0.99, 0.95, 0.80, 0.40, 0.30], 3), ([0.99, 0.95, 0.80, 0.40], 4), ([0.2], 1)],
)
def test_factor_one_commits_as_published(confidences, committed):
    assert len(by_factor(1.0)(confidences)) == committed


@pytest.mark.parametrize(("n", "bound"), [(2, 0.6667), (3, 0.75), (4, 0.8), (5, 0.8333)])
def test_factor_bounds_of_the_first_ranks(n, bound):
    sure = [1.0] * (n - 1)  # the n-th rank decides; behind it a hopeless one, so that it is not the last
    assert len(by_factor(1.0)([*sure, bound + 1e-4, 0.0, 0.0])) >= n
    assert len(by_factor(1.0)([*sure, bound - 1e-4, 0.0, 0.0])) == n - 1


@pytest.mark.parametrize(
    ("rule", "confidences", "committed"),
    [
        (at_least(0.9), [0.95, 0.93, 0.5], [0, 1]),
        (at_least(0.9), [0.3, 0.4], [1]),
        (at_least(0.9), [0.9, 0.95], [0, 1]),
        (above(0.9), [0.9, 0.95], [1]),
        (above(1.0), [1.0, 1.0], [0]),
    ],
)
def test_thresholds_commit_the_best_and_what_passes(rule, confidences, committed):
    assert rule(confidences) == committed


@given(CONFIDENCES, st.floats(0.01, 1), st.integers(1, 40))
def test_every_rule_commits_at_least_the_best(confidences, threshold, count):
    for rule in (at_least(threshold), above(threshold), by_factor(threshold), best(count)):
        chosen = rule(confidences)
        assert chosen == sorted(set(chosen))
        assert max(confidences) == max(confidences[at] for at in chosen)


@given(st.integers(1, 300), st.integers(1, 300))
def test_tables_share_out_every_mask(masks, steps):
    assert sum(quota_table(masks, steps)) == sum(time_table(masks, steps)) == masks
    assert len(time_table(masks, steps)) == steps
    assert max(quota_table(masks, steps)) - min(quota_table(masks, steps)) <= 1


@pytest.mark.parametrize(
    ("layers", "subset", "first", "last"),
    [
        (28, "first", 1, 12),
        (28, "middle", 8, 19),
        (28, "last", 16, 27),
        (36, "middle", 12, 23),
        (36, "last", 24, 35),
        (4, "first", 1, 1),
        (4, "middle", 2, 2),
        (4, "last", 3, 3),
        (1, "first", 0, 0),
    ],
)
def test_layer_subsets(layers, subset, first, last):
    found = subset_layers(subset, layers)
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize(("length", "padded"), [(31, 32), (32, 64), (64, 96), (70, 96)])
def test_published_padding_of_a_scored_text(length, padded):
    assert padded_length(length, 32) == padded


@pytest.mark.parametrize(
    ("prompt", "limit", "stop_at", "counted"),
    [(70, 2048, 80, 26), (70, 2048, 100, 58), (70, 2048, None, 2043), (64, 2048, None, 2049)],
)
def test_published_token_count_is_of_whole_blocks(prompt, limit, stop_at, counted):
    canvas = Canvas.of(Request((5,) * prompt, limit, stop_token_ids=(STOP,)), MASK)
    end = stop_at if stop_at is not None else prompt + limit
    canvas.put(list(range(prompt, end)), [7] * (end - prompt))
    if stop_at is not None:
        canvas.put([stop_at], [STOP])
    assert canvas.is_finished
    assert block_causal_tokens(canvas, 32) == counted


def test_a_canvas_is_finished_when_the_text_up_to_the_stop_is_fixed():
    canvas = Canvas.of(Request((5, 5), 8, stop_token_ids=(STOP,)), MASK)
    canvas.extend(10)
    canvas.put([5], [STOP])
    assert not canvas.is_finished
    canvas.put([2, 4], [7, 7])
    assert not canvas.is_finished
    canvas.put([3], [7])
    assert canvas.is_finished
    assert canvas.stop_position == 5
    assert canvas.take_fresh() == [2, 3, 4, 5]
    assert canvas.take_fresh() == []
