"""What to do about a busy machine before anything is measured: go on, wait, or refuse."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import BusyError
from .condition import Condition

_LOOKS = 3  # in a row that find it quiet; one alone may fall into a pause
_PAUSE_S = 2.0
_REMIND_S = 60.0


@dataclass(frozen=True, slots=True)
class WhenBusy:
    """What to do where other work disturbs the machine.

    Attributes:
        wait_s: longest wait, in seconds, for disturbances that may pass by themselves; 0: none.
        refuses: measure nothing while anything disturbs, including battery and a power-saving governor.
    """

    wait_s: float = 0.0
    refuses: bool = False


def settle(
    look: Callable[[], Condition],
    when_busy: WhenBusy,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Condition:
    """Look at the machine, wait if that is wanted, and return the last look; says in one line what disturbs.

    Args:
        look: finds its condition.
        when_busy: what to do.
        say: told each line.
        clock: in seconds.
        sleep: waits for some seconds.

    Raises:
        BusyError: something disturbs, and that is to be refused.
    """
    condition = look()
    if condition.passing and when_busy.wait_s > 0:
        condition = _wait(condition, look, when_busy.wait_s, say, clock, sleep)
    disturbing = [*condition.passing, *condition.lasting]
    if disturbing and when_busy.refuses:
        raise BusyError(f"the machine is not quiet, and --strict measures nothing then: {'; '.join(disturbing)}")
    if condition.passing:
        say(f"the machine is busy: {'; '.join(disturbing)}")
    elif disturbing:
        say(f"the machine saves power: {'; '.join(disturbing)}")
    return condition


def _wait(
    condition: Condition,
    look: Callable[[], Condition],
    limit_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Condition:
    begun = told = clock()
    say(f"waiting for an idle machine, {limit_s:g} s at most (Ctrl-C ends it): {'; '.join(condition.passing)}")
    quiet = 0
    while quiet < _LOOKS and clock() - begun < limit_s:
        sleep(_PAUSE_S)
        condition = look()
        quiet = 0 if condition.passing else quiet + 1
        if condition.passing and clock() - told >= _REMIND_S:
            told = clock()
            say(f"still waiting after {told - begun:.0f} s: {'; '.join(condition.passing)}")
    say(f"{'idle' if quiet else 'not idle'} after {clock() - begun:.0f} s")
    return condition
