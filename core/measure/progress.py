"""Telling the user how a run goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ..foreign_text import printable

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_PER_SECOND = 1  # drawing costs CPU time that the engine could use


class Progress:
    """Shows rounds done, time spent, cell, tokens/s so far and the time left.

    Args:
        console: where to show it; a live line on a terminal, one plain line a round elsewhere.
        shows_log: print what a backend says of each sample in the format that its own tools are known for.
        clock: tells the seconds that rounds take.
    """

    def __init__(
        self, console: Console, *, shows_log: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Display
        from rich.table import Column

        self._console, self._shows_log, self._clock = console, shows_log, clock
        words = TextColumn("{task.description}", "bold", markup=False, table_column=Column(no_wrap=True, ratio=1))
        self._display = Display(
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            words,
            console=console,
            refresh_per_second=_SHOWN_PER_SECOND,
            transient=True,
            expand=True,
        )
        self._task = self._display.add_task("", total=None)
        self._total = self._certain = self._finished = 0
        self._budget_s: float | None = None
        self._place = ""
        self._counts: dict[str, tuple[int, float]] = {}  # tokens and seconds of each round that goes on
        self._began = self._rounds_s = 0.0

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._display.stop()

    def begin(self, rounds: int, kept: int, budget_s: float | None = None, certain: int = 0) -> None:
        """Say what is to come.

        Args:
            rounds: how many are to run at most.
            kept: how many are there already.
            budget_s: for how long to go on at most; None: until all have run.
            certain: how many run whatever the budget.
        """
        self._total, self._budget_s, self._certain = rounds, budget_s, certain
        self._began = self._clock()
        if budget_s is None:
            self._display.update(self._task, total=rounds)
        if kept:
            self.say(f"{kept} rounds are there already, {rounds} to run")

    def preparing(self, label: str) -> None:
        """Say that a model is being converted, quantised or compiled."""
        self._show(f"preparing {label}")

    def round_begins(self, label: str, index: int) -> None:
        """A round starts, or goes on after others of its block."""
        self._place = f"{label}, round {index + 1}"
        self._show(f"{self._place}: {self._rate()}{self._left()}")

    def sample(self, tokens: int, seconds: float) -> None:
        """A sample is finished."""
        before = self._counts.get(self._place, (0, 0.0))
        self._counts[self._place] = before[0] + tokens, before[1] + seconds
        self._show(f"{self._place}: {self._rate()}{self._left()}")

    def scored(self, number: int, total: int) -> None:
        """So many of the round's answers are scored."""
        self._show(f"{self._place}: scored {number}/{total}")

    def classic_log(self, text: str) -> None:
        """A backend has told of a sample in its own tools' format."""
        if self._shows_log:
            self.say(text.rstrip("\n"))

    def round_ends(self, status: str, reason: str | None) -> None:
        """A round is over."""
        self._finished += 1
        self._rounds_s = self._clock() - self._began
        self._display.update(self._task, completed=self._finished)
        outcome = self._rate() if status == "ok" else f"{status}: {reason}"
        number = f"{self._finished}" if self._budget_s is not None else f"{self._finished}/{self._total}"
        self.say(f"[{number}] {self._place}: {outcome}{self._left()}")
        self._counts.pop(self._place, None)

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _show(self, text: str) -> None:
        self._display.update(self._task, description=printable(text))

    def _rate(self) -> str:
        tokens, seconds = self._counts.get(self._place, (0, 0.0))
        return f"{tokens / seconds:.1f} tokens/s" if seconds else "no tokens yet"

    def _left(self) -> str:
        """Estimate the time left; the rounds that run whatever the budget count in full."""
        if not self._finished or self._finished >= self._total:
            return ""
        spent = self._clock() - self._began
        a_round, in_this_round = self._rounds_s / self._finished, spent - self._rounds_s
        seconds = (self._total - self._finished) * a_round - in_this_round
        if self._budget_s is not None:
            certain = (self._certain - self._finished) * a_round - in_this_round
            seconds = max(certain, min(seconds, self._budget_s - spent))
        return f", about {_duration(max(seconds, 0.0))} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
