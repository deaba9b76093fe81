"""How long to add rounds, and what a run did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import plural

FIRST_LOOK = 2
"""Rounds before the first look at a comparison: one has no scatter."""

TIME_IS_UP = "stopped as the time of the run was up"
"""Why a round ended that ``Budget.limit_s`` stopped."""

Look = Callable[[str], Collection[str]]
"""Given the name of an experiment, returns the ids of the cells that need one more round; empty where none does."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to go on adding rounds.

    Attributes:
        seconds: no further round of the matrix begins when it would end later than this; None: no limit.
        min_rounds: so many rounds run whatever the time.
        limit_s: everything ends after so many seconds, rounds that go on too; None: no limit.
    """

    seconds: float | None = None
    min_rounds: int = 1
    limit_s: float | None = None


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        experiment: name under which the rounds are stored.
        done: rounds finished now.
        kept: rounds that were there already.
        failed: (cell label, round, status, reason) of each round that did not finish.
        cut: (cell label, round, reason) of each round of which only the first samples are there.
        interrupted: whether Ctrl-C ended it.
        stopped: why it ended early, such as a full disk; None when it did not.
        undecided: where rounds are added until a question is answered: labels of the cells whose comparison has no
            answer yet, and about how many more rounds each would need; None where that cannot be known.
    """

    experiment: str
    done: int = 0
    kept: int = 0
    failed: list[tuple[str, int, str, str]] = field(default_factory=list)
    cut: list[tuple[str, int, str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: str | None = None
    undecided: dict[str, int | None] = field(default_factory=dict)


def describe_failures(failed: Sequence[tuple[str, int, str, str]]) -> list[str]:
    """Word each failed round in one line."""
    return [f"{label}, round {index + 1}: {status}: {reason}" for label, index, status, reason in failed]


def describe_undecided(undecided: Mapping[str, int | None]) -> list[str]:
    """Word in one line for each comparison without an answer how many more rounds it would need."""
    return [
        f"{label}: no answer yet; "
        + (
            "how many more rounds it needs cannot be known"
            if more is None
            else f"about {plural(more, 'more round')} would be needed"
        )
        for label, more in undecided.items()
    ]
