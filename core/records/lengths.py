"""Lengths in tokens that are drawn from a distribution, as a user writes it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

Shape = Literal["uniform", "normal", "lognormal"]

FORMS = "uniform:LOW:HIGH, normal:MEAN:SD or lognormal:MEDIAN:SIGMA, the last two with :MOST behind or without"
_SHAPES: dict[str, Shape] = {"uniform": "uniform", "normal": "normal", "lognormal": "lognormal"}


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of lengths, each at least 1.

    Attributes:
        shape: ``uniform`` over whole numbers, ``normal``, or ``lognormal``, whose logarithm is normal.
        first: smallest length, mean, or median.
        second: largest length, standard deviation, or standard deviation of the logarithm.
        most: longer ones are cut to this; None: they are not.
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
        return cls(shape, first, second, int(most[0]) if most else None)

    def draw(self, chooser: random.Random) -> int:
        """Draw one length."""
        match self.shape:
            case "uniform":
                return chooser.randint(int(self.first), int(self.second))
            case "normal":
                drawn = chooser.normalvariate(self.first, self.second)
            case "lognormal":
                drawn = chooser.lognormvariate(math.log(self.first), self.second)
        return max(1, round(drawn if self.most is None else min(drawn, self.most)))


def _least(shape: Shape) -> str:
    return "the first" if shape == "uniform" else "0"
