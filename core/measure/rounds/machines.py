"""The machines that an experiment is measured on, as its records have them, and how many threads engines get there."""

from __future__ import annotations

import time
from collections.abc import Collection

from ...contract.launcher import Launcher, Need, Place
from ...errors import UsageError
from ...records.schema import Environment
from ..cells import Matrix, takes_default_threads
from ..machine.condition import look
from ..machine.environment import anonymised, capture
from ..machine.threads import threads_beside
from ..machine.waiting import WhenBusy, settle
from ..output import folder
from ..output.round_index import RoundIndex
from ..plan import Plan
from ..progress import Progress

_LOOK_S = 1.0  # between two looks at which places there are


class Machines:
    """What is known of the machines of one experiment.

    Args:
        plan: of the experiment.
        matrix: its cells.
        launcher: where workers run.
        progress: told how many threads there are, where that is less than one per core.

    Attributes:
        threads: of engines that are not told a number; the same on every machine. None before ``settle``.
    """

    def __init__(self, plan: Plan, matrix: Matrix, launcher: Launcher, progress: Progress) -> None:
        self._plan, self._matrix, self._launcher, self._progress = plan, matrix, launcher, progress
        self._first = Environment()
        self._is_settled = False
        self.threads: int | None = None

    @property
    def are_many(self) -> bool:
        """Whether rounds are measured on several at once."""
        return self._plan.across_hosts and not self._launcher.is_here

    def settle(self, index: RoundIndex, experiment: str, when_busy: WhenBusy) -> None:
        """Look at the machine before anything is measured, and decide how many threads engines get; once.

        An experiment that goes on within one command, such as with its second stage, is not looked at again: it would
        be refused half-way.

        Args:
            index: of the output folder: rounds that are there already say how many it was.
            experiment: name of the experiment.
            when_busy: what to do where other work disturbs this machine.

        Raises:
            UsageError: there is no machine elsewhere.
            BusyError: other work disturbs this one, and that is to be refused.
        """
        if self._is_settled:
            return
        if self._launcher.is_here:
            self._settle_here(index, experiment, when_busy)
        else:
            self._settle_there(index, experiment)
        self._is_settled = True

    def described(self, machine: Environment | None = None) -> Environment:
        """Return what is recorded of a machine; of the first one where none is given."""
        found = self._first if machine is None else machine
        found = anonymised(found) if self._plan.anonymise and not self._launcher.is_here else found
        return found.model_copy(update={"default_threads": self.threads})

    def _first_place(self, needs: Collection[Need]) -> Place:
        deadline = time.monotonic() + self._launcher.placement_timeout_s
        while not (places := self._launcher.places(needs)):
            if time.monotonic() > deadline:
                lacking = " or ".join(sorted(map(self._launcher.describe, needs)))
                raise UsageError(
                    f"launcher {self._plan.launcher!r} has no machines to spread over: none has {lacking}",
                    code="device-missing",
                )
            time.sleep(_LOOK_S)
        return min(places, key=lambda place: (place.host, place.id))

    def _settle_there(self, index: RoundIndex, experiment: str) -> None:
        needs = {Need(cell.device, cell.backend.name) for cell in self._matrix.cells}
        if self.are_many:
            self._first = self._launcher.environment_of(self._first_place(needs))
        else:
            self._launcher.choose(needs)
            self._first = self._launcher.environment()
        self.threads = folder.stored_threads(index, experiment) or self._first.cores_used

    def _settle_here(self, index: RoundIndex, experiment: str, when_busy: WhenBusy) -> None:
        cells = self._matrix.cells
        devices = [cell.device for cell in cells]
        condition = settle(lambda: look(devices), when_busy, self._progress.say)
        self._first = capture(anonymise=self._plan.anonymise, is_quiet=not condition.passing)
        stored = folder.stored_threads(index, experiment)
        self.threads = stored or threads_beside(condition)
        if self.threads != condition.cores and any(takes_default_threads(cell) for cell in cells):
            why = "as in the rounds that are there already" if stored else "this leaves room for what else runs"
            counts = f"threads of each engine: {self.threads}, cores: {condition.cores}"
            self._progress.say(f"{counts}; {why}, in every round of {experiment!r}")
