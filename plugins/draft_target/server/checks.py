"""Requests as they come from outside, checked before they touch the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from .... import UsageError
from ....core.contract.generation import Request
from ..models import CausalModel
from ..proposal import Proposal
from ..proto import verification_pb2 as pb
from ..rules import Rule, RuleName, rule_for
from ..wire import rule_name, unpacked
from .refusal import Refused, invalid

if TYPE_CHECKING:
    from torch import Tensor

MOST_CANDIDATES = 64
MOST_DRAFTED = 512
_MOST_LOGITS = 2**27  # numbers of float32: half a gigabyte, and twice that while a rule works on them
_MOST_CHARACTERS_PER_TOKEN = 32  # on average over a prompt; text has about 4, blanks in code more
_LEAST_TEMPERATURE = 1e-3
_LEAST_LOGPROB = -700.0  # below, a float64 probability is 0


def check_length(characters: int, ids: int, model: CausalModel) -> None:
    """Refuse a prompt beyond any that the context holds, before anything is made of it: tokenising takes memory."""
    most = model.context * _MOST_CHARACTERS_PER_TOKEN
    if characters > most:
        raise invalid(
            f"prompt has {characters} characters; a context of {model.context} tokens is asked for at most {most}"
        )
    if ids > model.context:
        raise invalid(f"prompt_token_ids has {ids} ids; the context holds {model.context}")


def check_ids(name: str, ids: Sequence[int], model: CausalModel) -> None:
    """Refuse ids outside the vocabulary."""
    if ids and max(ids) >= model.vocabulary:
        raise invalid(f"{name} has {max(ids)}; the vocabulary has {model.vocabulary} ids")


def sampling_of(
    request: pb.VerificationRequest | pb.GenerateRequest, prompt: Sequence[int] = (), max_new_tokens: int = 1
) -> Request:
    """Return how a request wants tokens to be chosen."""
    if not (
        math.isfinite(request.temperature) and (request.temperature == 0 or request.temperature >= _LEAST_TEMPERATURE)
    ):
        raise invalid(f"temperature = {request.temperature} must be 0, or at least {_LEAST_TEMPERATURE} and finite")
    top_p = request.top_p or 1.0
    if not 0 < top_p <= 1:
        raise invalid(f"top_p = {request.top_p} must lie in (0, 1]")
    return Request(
        prompt_ids=tuple(prompt),
        max_new_tokens=max_new_tokens,
        temperature=request.temperature,
        top_p=top_p,
        top_k=request.top_k,
        seed=request.seed,
    )


def rule_of(request: pb.VerificationRequest, own: RuleName | None) -> Rule:
    """Return the rule of a request; ``own`` is the server's, for requests that name none."""
    try:
        return rule_for(rule_name(request.rule) or own, request.temperature)
    except (UsageError, ValueError) as error:
        raise invalid(str(error)) from error


def proposal_of(requests: Sequence[pb.VerificationRequest], model: CausalModel, rule: Rule) -> Proposal:
    """Return the candidates of one session as a proposal."""
    first, length = requests[0], len(requests[0].draft_token_ids)
    if len(requests) > (MOST_CANDIDATES if rule.takes_candidates else 1):
        raise invalid(f"{len(requests)} candidates are too many for rule {rule.name!r}")
    for request in requests:
        check_ids("draft_token_ids", request.draft_token_ids, model)
        if len(request.draft_token_ids) != length or (len(requests) > 1 and not length):
            raise invalid("the candidates of a session must have one length, of at least 1")
        if request is not first and _frame(request) != _frame(first):
            raise invalid("the candidates of a session must agree in all but their drafts")
    return Proposal(
        candidates=tuple(tuple(request.draft_token_ids) for request in requests),
        distributions=_distributions(requests, length, model) if rule.needs_distributions else None,
        logprobs=_logprobs(requests, length) if rule.needs_logprobs else None,
    )


def check_room(start: int, prefix: int, drafted: int, model: CausalModel, candidates: int = 1) -> None:
    """Refuse what is longer than the context, the token that comes back included, and drafts beyond all measure."""
    if candidates * (drafted + 1) * model.vocabulary > _MOST_LOGITS or drafted > MOST_DRAFTED:
        raise Refused(
            grpc.StatusCode.OUT_OF_RANGE,
            f"{candidates} drafts of {drafted} tokens are too many: at most {MOST_DRAFTED} tokens, and "
            f"{_MOST_LOGITS // model.vocabulary} positions over all candidates",
        )
    if start + prefix + drafted >= model.context:
        raise Refused(
            grpc.StatusCode.OUT_OF_RANGE,
            f"{start + prefix} tokens and a draft of {drafted} leave no room in a context of {model.context}",
        )


def _frame(request: pb.VerificationRequest) -> pb.VerificationRequest:
    """Return a request without what may differ between candidates."""
    frame = pb.VerificationRequest()
    frame.CopyFrom(request)
    for name in ("request_id", "draft_token_ids", "draft_logprobs", "draft_distributions"):
        frame.ClearField(name)
    return frame


def _distributions(requests: Sequence[pb.VerificationRequest], length: int, model: CausalModel) -> Tensor | None:
    import torch

    given = [len(request.draft_distributions) for request in requests]
    if not any(given) or not length:
        return None
    if set(given) != {length}:
        raise invalid(f"draft_distributions has {given[0]} entries for a draft of {length}")
    try:
        rows = torch.stack([unpacked(r.draft_distributions, model.vocabulary, model.device) for r in requests])
    except ValueError as error:
        raise invalid(str(error)) from error
    drafted = torch.tensor([list(request.draft_token_ids) for request in requests], device=rows.device)
    if (rows.gather(-1, drafted[..., None]) <= 0).any():
        raise invalid("a drafted token has probability 0 in its own draft_distributions: it was not drawn from them")
    return rows


def _logprobs(requests: Sequence[pb.VerificationRequest], length: int) -> tuple[tuple[float, ...], ...] | None:
    (request,) = requests
    if not request.draft_logprobs:
        return None
    if len(request.draft_logprobs) != length:
        raise invalid(f"draft_logprobs has {len(request.draft_logprobs)} entries for a draft of {length}")
    if not all(_LEAST_LOGPROB <= value <= 1e-3 for value in request.draft_logprobs):
        raise invalid(f"draft_logprobs must lie between {_LEAST_LOGPROB:g} and 0")
    return (tuple(request.draft_logprobs),)
