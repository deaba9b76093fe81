"""The problem generator: seeded, right, varied in wording, and its held-out split never leaks."""

import re
import subprocess
import sys
from itertools import islice

import pytest

from decodebench.plugins.reference.problems import (
    HELD_OUT_SHARE,
    MAX_VALUE,
    NAMES,
    Author,
    _favourite,
    held_out_problems,
    is_held_out,
    training_problems,
)

EQUATION = re.compile(r"(\d+)([+*/-])(\d+)=(\d+)")


def test_equal_seeds_give_equal_problems():
    assert list(islice(training_problems(7), 50)) == list(islice(training_problems(7), 50))
    assert list(islice(training_problems(7), 50)) != list(islice(training_problems(8), 50))


def test_every_equation_of_a_solution_holds_and_the_last_is_the_answer():
    for problem in islice(training_problems(1), 500):
        equations = EQUATION.findall(problem.solution)
        for left, operator, right, result in equations:
            a, b = int(left), int(right)
            exact = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operator]
            assert exact == int(result)
            assert 0 < int(result) <= MAX_VALUE
        assert 1 <= len(equations) <= 6
        assert int(equations[-1][3]) == problem.answer
        assert problem.solution.endswith(f"\n#### {problem.answer}")


def test_numbers_of_the_first_equation_stand_in_the_question():
    for problem in islice(training_problems(2), 200):
        left = EQUATION.findall(problem.solution)[0][0]
        assert left in re.findall(r"\d+", problem.question)


def test_prompt_and_text_leave_no_gap_of_the_templates_open():
    for problem in islice(training_problems(3), 500):
        assert problem.prompt == f"Question: {problem.question}\nAnswer:"
        assert not set("{}") & set(problem.prompt + problem.completion)


def test_training_never_sees_a_held_out_question():
    assert not any(is_held_out(problem.question) for problem in islice(training_problems(4), 500))
    held_out = [problem.question for problem in islice(held_out_problems(4), 200)]
    assert all(map(is_held_out, held_out))
    assert len(set(held_out)) == 200


def test_held_out_share_is_as_declared():
    questions = [problem.question for seed in range(3) for problem in islice(training_problems(seed), 1)]
    assert not any(map(is_held_out, questions))
    hit = sum(is_held_out(f"question {number}") for number in range(20_000))
    assert hit / 20_000 == pytest.approx(HELD_OUT_SHARE, rel=0.1)


def test_split_and_problems_do_not_depend_on_the_process():
    program = (
        "from decodebench.plugins.reference.problems import held_out_problems\n"
        "print(next(held_out_problems(11)).prompt)"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert other.strip() == next(held_out_problems(11)).prompt


def test_one_question_is_solved_in_many_wordings():
    first_words = {problem.solution.split(":")[0] for problem in islice(training_problems(5), 300)}
    assert len(first_words) > 50


def test_authors_solve_the_same_problems_in_different_words():
    first = list(islice(training_problems(6, Author.FIRST), 100))
    second = list(islice(training_problems(6, Author.SECOND), 100))
    assert [problem.question for problem in first] == [problem.question for problem in second]
    assert [EQUATION.findall(a.solution) for a in first] == [EQUATION.findall(b.solution) for b in second]
    differing = sum(a.solution != b.solution for a, b in zip(first, second, strict=True))
    assert 50 < differing


def test_authors_share_about_half_of_their_favourites():
    slots = [(name, slot) for name in NAMES for slot in ("link", "first link", "+", "-")]
    shared = sum(_favourite(Author.FIRST, *slot) % 5 == _favourite(Author.SECOND, *slot) % 5 for slot in slots)
    assert 0.4 < shared / len(slots) < 0.8
