"""Lengths in tokens that are drawn from a distribution, as a user writes it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

Shape = Literal["uniform", "normal", "lognormal"]

FORMS = "uniform:LOW:HIGH, normal:MEAN:SD or lognormal:MEDIAN:SIGMA, the last two optionally followed by :MOST"
_SHAPES: dict[str, Shape] = {"uniform": "uniform", "normal": "normal", "lognormal": "lognormal"}
_MOST_WITHOUT = 2**20
"""Longest that four standard deviations may reach where no ``most`` cuts lengths: no context is longer."""
_LARGEST_LOG = 700.0  # exp of more is no float


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of lengths, each at least 1.

    Attributes:
        shape: ``uniform`` over whole numbers, ``normal``, or ``lognormal``, whose logarithm is normal.
        first: smallest length, mean, or median.
        second: largest length, standard deviation, or standard deviation of the logarithm.
        most: longer ones are cut to this; None: to what no context is longer than.
    """

    shape: Shape
    first: float
    second: float
    most: int | None = None

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """Read a distribution.

        Raises:
            ValueError: it is none; says which forms there are.
        """
        name, *numbers = text.split(":")
        shape = _SHAPES.get(name)
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = []
        if (
            shape is None
            or not 2 <= len(values) <= (2 if shape == "uniform" else 3)
            or not all(map(math.isfinite, values))
        ):
            raise ValueError(f"{text!r} is not a distribution of lengths: write {FORMS}")
        first, second, *most = values
        if first < 1 or second < 0 or any(one < 1 for one in most) or (shape == "uniform" and second < first):
            raise ValueError(f"{text!r}: lengths are at least 1, and the second number is not below {_least(shape)}")
        found = cls(shape, first, second, int(most[0]) if most else None)
        if shape != "uniform" and found.most is None and found._length(4.0) > _MOST_WITHOUT:
            raise ValueError(
                f"{text!r} may draw lengths beyond {_MOST_WITHOUT} tokens: write {text}:MOST to cut them"
                + (", or a smaller SIGMA, which is of the logarithm, such as 0.5" if shape == "lognormal" else "")
            )
        return found

    def _length(self, deviations: float) -> float:
        """Return the length so many standard deviations above the middle."""
        if self.shape == "normal":
            return self.first + deviations * self.second
        return math.exp(min(math.log(self.first) + deviations * self.second, _LARGEST_LOG))

    def draw(self, chooser: random.Random) -> int:
        """Draw one length."""
        match self.shape:
            case "uniform":
                return chooser.randint(int(self.first), int(self.second))
            case "normal":
                drawn = chooser.normalvariate(self.first, self.second)
            case "lognormal":
                drawn = math.exp(min(chooser.normalvariate(math.log(self.first), self.second), _LARGEST_LOG))
        return max(1, round(min(drawn, self.most or _MOST_WITHOUT)))


def _least(shape: Shape) -> str:
    return "the first" if shape == "uniform" else "0"
