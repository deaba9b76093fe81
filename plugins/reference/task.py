"""The tasks `tiny-gsm` and `tiny-choice`: held-out word problems, answered in words or by choosing a number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from .problems import held_out_problems


def tiny_gsm_samples(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `n` held-out problems as (prompt, right answer), the same ones for the same seed.

    A larger `n` begins with the same problems; none comes twice.
    """
    return ((problem.prompt, str(problem.answer)) for problem in islice(held_out_problems(seed), n))


def tiny_choice_samples(n: int, seed: int) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield `n` held-out problems as (prompt, four numbers, index of the right one), the same ones for the same seed.

    The prompt is a question with its worked solution up to the last `=` before the answer; the numbers are what may
    follow. Wrong ones are near the right one or have another number of digits, so that the length of a choice matters.
    """
    for problem in islice(held_out_problems(seed), n):
        worked = problem.completion
        start = worked.rindex("=", 0, worked.index("####")) + 1
        rng = random.Random(problem.question)
        near = {problem.answer + step for step in (-10, -2, -1, 1, 2, 10)}
        wrong = sorted({value for value in (*near, 10 * problem.answer, problem.answer // 10) if value > 0})
        numbers = [problem.answer, *rng.sample([value for value in wrong if value != problem.answer], 3)]
        rng.shuffle(numbers)
        yield problem.prompt + worked[:start], tuple(map(str, numbers)), numbers.index(problem.answer)
