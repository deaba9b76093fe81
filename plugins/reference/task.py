"""The task `tiny-gsm`: held-out word problems, scored by the last number of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from .problems import held_out_problems

_NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_MARKED = re.compile(rf"####\s*\$?\s*({_NUMBER})")
_ANY = re.compile(_NUMBER)


def tiny_gsm_samples(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `n` held-out problems as (prompt, right answer), the same ones for the same seed.

    A larger `n` begins with the same problems; none comes twice.
    """
    return ((problem.prompt, str(problem.answer)) for problem in islice(held_out_problems(seed), n))


def final_number(text: str) -> str | None:
    """Return the number that a generation gives as its answer, without thousands separators and trailing zeros.

    That is the number behind the first `####` (what follows is a model running on); without one, the last number of
    the text; None where there is no number.
    """
    marked = _MARKED.search(text)
    numbers = [marked.group(1)] if marked else _ANY.findall(text)
    if not numbers:
        return None
    number: str = numbers[-1].replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number
