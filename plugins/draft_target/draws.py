"""Random numbers by seed, position and purpose: a round that is repeated draws what it drew before."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_MASK = 2**64 - 1


class Purpose(IntEnum):
    """What a number is for; different purposes at one position are independent."""

    DRAFT = 1
    ACCEPT = 2
    TARGET = 3


class Draws:
    """The numbers of one request.

    They depend on nothing but their arguments, so that a verification that is asked for twice, because its answer was
    lost, answers alike; and draft and target, which share the seed, do not draw the same numbers.
    """

    def __init__(self, seed: int) -> None:
        self._start = _mix(seed & _MASK)

    def uniform(self, position: int, purpose: Purpose, index: int = 0) -> float:
        """Return a number in [0, 1) with 53 random bits.

        Args:
            position: of the token in the whole sequence.
            purpose: what it is for.
            index: of the candidate.
        """
        return (_mix(self._start ^ _mix((position << 24) + (index << 4) + purpose)) >> 11) * 2.0**-53


def _mix(value: int) -> int:
    """Scramble 64 bits: the output function of SplitMix64 (Steele, Lea and Flood 2014, figure 15)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def pick(chances: Tensor, number: float) -> int:
    """Turn a number in [0, 1) into an id: the first whose cumulated chance exceeds it; [V], need not sum to 1."""
    import torch

    mass = chances.double().cumsum(-1)
    wanted = mass[-1:] * number
    return min(int(torch.searchsorted(mass, wanted, right=True)), len(chances) - 1)
