"""What tasks share whose answers are programs: they are run, with permission, in a sandbox."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from ...core.contract.task import Score, TaskSample
from . import sandbox
from .hub_task import HubTask
from .sandbox import Checks
from .scoring.code import score_programs


class CodeTask(HubTask):
    """A task over a data set that gives the tests of each problem."""

    executes_code = True

    def check(self) -> None:
        """Need a sandbox that holds."""
        sandbox.check()

    @abstractmethod
    def program(self, sample: TaskSample, text: str) -> tuple[str, Checks]:
        """Return the answer as a program, and its tests, which raise where one fails."""

    def score(self, sample: TaskSample, text: str) -> Score:
        """Run one answer."""
        return next(score_programs([self.program(sample, text)]))

    def score_all(self, answers: Iterable[tuple[TaskSample, str]]) -> Iterator[Score]:
        """Run many, several at once."""
        return score_programs(self.program(sample, text) for sample, text in answers)
