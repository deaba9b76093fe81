"""The loop of draft/target speculative decoding: draft K tokens, have them verified, commit what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from ...core.contract.generation import Request, Step
from .draft_length import DraftLength
from .drafters import Drafter
from .proposal import NOTHING, Proposal, Verdict
from .verifier import Verifier

_NO_TOKEN = -1


@dataclass(frozen=True, slots=True)
class _Guess:
    """A draft that was made before its context was committed.

    Attributes:
        bonus: the token that was guessed to follow the draft under verification.
        proposal: what comes behind it.
        seconds: the time that it took, while the verifier worked.
    """

    bonus: int
    proposal: Proposal
    seconds: float

    @property
    def drafted(self) -> int:
        """All its tokens."""
        return 1 + self.proposal.length


class Decoder:
    """A drafter and a verifier.

    Args:
        drafter: proposes; None has the target say every token, with the same code.
        verifier: holds the proposals against the target.
        draft_length: makes a K for each generation.
        is_optimistic: draft on while a draft is being verified, as if it were accepted whole.
    """

    def __init__(
        self,
        drafter: Drafter | None,
        verifier: Verifier,
        draft_length: Callable[[], DraftLength],
        *,
        is_optimistic: bool = False,
    ) -> None:
        self._drafter, self._verifier = drafter, verifier
        self._draft_length, self._is_optimistic = draft_length, is_optimistic

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt; the first step is the target's own token behind the prompt, then one per round."""
        self._verifier.begin(request)
        try:
            if self._drafter is not None:
                self._drafter.begin(request)
            if request.depth:
                self._verifier.fill(request.depth)
                if self._drafter is not None:
                    self._drafter.fill(request.prompt_ids[: request.depth])
                yield Step((), is_depth=True)
            yield from self._rounds(request)
        finally:
            self._verifier.end()
            if self._drafter is not None:
                self._drafter.end()

    def _rounds(self, request: Request) -> Iterator[Step]:
        tokens = list(request.prompt_ids)
        limit = len(tokens) + request.max_new_tokens
        verdict = self._verifier.submit(NOTHING)()
        tokens.append(verdict.judgement.next_id)
        yield Step((tokens[-1],), forwards=1, verify_s=verdict.verify_s, wire_s=verdict.wire_s, trace=_wire(verdict))
        length = self._draft_length()
        guess: _Guess | None = None
        while not request.is_stop(tokens[-1]) and len(tokens) < limit:
            room = limit - len(tokens) - 1  # a round commits one token of the target's besides
            step, guess = self._round(request, tokens, length, guess, room)
            tokens += step.token_ids
            yield step

    def _round(
        self, request: Request, tokens: list[int], length: DraftLength, ready: _Guess | None, room: int
    ) -> tuple[Step, _Guess | None]:
        """Do one round; returns its step and, where the guess came true, the draft for the next one."""
        began = time.perf_counter()
        proposal = ready.proposal if ready else self._draft(tokens, min(length.tokens, room))
        drafted = time.perf_counter()
        answer = self._verifier.submit(proposal)
        guess = self._guess(request, tokens, proposal, length, room) if self._is_optimistic else None
        verdict = answer()
        found = verdict.judgement
        ids = proposal.candidates[found.candidate]
        gained = _until_stop(request, [*ids[: found.accepted], found.next_id])
        drafted_tokens = len(_until_stop(request, list(ids)))  # what is drafted behind a stop token never counts
        length.observe(len(ids), found.accepted)
        is_hit = guess is not None and found.accepted == len(ids) and found.next_id == guess.bonus
        step = Step(
            gained,
            block_size=None if self._drafter is None else 1 + drafted_tokens,
            drafted=None if self._drafter is None else drafted_tokens,
            accepted=None if self._drafter is None else min(found.accepted, len(gained)),
            discarded=None if guess is None else 1 if is_hit else guess.drafted,
            candidates=len(proposal.candidates) if len(proposal.candidates) > 1 else None,
            forwards=1,
            draft_s=None if self._drafter is None else drafted - began,
            verify_s=verdict.verify_s,
            wire_s=verdict.wire_s,
            trace=_trace(verdict, guess, is_hit),
        )
        return step, guess if is_hit else None

    def _draft(self, tokens: list[int], count: int) -> Proposal:
        if self._drafter is None or count < 1:
            return NOTHING
        return self._drafter.draft(tokens, count)

    def _guess(
        self, request: Request, tokens: list[int], proposal: Proposal, length: DraftLength, room: int
    ) -> _Guess | None:
        """Draft on behind a proposal that is being verified; None where it would be the last one anyway."""
        (ids,) = proposal.candidates
        left = room - len(ids) - 1
        if left < 1 or not ids or request.is_stop(ids[-1]):
            return None
        began = time.perf_counter()
        further = self._draft([*tokens, *ids], 1 + min(length.tokens, left))
        if not further.length:
            return None
        seconds = time.perf_counter() - began
        if further.length == 1:  # it ends with the guess of the bonus: there is nothing to go on with
            return _Guess(_NO_TOKEN, NOTHING, seconds)
        return _Guess(further.candidates[0][0], _tail(further), seconds)


def _tail(proposal: Proposal) -> Proposal:
    """Drop the first token."""
    return Proposal(
        tuple(ids[1:] for ids in proposal.candidates),
        None if proposal.distributions is None else proposal.distributions[:, 1:],
        None if proposal.logprobs is None else tuple(row[1:] for row in proposal.logprobs),
    )


def _until_stop(request: Request, ids: list[int]) -> list[int]:
    """Cut behind the first stop token."""
    return next((ids[: at + 1] for at, token in enumerate(ids) if request.is_stop(token)), ids)


def _wire(verdict: Verdict) -> dict[str, JsonValue] | None:
    """Tell what a broken connection cost, where one broke."""
    return {"reconnects": verdict.reconnects, "resent_tokens": verdict.resent} if verdict.reconnects else None


def _trace(verdict: Verdict, guess: _Guess | None, is_hit: bool) -> dict[str, JsonValue] | None:
    trace = _wire(verdict) or {}
    if guess is not None:
        trace |= {"optimistic": "hit" if is_hit else "miss", "optimistic_draft_s": guess.seconds}
    return trace or None
