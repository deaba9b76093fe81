"""Telling the user how a run goes: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import plural
from ..foreign_text import printable
from ..isolation.processes.engine_text import last_lines
from .forecast.time_left import RoundTime, TimeLeft, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_SHOWN_PER_SECOND = 1  # drawing costs CPU time that the engine could use
_LINE_EVERY_S = 60.0  # off a terminal: of a round that takes longer


class Progress:
    """Shows rounds done, the cell with its round, sample, tokens/s so far, and the time left.

    Args:
        console: where to show it; bars on a terminal, one plain line a round elsewhere.
        shows_log: print what a backend says of each sample in the format that its own tools are known for.
        is_quiet: print nothing but what went wrong.
        clock: tells the seconds that rounds take.

    Attributes:
        on_round: called after each round on a terminal, such as to show something above the bars.
    """

    def __init__(
        self,
        console: Console,
        *,
        shows_log: bool = False,
        is_quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._shows_log, self._is_quiet, self._clock = console, shows_log, is_quiet, clock
        self._is_live = console.is_terminal and not is_quiet
        self._bars = _Bars(console)
        self._left = TimeLeft({})
        self._going: dict[str, RoundTime] = {}  # by place: the cell and its round
        self._place = ""
        self._since = self._began = self._last_line = 0.0
        self.on_round: Callable[[], None] | None = None
        self._told: set[tuple[str, str]] = set()  # failures by cell and reason, and warnings

    def __enter__(self) -> Progress:
        if self._is_live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bars.stop()

    def begin(
        self,
        rounds: Mapping[str, int],
        kept: int,
        budget_s: float | None = None,
        certain: Mapping[str, int] | None = None,
    ) -> None:
        """Say what is to come.

        Args:
            rounds: how many are to run at most, by cell.
            kept: how many are there already.
            budget_s: for how long to go on at most; None: until all have run.
            certain: how many run whatever the budget, by cell.
        """
        self._left = TimeLeft(rounds, certain or {}, budget_s)
        self._began = self._since = self._last_line = self._clock()
        self._bars.rounds(0, self._left.total)
        if kept:
            self.say(f"{plural(kept, 'round')} kept, {self._left.total} to run")

    def preparing(self, label: str) -> None:
        """Say that a model is being converted, quantised or compiled."""
        self._bars.show(f"preparing {label}")

    def probing(self, label: str) -> None:
        """Say that a cell is asked one batch, to see how long it takes."""
        self._bars.show(f"trying {label}")
        if not self._is_live:
            self.say(f"trying {label}")

    def round_begins(self, label: str, index: int, samples: int = 0, timeout_s: float | None = None) -> None:
        """A round starts, or goes on after others of its block.

        Args:
            label: of its cell.
            index: from 0; people count from 1.
            samples: that it will have, warm-up included; 0: not known.
            timeout_s: after which it is stopped.
        """
        self._pass_time()
        self._place, self._timeout_s = f"{label}, round {index + 1}", timeout_s
        self._going.setdefault(self._place, RoundTime(label, samples))
        self._show()

    def sample(self, tokens: int, seconds: float) -> None:
        """A sample is finished."""
        self._pass_time()
        one = self._now()
        one.done += 1
        one.tokens += tokens
        one.tokens_s += seconds
        one.first_s = one.first_s or one.active_s
        self._warn_of_timeout(one)
        self._show()
        if not self._is_live and self._clock() - self._last_line >= _LINE_EVERY_S:
            self.say(f"{self._number(self._left.finished + 1)} {self._of_round(one)}")

    def scored(self, number: int, total: int) -> None:
        """So many of the round's answers are scored."""
        self._bars.show(f"{self._place}: scored {number}/{total}")

    def classic_log(self, text: str) -> None:
        """A backend has told of a sample in its own tools' format."""
        if self._shows_log:
            self.say(text.rstrip("\n"))

    def round_ends(self, status: str, reason: str | None, engine_text: Path | None = None) -> None:
        """A round is over.

        Args:
            status: how.
            reason: why it failed, or has fewer samples than it was to have.
            engine_text: what the engine printed; its last lines are shown where the round failed.
        """
        self._pass_time()
        one = self._going.pop(self._place, RoundTime(self._place))
        self._left.finish(one)
        self._bars.rounds(self._left.finished, self._left.total)
        number = self._number(self._left.finished)
        if status == "ok":
            self.say(f"{number} {self._place}: {_rate(one)}{f', {reason}' if reason else ''}{self._left_text()}")
        elif (one.cell, reason or "") in self._told:
            self.warn(f"{number} {self._place}: {status}, as before{self._left_text()}")
        else:
            self._told.add((one.cell, reason or ""))
            self.warn(f"{number} {self._place}: {status}: {reason}{self._left_text()}")
            for line in _engine_lines(engine_text):
                self.warn(line)
        if self.on_round is not None and self._is_live:
            self.on_round()

    def round_is_dropped(self, label: str, index: int) -> None:
        """A round did not come to anything in the time that there was."""
        self._going.pop(f"{label}, round {index + 1}", None)

    def say(self, text: str) -> None:
        """Print one line that stays."""
        if not self._is_quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Print one line that stays, also where it is to be quiet."""
        self._last_line = self._clock()
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def show_above(self, view: RenderableType) -> None:
        """Show something above the bars, in place of what was shown there before; on a terminal only."""
        self._bars.above = view

    def _pass_time(self) -> None:
        """Give the time since the last event to the round that had the machine."""
        now = self._clock()
        if self._place in self._going:
            self._going[self._place].active_s += now - self._since
        self._since = now

    def _now(self) -> RoundTime:
        return self._going.setdefault(self._place, RoundTime(self._place))

    def _show(self) -> None:
        one = self._now()
        self._bars.samples(one.done, one.samples)
        self._bars.show(self._of_round(one))

    def _of_round(self, one: RoundTime) -> str:
        of = f"/{one.samples}" if one.samples else ""
        return f"{self._place}, sample {one.done}{of}, {one.tokens} tokens, {_rate(one)}{self._left_text()}"

    def _number(self, number: int) -> str:
        return f"[{number}/{self._left.total}]" if self._left.total else "before the rounds:"

    def _left_text(self) -> str:
        going = {one.cell: one for one in self._going.values()}
        seconds = self._left.seconds(self._clock() - self._began, going)
        return "" if seconds is None else f", about {duration(seconds)} left"

    def _warn_of_timeout(self, one: RoundTime) -> None:
        """Say once for each cell that its rounds will not end in time."""
        whole, limit = one.whole_s(), self._timeout_s
        if whole is None or limit is None or whole <= limit or (one.cell, "timeout") in self._told:
            return
        self._told.add((one.cell, "timeout"))
        fit = int(one.done + (limit - one.active_s) / ((whole - one.first_s) / (one.samples - 1)))
        self.warn(
            f"{one.cell}: at this rate a round takes {duration(whole)}, and is stopped after {duration(limit)} with "
            f"{fit} of {one.samples} samples: raise --timeout, or lower --samples"
        )


def _rate(one: RoundTime) -> str:
    return f"{one.tokens / one.tokens_s:.1f} tokens/s" if one.tokens_s else "no tokens yet"


def _engine_lines(engine_text: Path | None) -> Iterable[str]:
    """Return the engine's last lines, and where the rest is."""
    if engine_text is None or not engine_text.is_file() or not engine_text.stat().st_size:
        return
    yield from (f"  | {line}" for line in last_lines(engine_text))
    yield f"  engine output: {engine_text}"


class _Bars:
    """Two bars on a terminal, of rounds and of the samples of the present one, with something above them."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Display
        from rich.table import Column

        bars = self

        class WithAbove(Display):
            def get_renderables(self) -> Iterable[RenderableType]:
                if bars.above is not None:
                    yield bars.above
                yield from super().get_renderables()

        words = TextColumn("{task.description}", "bold", markup=False, table_column=Column(no_wrap=True, ratio=1))
        self.above: RenderableType | None = None
        self._display = WithAbove(
            MofNCompleteColumn(),
            BarColumn(20),
            TimeElapsedColumn(),
            words,
            console=console,
            refresh_per_second=_SHOWN_PER_SECOND,
            transient=True,
            expand=True,
        )
        self._rounds = self._display.add_task("rounds", total=None)
        self._samples = self._display.add_task("", total=None)

    def start(self) -> None:
        self._display.start()

    def stop(self) -> None:
        self._display.stop()

    def rounds(self, done: int, total: int) -> None:
        self._display.update(self._rounds, completed=done, total=total)

    def samples(self, done: int, total: int) -> None:
        self._display.update(self._samples, completed=done, total=total or None)

    def show(self, text: str) -> None:
        self._display.update(self._samples, description=printable(text))
