"""Checks of whether a backend computes the model: scores agree with choices, tokens with the reference's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ... import defaults
from ..errors import ModelError
from ..isolation.processes.messages import Line
from ..sdk.scoring import is_tie
from .check import check
from .outcome import Broken, NotApplicable
from .outputs import Generation, first_difference
from .subject import Subject


@check("Score with the weights and number formats used for decoding; position t is the token given those before it.")
def score_agrees_with_greedy_choice(subject: Subject) -> str:
    """Every token that greedy decoding chose is the most likely one by `score`, ties excepted (a gap below 0.0001, or
    0.001 where `Preflight.inexact` is a reason); log-probabilities are finite and at most 0.
    """
    if "score" not in subject.backend.supports:
        raise NotApplicable("it does not declare 'score'")
    if subject.kind == "diffusion":
        raise NotApplicable("it declares kind = 'diffusion': its tokens are not chosen in reading order, as score is")
    outputs = [generation.ids for generation in subject.greedy]
    lines = subject.evaluate(outputs, 2 if "score-top-k" in subject.backend.supports else 0)
    # a pass over many positions and one step round alike in float32 only
    tie = defaults.TIE_MARGIN if subject.preflight().inexact is None else defaults.ROUNDED_TIE_MARGIN
    for number, (ids, line) in enumerate(zip(outputs, lines, strict=True), 1):
        if fault := _score_fault(ids, line, tie):
            raise Broken(f"prompt {number}: {fault}")
    return f"{sum(map(len, outputs))} tokens"


def _score_fault(ids: Sequence[int], line: Line, tie: float) -> str | None:
    logprobs, greedy = line["logprobs"], line["is_greedy"]
    if not len(ids) == len(logprobs) == len(greedy):
        return f"{len(logprobs)} log-probabilities and {len(greedy)} verdicts for {len(ids)} tokens"
    for at, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
        if not math.isfinite(logprob) or logprob > 1e-6:
            return f"token {at + 1} has log-probability {logprob}"
        top = line["top_logprobs"][at] if line["top_logprobs"] else []
        margin = top[0] - logprob if top else None
        if not greedy[at] and not is_tie(margin, tie):
            told = "" if margin is None else f", {margin:.3g} below the likeliest"
            return f"token {at + 1} ({token}) was chosen greedily, but score does not call it the likeliest{told}"
        if greedy[at] and margin is not None and not is_tie(margin, tie):
            return f"token {at + 1} ({token}) is called the likeliest, {margin:.3g} below the first of the top ids"
    return None


@check(
    "Compare number formats, rotary base and scaling, norms, biases and tied weights with the reference's; or let "
    "Preflight.inexact say why the tokens may differ."
)
def tokens_match_the_reference(subject: Subject) -> str:
    """Where `Preflight.inexact` claims exactness, greedy tokens equal those of the reference backend with the same
    weights, ties excepted.
    """
    reference = subject.reference
    if reference is None:
        raise NotApplicable("no backend declares itself the reference")
    if reference is subject.backend:
        raise NotApplicable("it is the reference itself")
    claiming = _claiming(subject)
    judge = subject.on(reference, reference.quantisations()[0].name, {})  # the first is the unquantised one
    right = judge.generate()
    for number, (own, theirs) in enumerate(zip(claiming.greedy, right, strict=True), 1):
        if own.sample["prompt_hash"] != theirs.sample["prompt_hash"]:
            raise Broken(f"prompt {number} has other ids than with {reference.name}")
        parts = first_difference(own.ids, theirs.ids)
        if parts is None and len(own.ids) != len(theirs.ids):
            raise Broken(f"prompt {number}: {len(own.ids)} tokens instead of {len(theirs.ids)}")
        if parts is not None and not is_tie(margin := _margin(judge, right, number, parts)):
            told = f"token {parts + 1} is {own.ids[parts]} instead of {theirs.ids[parts]}"
            lead = f"{margin:.3g}" if math.isfinite(margin) else "unknown, since it cannot score"
            raise Broken(f"prompt {number}: {told}, where the reference's top-two margin is {lead}")
    return f"{claiming.cell.quantisation} against {reference.name} {judge.cell.quantisation}"


def _claiming(subject: Subject) -> Subject:
    """Return the subject in a weight format in which it claims exactness: the one asked for, else the first."""
    own = subject.cell.quantisation
    others = (one.name for one in subject.backend.quantisations() if one.name != own)
    exact = next((name for name in (own, *others) if _claims(subject, name)), None)
    if exact is None:
        raise NotApplicable(f"it claims no exactness, for {own} since {subject.preflight().inexact}")
    if exact == own:
        return subject
    changed = subject.cell.options.model_dump(mode="json", include=set(subject.cell.changed_options))
    return subject.on(subject.backend, exact, changed)


def _claims(subject: Subject, quantisation: str) -> bool:
    """Return whether a weight format can be had of the model, and is said to be exact."""
    try:
        found = subject.preflight(quantisation=quantisation)
    except ModelError:
        return False
    return not found.errors and found.inexact is None


def _margin(judge: Subject, right: Sequence[Generation], number: int, at: int) -> float:
    """Return by how much the reference's likeliest id leads the next at the place where outputs part."""
    if "score-top-k" not in judge.backend.supports:
        return math.inf
    first, second = judge.evaluate([generation.ids for generation in right], 2)[number - 1]["top_logprobs"][at]
    return float(first) - float(second)
