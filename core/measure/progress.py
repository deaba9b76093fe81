"""Telling the user how a run goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

_SHOWN_PER_SECOND = 2  # drawing costs CPU time that the engine could use


class Progress:
    """Shows cell, round, tokens/s so far and the time left.

    Args:
        console: where to show it; a live line on a terminal, one plain line a round elsewhere.
        quiet: show nothing.
        shows_log: print what a backend says of each sample in the format that its own tools are known for.
    """

    def __init__(self, console: Console, *, quiet: bool = False, shows_log: bool = False) -> None:
        self._console, self._quiet, self._shows_log = console, quiet, shows_log
        self._is_live = console.is_terminal and not quiet
        self._live: Live | None = None
        self._total = self._finished = 0
        self._budget_s: float | None = None
        self._started = 0.0
        self._label, self._round = "", 0
        self._tokens, self._seconds = 0, 0.0
        self._round_started = self._drawn = 0.0
        self._round_seconds: list[float] = []

    def __enter__(self) -> Progress:
        if self._is_live:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, rounds: int, kept: int, budget_s: float | None = None) -> None:
        """Say how many rounds are to run, how many are there already, and for how long to go on at most."""
        self._total = rounds
        self._budget_s = budget_s
        self._started = time.monotonic()
        if kept:
            self.say(f"{kept} rounds are there already, {rounds} to run")

    def preparing(self, label: str) -> None:
        """Say that a model is being converted, quantised or compiled."""
        self._label = label
        self._draw(f"preparing {label}", force=True)

    def round_begins(self, label: str, index: int) -> None:
        """A round starts."""
        self._label, self._round = label, index
        self._tokens, self._seconds = 0, 0.0
        self._round_started = time.monotonic()
        self._draw(force=True)

    def sample(self, tokens: int, seconds: float) -> None:
        """A sample is finished."""
        self._tokens += tokens
        self._seconds += seconds
        self._draw()

    def scored(self, number: int, total: int) -> None:
        """So many of the round's answers are scored."""
        self._draw(f"{self._label}, round {self._round + 1}: scored {number}/{total}")

    def classic_log(self, text: str) -> None:
        """A backend has told of a sample in its own tools' format."""
        if self._shows_log:
            self.say(text.rstrip("\n"))

    def round_ends(self, status: str, reason: str | None) -> None:
        """A round is over."""
        self._finished += 1
        self._round_seconds.append(time.monotonic() - self._round_started)
        outcome = self._rate() if status == "ok" else f"{status}: {reason}"
        self.say(f"{self._place(self._finished)} {self._label}, round {self._round + 1}: {outcome}{self._left()}")

    def _place(self, number: int) -> str:
        """Count rounds; before the first, and within a budget, nobody knows how many there will be."""
        return f"[{number}]" if self._budget_s is not None or not self._total else f"[{number}/{self._total}]"

    def _rate(self) -> str:
        return f"{self._tokens / self._seconds:.1f} tokens/s" if self._seconds else "no tokens yet"

    def _left(self) -> str:
        remaining = self._total - self._finished
        if not self._round_seconds or remaining <= 0:
            return ""
        seconds = remaining * sum(self._round_seconds) / len(self._round_seconds)
        if self._budget_s is not None:
            seconds = min(seconds, max(0.0, self._budget_s - (time.monotonic() - self._started)))
        return f", about {_duration(seconds)} left"

    def say(self, text: str) -> None:
        """Print one line that stays."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, text: str | None = None, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._live is None or (not force and now - self._drawn < 1 / _SHOWN_PER_SECOND):
            return
        self._drawn = now
        self._live.update(self._line(text), refresh=True)

    def _line(self, text: str | None) -> Text:
        from rich.text import Text

        where = self._place(self._finished + 1)
        shown = text or f"{self._label}, round {self._round + 1}: {self._rate()}{self._left()}"
        return Text(f"{where} {shown}", style="bold", no_wrap=True, overflow="ellipsis")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
