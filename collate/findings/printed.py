"""Figures that a log has as printed, without what is behind them."""

from __future__ import annotations

import re

from ...core.contract.log_parser import DRAFT_LENGTH_OPTIONS
from ..comparison.observations import Row

_NUMBER = re.compile(r"\d{1,6}(?:\.\d{1,20})?")
_LENGTH = re.compile(r"published_\w*accept\w*_len(?:gth)?")


def acceptance_length(run: Row) -> float | None:
    """Return the acceptance length as it was published; None where it was not."""
    return next((published(run, name) for name in run["settings"] or {} if _LENGTH.fullmatch(name)), None)


def longest_cycle(run: Row) -> float | None:
    """Return the tokens of a cycle at most: as published, or by the acceptance rate and the number of draft tokens."""
    rate = published(run, "published_acceptance_rate")
    by_rate = 1 + draft_tokens(run) * rate if rate is not None and rate <= 1 and draft_tokens(run) else None
    return acceptance_length(run) or by_rate or run["tau"]


def published(run: Row, name: str) -> float | None:
    """Return a printed number that is kept among the settings; None where there is none."""
    text = (run["settings"] or {}).get(name) or ""
    return float(text) if _NUMBER.fullmatch(text) else None


def draft_tokens(run: Row) -> int:
    """Return how many tokens a run drafted for each cycle; 0 where its options do not say."""
    return next((count for name in DRAFT_LENGTH_OPTIONS if (count := draft_option(run, name))), 0)


def printed_figure(run: Row) -> float | None:
    """Return a printed speed, or speed-up, of a run without figures of its own."""
    return (run["totals"] or {}).get("tokens_per_s") or published(run, "published_speed_up")


def draft_option(run: Row, option: str) -> int:
    """Return a whole number among the options; 0 where there is none of that name."""
    value = (run["options"] or {}).get(option)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
