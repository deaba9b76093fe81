"""The task `tiny-gsm`: held-out word problems, scored by the last number of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from .problems import held_out_problems


def tiny_gsm_samples(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `n` held-out problems as (prompt, right answer), the same ones for the same seed.

    A larger `n` begins with the same problems; none comes twice.
    """
    return ((problem.prompt, str(problem.answer)) for problem in islice(held_out_problems(seed), n))
