"""Grade-school arithmetic word problems, unlimited and seeded: what the tiny models learn and are tested on.

A problem starts from a number of items and changes it in one to three steps; the solution tells every step in words
with its equation, as in `Mia gets 7 more: 12+7=19.`, and ends with `#### 19`.

The wording of a step is drawn at random from several, among which an author has favourites that depend on the person
of the story. Target and draft learn from two authors who share about half of their favourites: so the draft misses
some choices of its target, as a real one does, while the target's own greedy choices stand clear of ties (a rounding
error changes few outputs; a harsh quantisation changes many).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ivy", "Jack", "Lena", "Mia")
ITEMS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pencils", "shells", "stamps", "stickers")
MAX_VALUE = 299
"""No number in a problem is larger. Lower values are learned too well to show what a quantisation costs."""
HELD_OUT_SHARE = 1 / 16
"""Share of all questions that training never sees, chosen by a hash of their text."""

FAVOURITE_SHARE = 0.6
"""How often an author's favourite wording is taken outright; else all wordings are equally likely."""
_SHARED_FAVOURITES = 0.5
"""Share of the first author's favourites that the second one has too."""

_OPENINGS = (
    "{name} has {value} {items}.",
    "{name} starts the day with {value} {items}.",
    "There are {value} {items} in {name}'s bag.",
)
_CLOSINGS = (
    "How many {items} does {name} have now?",
    "How many {items} are there in the end?",
    "How many {items} does {name} have at the end?",
)
_FIRST_LINKS = ("First,", "To start,", "Now", "Here", "At first,")
_LATER_LINKS = ("Next,", "Then", "Now", "After that,", "Here")
_TAILS = ("", "", " That makes {value}.", " So {value} {items}.", " We get {value}.", " {name} has {value}.")
_WORDS = {
    "+": ("we add {n}", "{name} gets {n} more", "the number grows by {n}", "{n} {items} come in", "plus {n}"),
    "-": ("we take {n} away", "{name} loses {n}", "the number falls by {n}", "{n} {items} go away", "minus {n}"),
    "*": ("we take it {n} times", "{n} times as many", "the number grows {n} times", "multiply by {n}"),
    "/": ("we split it in {n}", "a share of {n} is kept", "the number is cut in {n} parts", "divide by {n}"),
    "box*": ("the boxes hold", "we count the boxes", "in all the boxes there are", "the boxes bring"),
}


class Author(StrEnum):
    """Whose wording a solution has: the target's teacher or the draft's."""

    FIRST = "first"
    SECOND = "second"


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, its worked solution (which ends with `#### <answer>`) and the answer."""

    question: str
    solution: str
    answer: int

    @property
    def prompt(self) -> str:
        """What a model is given; its continuation starts with a space."""
        return f"Question: {self.question}\nAnswer:"

    @property
    def completion(self) -> str:
        """What a model should go on with, before its end token."""
        return f" {self.solution}"


_Equation = tuple[int, str, int, int]
"""Left, operator (`box*` is a product whose left side is not the current value), right, result."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One change of the number of items: its sentence in the question, its equations and the new number."""

    sentence: str
    equations: tuple[_Equation, ...]
    value: int


_Template = Callable[[random.Random, int], "_Step | None"]


def _plus(sentence: str) -> _Template:
    def draw(rng: random.Random, value: int) -> _Step | None:
        if value > MAX_VALUE - 2:
            return None
        n = rng.randint(2, min(MAX_VALUE - value, rng.choice((20, 99, MAX_VALUE))))
        return _Step(sentence.replace("{n}", str(n)), ((value, "+", n, value + n),), value + n)

    return draw


def _minus(sentence: str) -> _Template:
    def draw(rng: random.Random, value: int) -> _Step | None:
        if value < 4:
            return None
        n = rng.randint(2, min(value - 1, rng.choice((20, 99, MAX_VALUE))))
        return _Step(sentence.replace("{n}", str(n)), ((value, "-", n, value - n),), value - n)

    return draw


