r"""The final number of an answer: dozens of ways to write it, whatever else the text holds."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from decodebench.core.sdk.answers import boxed, final_number, same_number

FORMATS = [
    "{n}", "{n}.", " {n} ", "{n}\n", "#### {n}", "####{n}", "#### ${n}", "#### $ {n}", "#### **{n}**",
    "#### {n} apples",
    "#### {n}\nQuestion: what is 3+4?\nAnswer: #### 7", "The answer is {n}.", "The answer is: {n}", "**Answer:** {n}",
    "so there are 5, then {n} apples.", "3 + 4 = 7, and in the end {n}", "= {n}", "x = {n}", "(x = {n})", "[{n}]",
    r"\boxed{{{n}}}", r"$\boxed{{{n}}}$", r"\boxed{{ {n} }}", r"\boxed{{\text{{{n}}}}}",
    r"\boxed{{{n}\text{{ dollars}}}}",
    r"\boxed{{\$ {n}}}", r"\boxed{{{n}\%}}", r"\boxed{{x = {n}}}", r"\fbox{{{n}}}", r"\boxed{{1}} no, \boxed{{{n}}}",
    r"so \boxed{{{n}}}, as 3 is less than 8", r"\[ \boxed{{{n}}} \]", "{n} dollars", "{n} km", "{n} km/h",
    "{n}%", "{n} %",
    "{n} m2", "{n} m^2", "{n} cm$^2$", "{n} m^{{2}}", "{n} ft**3", "{n} square metres", "{n} m²", "${n}",
    "$ {n}", "€{n}",
    "{n}€", "£{n}", r"\${n}", "**{n}**", "*{n}*", "`{n}`", "_{n}_", "'{n}'", '"{n}"', "{n}!", "{n}?", "{n};",
    "Answer\t{n}",
    "1. First 3.\n2. Then 4.\n\nTotal: {n}", "<answer>{n}</answer>", "Final answer → {n}",
    "It costs {n} a piece\u00a0.",
]  # fmt: skip


def written(draw: random.Random, value: int) -> list[str]:
    """A number in all the ways that people write it."""
    plain, grouped = str(value), f"{value:,}"
    more = [f"{value}.0", f"{grouped}.00", grouped.replace(",", "{,}"), grouped.replace(",", r"\,")]
    more += [grouped.replace(",", "\u202f"), grouped.replace(",", r"\!"), plain.replace("-", "\u2212")]
    return [plain, grouped, *draw.sample(more, 3)]


def test_thousands_of_answers_in_dozens_of_formats():
    draw = random.Random(7)
    values = [0, 1, -1, 9, 10, 100, 999, 1000, 1234567, -1234, *(draw.randint(-(10**7), 10**7) for _ in range(10))]
    count, wrong = 0, []
    for text in FORMATS:
        for value in values:
            for number in written(draw, value):
                count += 1
                answer = text.format(n=number)
                if value < 0 and re.search(r"[$€£] ?\{n\}", text):
                    continue  # "$-5" and "-$5" stand in the next test
                if not same_number(final_number(answer), str(value)):
                    wrong.append((answer, final_number(answer), value))
    assert count > 6000 and len(FORMATS) > 60
    assert not wrong, wrong[:5]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-$5", "-5"), ("$-5", "-5"), ("It is \u2212$1,200.50.", "-1200.5"), (".5 litres", ".5"), ("x=.50", ".5"),
        ("3e5", "3e5"), ("1.5E-3 mol", "1.5E-3"), (r"\boxed{\frac{1}{2}}", "1/2"), (r"\boxed{-\dfrac{3}{4}}", "-3/4"),
        (r"\boxed{3/4}", "3/4"), (r"\boxed{\frac12} of 3", "1/2"), (r"#### 4 \boxed{5}", "4"), ("#### none, 7", "7"),
        ("in 2 days", "2"), ("12, 14", "14"), ("10'000 francs", "10000"), ("1_000_000", "1000000"), ("007", "007"),
        ("no number", None), ("", None), (r"\boxed{no} but 3", "3"), (r"\boxed{4", "4"), ("1,23", "23"), ("####", None),
    ],
)  # fmt: skip
def test_what_is_taken_for_the_number(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("found", "reference", "equal"),
    [
        ("18", "18", True), ("18.0", "18", True), ("1/2", "0.5", True), (".5", "1/2", True), ("3e2", "300", True),
        ("007", "7", True), ("18", "1,8", True), ("17", "18", False), (None, "18", False), ("1/0", "1", False),
        ("-0", "0", True), ("9" * 5000, "9" * 5000, True), ("9" * 5000, "1", False), ("18", "eighteen", False),
    ],
)  # fmt: skip
def test_numbers_are_equal_by_value(found, reference, equal):
    assert same_number(found, reference) is equal


def _earlier(text):
    """The scorer that tiny-gsm had by itself: its scores must not change."""
    number = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
    marked = re.search(rf"####\s*\$?\s*({number})", text)
    numbers = [marked.group(1)] if marked else re.findall(number, text)
    if not numbers:
        return None
    found = numbers[-1].replace(",", "")
    return found.rstrip("0").rstrip(".") if "." in found else found


@given(st.lists(st.sampled_from([*"0123456789", "12", "####", " ", "=", "+", "-", "*", ". ", ", ", "\n", "Mia gets "])))
@example(["####", " ", "1", "2"])
def test_texts_of_the_tiny_models_are_read_as_ever(parts):
    text = "".join(parts)
    assume(not re.search(r"####[\s*]*\*", text))  # a bold number, which it did not know
    assert final_number(text) == _earlier(text)


@given(st.text(st.sampled_from("\\boxed{}0123,.-$#e/ \u2212²")))
def test_no_text_breaks_it(text):
    found = final_number(text)
    assert found is None or same_number(found, found) or "/0" in found
    inner = boxed(text)
    assert inner is None or inner in text


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        (r"\boxed{5}", "5"), (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"), (r"\boxed{1}, \boxed{2}", "2"), ("none", None),
        (r"\boxed{1} \boxed{2", "1"), (r"\boxed{\{1\}}", r"\{1\}"), (r"\boxed {7}", "7"), (r"} \boxed{7} }", "7"),
        (r"\boxed{a \boxed{b}}", "b"),
    ],
)  # fmt: skip
def test_the_last_whole_box(text, inner):
    assert boxed(text) == inner


def test_long_texts_take_no_longer_than_their_length():
    begin = time.perf_counter()
    for part in (r"\boxed{", "1,", "m2", "-$", "1,000", "####", "$", r"\frac{1}", "1e", " .5", "{", "- "):
        final_number(part * 20_000)
        boxed(part * 20_000)
    assert time.perf_counter() - begin < 10
