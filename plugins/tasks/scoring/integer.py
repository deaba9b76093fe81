r"""Integer match, as AIME is scored: the integer in the last ``\boxed{}``, else the last number of the answer."""

from __future__ import annotations

import re
from fractions import Fraction

from ....core.contract.task import Score
from ....core.sdk.answers import boxed, final_number

_INTEGER = re.compile(r"(?<![0-9.])-?[0-9]+(?:\.0+)?(?![0-9.]*[0-9])")


def final_integer(text: str) -> str | None:
    r"""Return the integer that a text gives as its answer, without leading zeros; None where that is no integer.

    A ``\boxed{}`` decides alone: of an equation within it the right side counts, and one without an integer is no
    answer, whatever numbers stand around it.
    """
    inner = boxed(text)
    if inner is not None:
        side = inner.rsplit("=", 1)[-1]
        if "frac" in side or "/" in side:
            return None
        numbers = _INTEGER.findall(side.replace("{,}", "").replace("\\,", "").replace(",", "").replace("\u2212", "-"))
        return str(int(float(numbers[-1]))) if numbers and len(numbers[-1]) < 16 else None
    number = final_number(text)
    if number is None or len(number) > 16:
        return None
    value = Fraction(number)
    return str(value.numerator) if value.denominator == 1 else None


def score_integer(text: str, reference: str) -> Score:
    """Give 1 where the integer of ``text`` is the reference; ``073`` and ``73`` are one."""
    found = final_integer(text)
    return Score(float(found is not None and found == str(int(reference))), found)