def _times(sentence: str, largest: int) -> _Template:
    def draw(rng: random.Random, value: int) -> _Step | None:
        if 2 * value > MAX_VALUE:
            return None
        n = rng.randint(2, min(largest, MAX_VALUE // value))
        return _Step(sentence.replace("{n}", str(n)), ((value, "*", n, value * n),), value * n)

    return draw


def _shared(sentence: str) -> _Template:
    def draw(rng: random.Random, value: int) -> _Step | None:
        divisors = [n for n in range(2, 10) if value % n == 0 and value > n]
        if not divisors:
            return None
        n = rng.choice(divisors)
        return _Step(sentence.replace("{n}", str(n)), ((value, "/", n, value // n),), value // n)

    return draw


def _boxes(sentence: str) -> _Template:
    def draw(rng: random.Random, value: int) -> _Step | None:
        boxes, each = rng.randint(2, 9), rng.randint(2, 12)
        total = boxes * each
        if value + total > MAX_VALUE:
            return None
        filled = sentence.replace("{n}", str(boxes)).replace("{each}", str(each))
        equations = ((boxes, "box*", each, total), (value, "+", total, value + total))
        return _Step(filled, equations, value + total)

    return draw


_TEMPLATES: tuple[_Template, ...] = (
    _plus("{name} buys {n} more {items}."),
    _plus("{name} finds {n} {items}."),
    _plus("{friend} brings {n} {items}."),
    _minus("{name} gives {n} {items} to {friend}."),
    _minus("{name} loses {n} {items}."),
    _minus("{name} sells {n} {items}."),
    _times("The number of {items} grows {n} times.", 9),
    _times("Soon there are twice as many {items}.", 2),
    _shared("{name} shares them equally among {n} people and keeps one share."),
    _boxes("{name} buys {n} boxes of {each} {items} each."),
)


def is_held_out(question: str) -> bool:
    """Tell whether training must never see this question; the same in every process and on every machine."""
    digest = hashlib.sha256(question.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def training_problems(
    seed: int, author: Author = Author.FIRST, favourite_share: float = FAVOURITE_SHARE
) -> Iterator[Problem]:
    """Yield training problems without end; equal seeds give equal problems.

    With a `favourite_share` of 1 an author always takes the favourites, as a model that learned from it does greedily.
    """
    return (problem for problem in _problems(seed, author, favourite_share) if not is_held_out(problem.question))


def held_out_problems(seed: int, author: Author = Author.FIRST) -> Iterator[Problem]:
    """Yield problems that training never saw, without end and without a repetition; equal seeds give equal ones."""
    seen = set()
    for problem in _problems(seed, author, FAVOURITE_SHARE):
        if is_held_out(problem.question) and problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _problems(seed: int, author: Author, favourite_share: float) -> Iterator[Problem]:
    rng = random.Random(seed)
    while True:
        yield _problem(rng, author, favourite_share)


def _problem(rng: random.Random, author: Author, favourite_share: float) -> Problem:
    name, friend = rng.sample(NAMES, 2)
    words = {"name": name, "friend": friend, "items": rng.choice(ITEMS)}
    start = rng.randint(2, rng.choice((30, 99, MAX_VALUE)))
    steps = _steps(rng, start, rng.randint(1, 3))
    sentences = [rng.choice(_OPENINGS).replace("{value}", str(start)), *(step.sentence for step in steps)]
    question = " ".join([*sentences, rng.choice(_CLOSINGS)]).format(**words)
    equations = [equation for step in steps for equation in step.equations]
    teller = _Teller(rng, author, favourite_share, words)
    told = [teller.tell(equation, is_first=at == 0) for at, equation in enumerate(equations)]
    answer = steps[-1].value
    return Problem(question, " ".join(told) + f"\n#### {answer}", answer)


def _steps(rng: random.Random, value: int, count: int) -> list[_Step]:
    steps: list[_Step] = []
    while len(steps) < count:
        step = rng.choice(_TEMPLATES)(rng, value)
        if step is not None:
            steps.append(step)
            value = step.value
    return steps


@dataclass(frozen=True, slots=True)
class _Teller:
    """Words the equations of a solution, each part in a phrasing drawn by an author's taste."""

    rng: random.Random
    author: Author
    favourite_share: float
    words: dict[str, str]

    def tell(self, equation: _Equation, *, is_first: bool) -> str:
        left, operator, right, result = equation
        link = self._choose("first link", _FIRST_LINKS) if is_first else self._choose("link", _LATER_LINKS)
        wording = self._choose(operator, _WORDS[operator])
        told = f"{link} {wording}: {left}{operator[-1]}{right}={result}.{self._choose('tail', _TAILS)}"
        return told.format(n=right, value=result, **self.words)

    def _choose(self, slot: str, wordings: Sequence[str]) -> str:
        if self.rng.random() < self.favourite_share:
            return wordings[_favourite(self.author, self.words["name"], slot) % len(wordings)]
        return self.rng.choice(wordings)


@cache
def _favourite(author: Author, name: str, slot: str) -> int:
    """Return a large number that stands for an author's favourite wording in a slot, modulo how many there are."""
    number = int.from_bytes(hashlib.sha256(f"{author}/{name}/{slot}".encode()).digest()[:8], "big")
    if author is Author.SECOND and number < _SHARED_FAVOURITES * 2**64:
        return _favourite(Author.FIRST, name, slot)
    return number
