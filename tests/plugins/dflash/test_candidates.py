"""Candidate rules, budgets and trees against exact vectors, and what must hold for any draft."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.core.sdk.torch_layers.token_tree import build_tree, side_by_side
from decodebench.plugins.dflash.candidates import DraftRanks, choose, clamped_options, make_rule
from decodebench.plugins.dflash.candidates.budget import AdaptiveBudget
from decodebench.plugins.dflash.options import DFlashOptions

LOGITS = [[2, 1, 0, -1, -2], [0, 3, 2.5, -1, -2], [1, 0, -1, 4, 0.5]]  # rows for block positions 1, 2, 3


def ranks_of(rows, k=5) -> DraftRanks:
    order = [sorted(range(len(row)), key=lambda i, row=row: (-row[i], i))[:k] for row in rows]
    return DraftRanks(
        ids=order,
        logits=[[row[i] for i in ids] for row, ids in zip(rows, order, strict=True)],
        log_norms=[math.log(sum(math.exp(value) for value in row)) for row in rows],
    )


def proposed(mode, budget, rows=LOGITS, **options):
    rule = make_rule(DFlashOptions(candidate_mode=mode, max_candidates=budget, **options))
    return rule.propose(ranks_of(rows, rule.ranks_needed), budget)


def tokens(proposal):
    return [candidate.tokens for candidate in proposal.candidates]


@pytest.mark.parametrize(
    ("prefix", "expected", "scores"),
    [
        (2, [(0, 1, 3), (0, 2, 0), (0, 0, 4)], [7, 3.5, 0.5]),
        (0, [(0, 1, 3), (1, 2, 0), (2, 0, 4)], [9, 4.5, 0.5]),
        (1, [(0, 1, 3), (1, 2, 0), (2, 0, 4)], [9, 4.5, 0.5]),
        (4, [(0, 1, 3)], [0]),
    ],
)
def test_fixed_prefix_rank(prefix, expected, scores):
    proposal = proposed("fixed_prefix_rank", 3, branch_top_k=3, fixed_prefix_len=prefix)
    assert tokens(proposal) == expected
    assert [candidate.score for candidate in proposal.candidates] == pytest.approx(scores)
    assert [candidate.rank for candidate in proposal.candidates] == list(range(1, len(expected) + 1))


def test_branch_beam():
    common = {"branch_depth": 2, "branch_top_k": 2}
    proposal = proposed("branch_beam", 4, **common)
    assert tokens(proposal) == [(0, 1, 3), (0, 2, 3), (1, 1, 3), (1, 2, 3)]
    best = proposal.candidates[0].score
    assert [candidate.score - best for candidate in proposal.candidates] == pytest.approx([0, -0.5, -1, -1.5])
    assert tokens(proposed("branch_beam", 3, **common)) == [(0, 1, 3), (0, 2, 3), (1, 1, 3)]
    uncertain = proposed("branch_beam", 4, branch_margin_threshold=0.3, **common)
    assert (tokens(uncertain), list(uncertain.positions)) == ([(0, 1, 3), (0, 2, 3)], [2])
    ranks = ranks_of(LOGITS)
    assert [ranks.margin(0), ranks.margin(1)] == pytest.approx([0.4023, 0.2340], abs=1e-4)


@pytest.mark.parametrize("options", [{"branch_depth": 0}, {"branch_margin_threshold": 0.0}])
def test_branch_beam_without_a_place_to_branch_is_greedy(options):
    assert tokens(proposed("branch_beam", 4, **options)) == [(0, 1, 3)]


def test_uncertainty_sparse_rank():
    proposal = proposed("uncertainty_sparse_rank", 4, fixed_prefix_len=1, branch_top_k=3, sparse_max_positions=2)
    assert tokens(proposal) == [(0, 1, 3), (0, 2, 3), (0, 0, 3), (1, 1, 3)]
    assert [candidate.score for candidate in proposal.candidates] == pytest.approx([5, 4.5, 2, 4])
    assert list(proposal.positions) == [2, 1]


def test_the_longest_wins_then_the_score_then_the_order():
    assert choose([3, 5, 5], [9.0, 1.0, 2.0]) == 2
    assert choose([5, 5], [1.0, 1.0]) == 0
    assert choose([8, 8], [0.1, 0.2]) == 1  # a sum of tau and score in float32 would lose the difference


def test_the_adaptive_budget_follows_the_last_acceptance():
    options = DFlashOptions(candidate_mode="branch_beam", adaptive_candidates=True, max_candidates=8)
    budget = AdaptiveBudget(options).budget
    assert budget(0, None) == budget(0, 0.99) == 8
    assert [budget(5, ratio) for ratio in (0.85, 0.84, 0.65, 0.64)] == [1, 4, 4, 8]
    assert (budget(16, 0.99), budget(17, 0.99)) == (8, 1)
    clamped = AdaptiveBudget(options.model_copy(update={"max_candidates": 3})).budget
    assert [clamped(5, ratio) for ratio in (0.9, 0.7, 0.1)] == [1, 3, 3]
    fixed = AdaptiveBudget(DFlashOptions(candidate_mode="branch_beam", max_candidates=6)).budget
    assert fixed(0, None) == fixed(9, 0.9) == 6


def test_what_is_clamped_is_said():
    both = DFlashOptions(candidate_mode="fixed_prefix_rank", max_candidates=4, branch_top_k=3, adaptive_candidates=True)
    assert clamped_options(both) == [
        "adaptive_budgets = [1, 4, 8] are clamped to max_candidates = 4",
        "max_candidates = 4 is clamped to branch_top_k = 3: there is one candidate per rank",
    ]
    assert clamped_options(DFlashOptions()) == []


def test_a_tree_evaluates_each_prefix_once():
    """Block 8, prefix 5, four candidates: 5 shared nodes and 4 x 3 of their own, against 4 x 8."""
    rows = np.random.default_rng(0).normal(size=(7, 20)).tolist()
    proposal = proposed("fixed_prefix_rank", 4, rows, fixed_prefix_len=5, branch_top_k=4)
    tree, batch = build_tree(9, tokens(proposal)), side_by_side(9, tokens(proposal))
    assert (len(tree.tokens), len(batch.tokens)) == (17, 32)
    assert tree.paths[0] == list(range(8))
    for found in (tree, batch):
        for path, candidate in zip(found.paths, proposal.candidates, strict=True):
            assert [found.tokens[node] for node in path] == [9, *candidate.tokens]
            assert [found.depths[node] for node in path] == list(range(8))


matrices = st.integers(1, 9).flatmap(
    lambda n: st.lists(st.lists(st.floats(-5, 5, width=16), min_size=6, max_size=6), min_size=n, max_size=n)
)


@given(
    matrices,
    st.sampled_from(["branch_beam", "fixed_prefix_rank", "uncertainty_sparse_rank"]),
    st.integers(1, 9),
    st.integers(1, 6),
    st.integers(0, 10),
    st.sampled_from([-1.0, 0.0, 0.2, 1.0]),
)
def test_any_proposal_is_in_order_and_any_tree_is_right(rows, mode, budget, top_k, prefix, threshold):
    proposal = proposed(
        mode,
        budget,
        rows,
        branch_top_k=top_k,
        fixed_prefix_len=prefix,
        branch_depth=prefix,
        branch_margin_threshold=threshold,
    )
    blocks = tokens(proposal)
    assert blocks[0] == ranks_of(rows).greedy
    assert 1 <= len(blocks) <= budget
    assert len(set(blocks)) == len(blocks)
    for tree in (build_tree(99, blocks), side_by_side(99, blocks)):
        on_a_path = {(a, b) for path in tree.paths for at, a in enumerate(path) for b in path[: at + 1]}
        assert {(int(a), int(b)) for a, b in np.argwhere(tree.ancestors)} == on_a_path
    prefixes = {block[:length] for block in blocks for length in range(len(block) + 1)}
    assert len(build_tree(99, blocks).tokens) == len(prefixes)
