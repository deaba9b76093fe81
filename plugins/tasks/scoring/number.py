"""Numeric exact match: the last number of the answer has the reference's value."""

from __future__ import annotations

from ....core.contract.task import Score
from ....core.sdk.answers import final_number, same_number


def score_number(text: str, reference: str) -> Score:
    """Give 1 where the final number of ``text`` (see ``core.answers``) equals ``reference`` in value, else 0."""
    found = final_number(text)
    return Score(float(same_number(found, reference)), found)
