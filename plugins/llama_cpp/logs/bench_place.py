"""Where on a page tests of llama-bench stand: several launches, maybe of several machines, are posted as one page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.sdk.logs.pages import heading_of
from .console_settings import gpus_by_line


@dataclass(frozen=True, slots=True)
class Place:
    """What stands above a test.

    Attributes:
        gpus: that its launch says it found.
        heading: where tests stand below several, that above this one; nothing shows that they were run alike.
    """

    gpus: tuple[str, ...] = ()
    heading: str | None = None


def places_of(lines: Sequence[str], tests: Sequence[int]) -> list[Place]:
    """Return the place of each test, of which the lines are given, from 1."""
    numbered = [*enumerate(lines, start=1)]
    ordered = sorted(tests)
    launches: dict[int, list[str]] = {}  # GPUs by how many tests stand before them: a launch names its own at once
    for line, name in gpus_by_line(numbered):
        launches.setdefault(bisect_left(ordered, line), []).append(name)
    headings = [(line, words) for line, text in numbered if (words := heading_of(text))]
    found = [_above(headings, line) for line in tests]
    is_told = len(set(found)) > 1
    begins = sorted(launches)
    known: dict[tuple[int, str | None], Place] = {}
    places = []
    for line, heading in zip(tests, found, strict=True):
        at = max(0, bisect_right(begins, bisect_left(ordered, line)) - 1)  # of a launch that names them late, below
        place = known.get((at, heading))
        if place is None:
            place = Place(tuple(launches[begins[at]]) if begins else (), heading if is_told else None)
            known[at, heading] = place
        places.append(place)
    return places


def _above(headings: Sequence[tuple[int, str]], line: int) -> str | None:
    at = bisect_left(headings, (line, ""))
    return headings[at - 1][1] if at else None
