"""What speed-up acceptance and costs let one expect, by three formulas, beside the one that was measured."""

from __future__ import annotations

from .figures import Pair, Prediction
from .observed import Cycle, Observed, mean


def prediction_of(ours: Observed, baseline: Observed, pair: Pair) -> Prediction | None:
    """Return what is predicted for a cell; None where its cycles do not tell their parts or the baseline drafts.

    The measured-cost formula is tau / (K c + v + o), all costs in decode steps of the baseline. Leviathan's is theorem
    3.8 of arXiv 2211.17192, (1 - a^(K + 1)) / ((1 - a) (K c + 1)): it takes a verification for one decode step and
    acceptances for independent. The third is the rule of thumb of a public guide, which knows neither K nor the cost
    of verifying.
    """
    cycles = [cycle for cycle in ours.counted if cycle.drafted and cycle.accepted is not None]
    step_s = _decode_step_s(baseline)
    draft_s, verify_s = mean(cycle.draft_s for cycle in cycles), mean(cycle.verify_s for cycle in cycles)
    cycle_s, drafted = mean(cycle.cycle_s for cycle in cycles), mean(cycle.drafted for cycle in cycles)
    if None in (step_s, draft_s, verify_s, cycle_s) or drafted is None:
        return None
    assert step_s is not None and draft_s is not None and verify_s is not None and cycle_s is not None
    tau = sum(cycle.tokens for cycle in cycles) / len(cycles)
    draft_cost, verify_cost = draft_s / drafted / step_s, verify_s / step_s
    overhead = (cycle_s - draft_s - verify_s) / step_s
    alpha = _acceptance(cycles)
    rate = sum(cycle.accepted or 0 for cycle in cycles) / sum(cycle.drafted or 0 for cycle in cycles)
    return Prediction(
        draft_tokens=drafted,
        tau=tau,
        acceptance=alpha,
        draft_cost=draft_cost,
        verify_cost=verify_cost,
        overhead=overhead,
        measured_cost=tau / (drafted * draft_cost + verify_cost + overhead),
        leviathan=_expected_tokens(alpha, drafted) / (drafted * draft_cost + 1),
        rule_of_thumb=None if draft_cost == 0 else 1 + rate * (1 / draft_cost - 1),
        measured=pair.tpot.value,
    )


def _decode_step_s(baseline: Observed) -> float | None:
    """Return the time of one decode step of the target alone; None where the baseline drafts."""
    if any(cycle.drafted for cycle in baseline.counted):
        return None
    parts = [sample.parts["tpot_s"] for sample in baseline.samples if "tpot_s" in sample.parts]
    return sum(time for time, _ in parts) / sum(tokens for _, tokens in parts) if parts else None


def _acceptance(cycles: list[Cycle]) -> float:
    """Return accepted / judged: what stands behind a rejected token was never judged."""
    accepted = sum(cycle.accepted or 0 for cycle in cycles)
    return accepted / (accepted + sum((cycle.accepted or 0) < (cycle.drafted or 0) for cycle in cycles))


def _expected_tokens(alpha: float, drafted: float) -> float:
    return drafted + 1 if alpha == 1 else (1 - alpha ** (drafted + 1)) / (1 - alpha)
