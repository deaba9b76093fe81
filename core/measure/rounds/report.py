"""How long to add rounds, and what a run did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...contract.launcher import Outcome
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
        seconds: no further round of the matrix begins when it would end later than this, counted from the start of the
            first one: preparing models and waiting for an idle machine are not in it; None: no limit.
        min_rounds: so many of the rounds that are missing run whatever the time, where they run one after another.
        limit_s: everything ends so many seconds after the runner's first round began, in an earlier run of it or in
            this one; rounds that go on end too. None: no limit.
    """

    seconds: float | None = None
    min_rounds: int = 1
    limit_s: float | None = None


class FailedRound(NamedTuple):
    """A round that did not finish: label of its cell, round from 0, status, reason, and the reason's stable code."""

    cell: str
    round: int
    status: str
    reason: str
    code: str | None


@dataclass(frozen=True, slots=True)
class BudgetEnd:
    """Where ``Budget.seconds`` ended a run.

    Attributes:
        rounds: of the matrix, the last one before it included.
        of: rounds that it was to have, at most.
    """

    rounds: int
    of: int


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        experiment: name under which the rounds are stored.
        done: rounds finished now.
        kept: rounds that were there already.
        failed: the rounds that did not finish.
        cut: (cell label, round, reason) of each round of which only the first samples are there.
        interrupted: whether Ctrl-C ended it.
        stopped: why it ended early, such as a full disk; None when it did not.
        budget_end: where the budget ended it; None where it did not.
        undecided: where rounds are added until a question is answered: labels of the cells whose comparison has no
            answer yet, and about how many more rounds each would need; None where that cannot be known.
    """

    experiment: str
    done: int = 0
    kept: int = 0
    failed: list[FailedRound] = field(default_factory=list)
    cut: list[tuple[str, int, str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: str | None = None
    budget_end: BudgetEnd | None = None
    undecided: dict[str, int | None] = field(default_factory=dict)

    def add(self, label: str, index: int, outcome: Outcome, cut: str | None) -> None:
        """Take note of a round that has ended.

        Args:
            label: of its cell.
            index: of the round.
            outcome: how it ended.
            cut: why it has its first samples only; None where it has all.
        """
        if cut is not None:
            self.cut.append((label, index, cut))
        if outcome.status == "ok":
            self.done += 1
        elif outcome.status != "interrupted":
            self.failed.append(FailedRound(label, index, outcome.status, outcome.reason or "", outcome.code))


def describe_failures(failed: Sequence[FailedRound]) -> list[str]:
    """Word each failed round in one line."""
    return [f"{one.cell}, round {one.round + 1}: {one.status}: {one.reason}" for one in failed]


def describe_budget(end: BudgetEnd) -> str:
    """Word in one line that the time was up before the rounds were."""
    return f"budget: ends after {end.rounds} of {end.of} rounds; the same command adds the others"


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
