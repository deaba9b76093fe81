"""Verification: the target looks at blocks, and the acceptance rule decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from ...core.sdk.torch_layers.place import Place, Span
from ...core.sdk.torch_layers.token_tree import TokenTree, build_tree, side_by_side
from ...core.sdk.torch_layers.tree_place import Tree
from .acceptance import count_accepted
from .candidates import CandidateRule, DraftRanks, Proposal, choose
from .clock import Clock
from .row import Row
from .target import Target

if TYPE_CHECKING:
    from torch import Tensor

Judge = Callable[["Tensor", "Tensor"], list[tuple[int, list[int], int]]]
"""``Acceptance.judge`` for given rows."""


@dataclass(slots=True)
class Verdict:
    """What a verification found for one row.

    Attributes:
        block: the ids of the block that was chosen, anchor first.
        tokens: what the cycle gained: accepted tokens and the target's own behind them.
        candidates: blocks that were verified; None without candidates.
        trace: what else there is to tell.
    """

    block: list[int]
    tokens: list[int]
    candidates: int | None = None
    trace: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(slots=True)
class Verification:
    """Verdicts of all rows, the features of what they keep [R, n, taps x width], and when the device worked on it."""

    verdicts: list[Verdict]
    features: Tensor | None
    began: Any
    ended: Any


class BlockVerifier:
    """Verifies one block per row.

    Args:
        target: the model that verifies.
        taps: layers whose outputs the drafter wants to see.
        clock: of the device.
    """

    def __init__(self, target: Target, taps: Sequence[int], clock: Clock) -> None:
        self._target, self._taps, self._clock = target, taps, clock

    def verify(self, judge: Judge, blocks: Tensor, place: Place, sizes: Sequence[int]) -> Verification:
        """Verify blocks [R, n], of which the first ``sizes[r]`` positions count."""
        began = self._clock.mark()
        logits, features = self._target.evaluate(blocks, place, self._taps)
        judged = judge(blocks, logits)
        ended = self._clock.mark()
        verdicts = [
            Verdict(block[:size], [*block[1 : 1 + accepted], last][:size])
            for (accepted, block, last), size in zip(judged, sizes, strict=True)
        ]
        return Verification(verdicts, features, began, ended)


class CandidateVerifier:
    """Verifies several candidate blocks of one row and keeps the best; greedy decoding only.

    Args:
        rule: builds the candidates.
        target: the model that verifies.
        taps: layers whose outputs the drafter wants to see.
        clock: of the device.
        is_tree: evaluate each distinct prefix once, instead of every block whole.
    """

    def __init__(
        self, rule: CandidateRule, target: Target, taps: Sequence[int], clock: Clock, *, is_tree: bool
    ) -> None:
        self._rule, self._target, self._taps, self._clock = rule, target, taps, clock
        self._lay_out = build_tree if is_tree else side_by_side

    def propose(self, logits: Tensor, row: Row) -> Proposal:
        """Build candidates from the draft's logits [1, b - 1, V]; waits for the device, once."""
        budget = row.budget.budget(row.cycle, row.previous_ratio)
        return self._rule.propose(ranks_of(logits[0], self._rule.ranks_needed), budget)

    def verify(self, row: Row, proposal: Proposal) -> Verification:
        """Verify, choose the candidate that gains most, and leave its keys and values in the cache."""
        tree = self._lay_out(row.anchor, [candidate.tokens for candidate in proposal.candidates])
        began = self._clock.mark()
        logits, features = self._target.evaluate(self._tokens([tree.tokens]), _place(row.start, tree), self._taps)
        own = logits[0].argmax(-1).tolist()
        ended = self._clock.mark()
        found = [gained_by([tree.tokens[n] for n in path], [own[n] for n in path]) for path in tree.paths]
        chosen = choose([len(tokens) for tokens in found], [c.score for c in proposal.candidates])
        path = tree.paths[chosen][: len(found[chosen])]
        if path != list(range(len(path))):
            self._target.cache.gather(0, [row.start + node for node in path], row.start)
            features = None if features is None else features[:, path]
        verdict = self._verdict(row, proposal, found, chosen, len(tree.tokens))
        return Verification([verdict], features, began, ended)

    def _tokens(self, ids: Sequence[Sequence[int]]) -> Tensor:
        import torch

        return torch.tensor(ids, device=self._target.device)

    def _verdict(self, row: Row, proposal: Proposal, found: Sequence[list[int]], chosen: int, verified: int) -> Verdict:
        candidates = proposal.candidates
        trace: dict[str, JsonValue] = {
            "cycle_max_candidates": row.budget.budget(row.cycle, row.previous_ratio),
            "selected_positions": list(proposal.positions),
            "chosen_candidate_idx": chosen,
            "candidate_taus": [len(tokens) for tokens in found],
            "candidate_draft_scores": [candidate.score for candidate in candidates],
            "candidate_rank_variants": [candidate.rank for candidate in candidates],
            "verified_tokens": verified,
        }
        return Verdict([row.anchor, *candidates[chosen].tokens], found[chosen], len(candidates), trace)


def _place(start: int, tree: TokenTree) -> Place:
    import torch

    if len(tree.paths) == 1:
        return Span(start, len(tree.tokens))
    return Tree(start, tree.depths, torch.from_numpy(tree.ancestors))


def gained_by(block: Sequence[int], own: Sequence[int]) -> list[int]:
    """Return the tokens that a block gains when the target's choice behind each of its ids is ``own``."""
    accepted = count_accepted(block, own)
    return [*block[1 : 1 + accepted], own[accepted]]


def ranks_of(logits: Tensor, k: int) -> DraftRanks:
    """Bring the k likeliest ids per position to the host, [n, V] -> [n][k]; the first is the argmax, ties or not."""
    import torch

    wide = logits.float() if logits.dtype != torch.float64 else logits
    values, ids = wide.topk(min(k, wide.shape[-1]), dim=-1)
    numbers = torch.cat([values, ids.to(values.dtype), wide.logsumexp(-1, keepdim=True)], dim=-1)
    best = wide.argmax(-1, keepdim=True).to(values.dtype)
    rows = torch.cat([numbers, best], dim=-1).tolist()
    n = values.shape[-1]
    return DraftRanks(
        ids=[_argmax_first([int(i) for i in row[n : 2 * n]], int(row[-1])) for row in rows],
        logits=[row[:n] for row in rows],
        log_norms=[row[-2] for row in rows],
    )


def _argmax_first(ids: list[int], best: int) -> list[int]:
    """Order equal logits so that the id that greedy decoding takes comes first."""
    if ids[0] != best:
        ids = [best, *[i for i in ids if i != best]][: len(ids)]
    return ids
