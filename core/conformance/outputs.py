"""Outputs of a backend, and where two of them part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..isolation.processes.messages import Line


@dataclass(frozen=True, slots=True)
class Generation:
    """One sample of a worker process.

    Attributes:
        sample: its line: output ids, text, finish, times.
        steps: the lines of its steps, in order of time.
    """

    sample: Line
    steps: Sequence[Line]

    @property
    def ids(self) -> list[int]:
        """The output's token ids."""
        return list(self.sample["output_ids"])


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Return the index at which two outputs part; None where one is the beginning of the other."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def parting(wanted: Sequence[int], got: Sequence[int]) -> str:
    """Word where two unlike outputs part."""
    at = first_difference(wanted, got)
    if at is None:
        return f"{counted(got)} instead of {len(wanted)}"
    return f"token {at + 1} is {got[at]} instead of {wanted[at]}"


def counted(ids: Sequence[int]) -> str:
    """Return ``1 token``, ``2 tokens``."""
    return f"{len(ids)} token{'' if len(ids) == 1 else 's'}"
