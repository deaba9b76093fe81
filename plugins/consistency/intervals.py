"""Arithmetic on printed numbers: each stands for every value that rounds to its digits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_PRINTED = re.compile(r"\s*(?P<number>[-+]?\d[\d,]*(?:\.\d+)?|[-+]?\.\d+)\s*(?P<suffix>%|x)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds that rounding leaves open.

    Attributes:
        value: as computed from the printed digits themselves.
        low, high: the true value lies between them, whatever was rounded.
    """

    value: float
    low: float
    high: float

    def __neg__(self) -> Interval:
        return Interval(-self.value, -self.high, -self.low)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval) -> Interval:
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(self.value * other.value, min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        """Divide; raises ``ZeroDivisionError`` when the divisor may be 0."""
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError
        ends = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(self.value / other.value, min(ends), max(ends))

    def overlaps(self, other: Interval) -> bool:
        """Whether some value lies in both, a rounding error of the arithmetic aside."""
        slack = 1e-12 * max(abs(self.value), abs(other.value))
        return self.low <= other.high + slack and other.low <= self.high + slack


@dataclass(frozen=True, slots=True)
class Printed:
    """A number as a table prints it.

    Attributes:
        text: the digits, with ``%``, ``x`` or thousands separators as they stand.
        number: its value; a percentage is a share.
        unit: of its last digit, in the same scale.
    """

    text: str
    number: Decimal
    unit: Decimal

    @classmethod
    def read(cls, text: str) -> Printed:
        """Read printed digits.

        Raises:
            ValueError: it is no number.
        """
        found = _PRINTED.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a printed number")
        number = Decimal(found["number"].replace(",", ""))
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)
        scale = Decimal("0.01") if found["suffix"] == "%" else Decimal(1)
        return cls(text.strip(), number * scale, Decimal(1).scaleb(exponent) * scale)

    @property
    def interval(self) -> Interval:
        """Everything that rounds to these digits."""
        value, half = float(self.number), float(self.unit) / 2
        return Interval(value, value - half, value + half)

    def is_rounded_from(self, value: float) -> bool:
        """Whether a value, rounded to as many digits, prints the same; a half may go either way."""
        return abs(Decimal(repr(value)) - self.number) <= self.unit * Decimal("0.5000001")


def exact(value: float) -> Interval:
    """Return a number that is not rounded, such as a count."""
    return Interval(value, value, value)
