"""What a decoding loop asks for: one evaluation of the network and its proposals for some positions.

A loop is written for one request, as a generator: it yields a ``Forward``, is sent the ``Proposals``, and commits to
its canvas. The driver (``decoder.py``) runs the forwards of several requests together.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prefill", "full", "suffix", "block", "narrow", "commit", "reused"]
"""prefill: whole blocks of the prompt. full: the whole canvas. suffix: from the block's start to the canvas' end.
block: one block. narrow: a sub-block. commit: a finished block, to keep its keys and values. reused: no forward."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One evaluation.

    Attributes:
        kind: what it is, for the accounts.
        start: first position that is computed.
        n: how many are.
        extent: positions 0 .. extent - 1 are looked at: by all computed ones, but block by block in a prefill.
        asked: positions whose proposals are wanted, in rising order.
        may_reuse: whether layers that remember something may give that instead of running.
    """

    kind: Kind
    start: int
    n: int
    extent: int
    asked: Sequence[int]
    may_reuse: bool = False


@dataclass(frozen=True, slots=True)
class Proposals:
    """The network's choice at each position asked for, with the confidence in it."""

    ids: Sequence[int]
    confidences: Sequence[float]


Loop = Generator[Forward, Proposals, None]
REUSED = Forward("reused", 0, 0, 0, ())
"""A step that runs nothing: proposals of the step before serve again."""
