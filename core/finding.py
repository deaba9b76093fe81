"""What a check over finished measurements is to the host: a name and a function that words what is doubtful."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CellFacts = Mapping[str, Any]
"""A cell that has a finished round: the columns of ``run_metrics`` of its first one (JSON columns as objects),
``label``, the cell's name in tables, and ``measured``, rows of that round's measured samples."""


@dataclass(frozen=True, slots=True)
class FindingCheck:
    """A check that a plugin adds to those of ``compare`` and ``findings``.

    Attributes:
        name: of the check.
        summary: one line on what it looks for.
        check: gets the cells of one experiment and yields a sentence per finding, which names the cells and says what
            to do.
    """

    name: str
    summary: str
    check: Callable[[Sequence[CellFacts]], Iterable[str]]
