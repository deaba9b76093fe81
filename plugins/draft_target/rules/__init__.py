"""Rules: which drafted tokens stay, given the target's logits behind every one of them."""

from __future__ import annotations

from .... import UsageError
from .approximate import ProbabilisticApprox
from .deterministic import Deterministic
from .probabilistic import Probabilistic
from .rule import Rule, RuleName

__all__ = ["Rule", "RuleName", "rule_called", "rule_for"]

_RULES: dict[RuleName, type[Rule]] = {rule.name: rule for rule in (Deterministic, Probabilistic, ProbabilisticApprox)}


def rule_called(name: RuleName) -> Rule:
    """Return the rule of this name."""
    return _RULES[name]()


def rule_for(name: RuleName | None, temperature: float) -> Rule:
    """Return the rule of this name, or the exact one for this temperature where none is asked for.

    Raises:
        UsageError: the rule does not go with the temperature.
    """
    rule = rule_called(name or ("deterministic" if temperature == 0 else "probabilistic"))
    if rule.is_greedy and temperature > 0:
        raise UsageError(
            f"rule = {rule.name!r} gives the greedy output: temperature = {temperature:g} must be 0",
            code="conflicting-flags",
        )
    if not rule.is_greedy and temperature == 0:
        raise UsageError(
            f"rule = {rule.name!r} draws tokens: temperature = 0 must be above 0", code="conflicting-flags"
        )
    return rule
