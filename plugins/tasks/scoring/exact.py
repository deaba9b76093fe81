"""Exact match: the answer is the reference, white space around it aside."""

from __future__ import annotations

from ....core.contract.task import Score


def score_exact(text: str, reference: str) -> Score:
    """Give 1 where ``text`` is ``reference`` but for surrounding white space, else 0."""
    found = text.strip()
    return Score(float(found == reference.strip()), found)
