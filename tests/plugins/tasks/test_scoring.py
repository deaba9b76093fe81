r"""The scorers: integers of AIME, mathematical equivalence, exact match; how fast ten thousand answers are judged."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench import TaskSample
from decodebench.core.host.registry import Registry
from decodebench.core.measure.prompts import Prompts
from decodebench.plugins.tasks.scoring.equivalence import Judge, final_expression, normalised, score_equivalence
from decodebench.plugins.tasks.scoring.exact import score_exact
from decodebench.plugins.tasks.scoring.integer import final_integer, score_integer
from decodebench.plugins.tasks.scoring.number import score_number

INTEGER_FORMATS = [
    r"\boxed{{{n}}}", r"$\boxed{{{n}}}$", r"The answer is $\boxed{{{n}}}$.", r"\boxed{{{z}}}", r"\boxed{{ {n} }}",
    r"\boxed{{m + n = {n}}}", r"\boxed{{m+n=7+5={n}}}", r"\boxed{{\textbf{{(B)}} {n}}}", r"\boxed{{{n}.0}}",
    r"\boxed{{\text{{{n}}}}}", r"\boxed{{{n}^\circ}}", r"first \boxed{{1}}, then \boxed{{{n}}}, since 3 < 8",
    r"\[\boxed{{{n}}}\]", r"\fbox{{{n}}}", r"\boxed{{\ {n}\ }}", r"\boxed{{\mathbf{{{n}}}}}", "The answer is {n}",
    "**{n}**", "#### {n}", "{z}", "So we get {n}.", "m+n = {n}", "$m+n={n}$", r"\({n}\)", "Answer: {n}\n", "= {n}.",
]  # fmt: skip


def test_thousands_of_integers_in_dozens_of_formats():
    draw = random.Random(3)
    count = 0
    for text, value in itertools.product(
        INTEGER_FORMATS, [0, 1, 7, 73, 999, *(draw.randrange(1000) for _ in range(75))]
    ):
        answer = text.format(n=value, z=f"{value:03d}")
        right, wrong = score_integer(answer, str(value)), score_integer(answer, f"{value + 1}")
        assert (right.value, wrong.value) == (1.0, 0.0), answer
        assert right.extracted == str(value)
        count += 2
    assert count > 4000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{\frac{7}{3}} and 10", None), (r"\boxed{7/3}", None), (r"\boxed{2.5}", None),
        (r"\boxed{none}, 5", None),
        ("2.5", None), ("no", None), (r"\boxed{1,024}", "1024"), (r"\boxed{-4}", "-4"), (r"\boxed{\text{no}} 3", None),
        ("9" * 5000, None), (r"\boxed{" + "9" * 5000 + "}", None), ("", None),
    ],
)  # fmt: skip
def test_what_is_no_integer_is_no_answer(text, found):
    assert final_integer(text) == found


EQUAL = [
    (r"\frac{1}{2}", "0.5"), (r"\dfrac{1}{2}", r"\frac12"), (r"2\sqrt2", r"\sqrt{8}"), (r"x^2+6x+9", r"(x+3)^2"),
    (r"(4,\pi/2)", r"\left( 4, \frac{\pi}{2} \right)"), (r"\text{Monday}", "Monday"), ("90^\\circ", "90"),
    (r"\left[0,1\right)", "[0,1)"), ("1,000", "1000"), (r"1{,}000", "1000"), (r"\$7", "7"), ("x=5", "5"),
    (r"5\text{ cm}", "5"), (r"10\%", "0.1"), (r"-\frac{3}{4}", r"\frac{-3}{4}"), (r"3\pi", r"\pi\cdot 3"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"), (r"1+\sqrt{3}", r"\sqrt3+1"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), (r"2^{10}", "1024"), ("(-2,2)", r"\left(-2, 2\right)"),
    ("7.0", "7"),
]  # fmt: skip
UNEQUAL = [
    (r"\frac{1}{2}", "0.25"), (r"2\sqrt3", r"\sqrt{8}"), ("x^2+9", "(x+3)^2"), ("(4,0)", "(0,4)"), ("[0,1]", "[0,1)"),
    (r"\text{Monday}", r"\text{Tuesday}"), ("17", "18"), (r"\pi", "3.14"), ("no", "7"), ("", "7"), ("{", "7"),
    (r"2^{100000000}", "3"), ("\\", r"\sqrt{2}"), ("1/0", "1"), (r"\frac{1}{0}", r"\infty"),
]  # fmt: skip
WRAPPINGS = [
    r"\boxed{{{x}}}", r"So $\boxed{{{x}}}$.", r"The final answer is ${x}$", r"The answer is \({x}\).", r"#### {x}",
    r"We find \[\boxed{{{x}}}\] which is 3 more.", r"\boxed{{0}} is wrong: \boxed{{{x}}}", "Answer: ${x}$",
    r"\fbox{{{x}}}",
]  # fmt: skip


@pytest.mark.parametrize(("found", "reference"), EQUAL)
def test_equal_expressions_however_they_are_written(found, reference):
    for wrapping in WRAPPINGS:
        text = wrapping.format(x=found)
        assert score_equivalence(text, reference).value == 1.0, text


@pytest.mark.parametrize(("found", "reference"), UNEQUAL)
def test_unequal_expressions(found, reference):
    for wrapping in WRAPPINGS[:2]:
        assert score_equivalence(wrapping.format(x=found), reference).value == 0.0


def test_an_answer_that_takes_for_ever_is_wrong_within_its_time_and_the_next_is_judged():
    judge = Judge(limit_s=1.0)
    begin = time.perf_counter()
    assert judge.verdict("10^{10^{10^{10}}}", r"3\pi") is False
    assert time.perf_counter() - begin < 1.0 + 15
    judge.limit_s = 30.0
    assert judge.verdict(r"\sqrt{8}", r"2\sqrt{2}") is True
    judge.stop()


def test_judging_leaves_signals_alone_and_works_in_a_thread():
    before = signal.getsignal(signal.SIGALRM)
    found = []
    thread = threading.Thread(target=lambda: found.append(score_equivalence(r"\boxed{\sqrt{12}}", r"2\sqrt{3}").value))
    thread.start()
    thread.join()
    assert found == [1.0] and signal.getsignal(signal.SIGALRM) is before


def test_the_library_is_loaded_in_a_process_of_its_own():
    code = (
        "import sys; from decodebench.plugins.tasks.scoring.equivalence import score_equivalence as s;"
        r"assert s(r'\boxed{\sqrt{8}}', r'2\sqrt{2}').value == 1;"
        "print([m for m in ('sympy', 'math_verify') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@given(st.text(st.sampled_from("\\boxed{}frac12x^_$#.,()answer is \n")))
def test_no_text_breaks_the_search_for_an_expression(text):
    found = final_expression(text)
    assert found is None or (found == found.strip() and 0 < len(found) <= 2000)
    assert isinstance(normalised(text), str)


def test_exact_match_is_exact():
    assert score_exact(" Paris\n", "Paris").value == 1.0
    assert score_exact("paris", "Paris").value == 0.0
    assert score_number("no", "7").extracted is None


def _answers(task, wrap, count):
    """Generated answers to a task's problems, right and wrong, as an iterator that holds none of them."""
    draw = random.Random(1)
    samples = list(task.samples(100, 1))
    for index in range(count):
        sample = draw.choice(samples)
        said = sample.reference if draw.random() < 0.6 else draw.choice(samples).reference + draw.choice(["", "1"])
        yield index, sample.id, "Let us see. " * 40 + wrap[index % len(wrap)].format(n=said, x=said)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("gsm8k", ["#### {n}", "{n} km", r"\boxed{{{n}}}"]),
        ("aime25", [r"\boxed{{{n}}}", "{n}"]),
        ("math500", WRAPPINGS),
    ],
)
def test_ten_thousand_answers_take_less_than_five_seconds_and_no_memory(name, wrap, data_by_hand):
    task = Registry(only=["tasks"]).task(name)
    prompts = Prompts((), task, {sample.id: sample for sample in task.samples(100, 1)})
    for _ in prompts.scores(
        _answers(task, wrap, 200)
    ):  # math-verify's process is running, regular expressions are made
        pass
    assert min(_seconds(prompts, task, wrap) for _ in range(2)) < 5
    tracemalloc.start()
    for _ in prompts.scores(_answers(task, wrap, 2000)):
        pass
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def _seconds(prompts, task, wrap):
    begin = time.perf_counter()
    assert sum(1 for _ in prompts.scores(_answers(task, wrap, 10_000))) == 10_000
    return time.perf_counter() - begin


def test_answers_are_scored_as_they_come(data_by_hand):
    task = Registry(only=["tasks"]).task("gsm8k")
    sample = next(task.samples(1, 1))
    prompts = Prompts((), task, {sample.id: sample})
    endless = ((index, sample.id, "#### 1") for index in itertools.count())
    assert [line["index"] for line in itertools.islice(prompts.scores(endless), 3)] == [0, 1, 2]
    assert isinstance(sample, TaskSample)
