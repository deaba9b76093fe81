"""In which order the members of a block take their turns: seeded, and balanced over place and predecessor."""

from __future__ import annotations

import random
from collections.abc import Iterator


def turns(count: int, seed: str) -> Iterator[tuple[int, ...]]:
    """Yield who measures when, without end: in each row everybody once.

    In as many rows as there are members (twice as many where their number is odd) each stands in each place equally
    often and follows each other one equally often, so that neither an early turn nor what the one before left in the
    caches favours anybody (E. J. Williams, "Experimental designs balanced for the estimation of residual effects of
    treatments", Australian J. of Scientific Research A 2, 1949). Two members give A B, B A.

    Args:
        count: of members.
        seed: decides who is who, and the order of the rows within each such set.
    """
    chooser = random.Random(seed)
    names = list(range(count))
    chooser.shuffle(names)
    square = [tuple(names[at] for at in row) for row in _williams(count)]
    while True:
        chooser.shuffle(square)
        yield from square


def _williams(count: int) -> list[list[int]]:
    """Return a Williams design: from 0, n-1, 1, n-2, ... every row is the one before with 1 added to each."""
    first = [at // 2 if at % 2 == 0 else count - 1 - at // 2 for at in range(count)]
    rows = [[(at + shift) % count for at in first] for shift in range(count)]
    return rows if count % 2 == 0 else rows + [row[::-1] for row in rows]
