"""The request source of the host: hands out requests as they are due, and keeps the times of each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...contract.backend import Backend
from ...contract.generation import Request, Step
from ...contract.stream import RequestSource
from ..rows import Row
from ..timed_loop import Clock, broken

_LONGEST_SLEEP_S = 0.05  # so that a signal is noticed


@dataclass(frozen=True, slots=True)
class Load:
    """How requests arrive.

    Attributes:
        concurrency: requests in flight all the time (closed loop), or at most (open loop); None: no limit.
        due_ns: when each is due, from the start on (open loop); None: when one before it has ended (closed loop).
        after: index of the request that each one waits for in any case, such as the turn before in a conversation;
            None: of no other.
    """

    concurrency: int | None = None
    due_ns: Sequence[int] | None = None
    after: Sequence[int | None] = ()


@dataclass(slots=True)
class Asked:
    """One request of a stream with its times, in nanoseconds on the clock of the loop; None: not yet.

    Attributes:
        request: what is asked.
        due: when it was to be sent.
        sent: when the backend took it.
        end: when its last step came, or it was cut at a stop string.
        row: what it committed, by times since ``sent``.
        tokens: how many that were, as far as the steps say.
    """

    request: Request
    due: int | None = None
    sent: int | None = None
    end: int | None = None
    row: Row = field(default_factory=Row)
    tokens: int = 0


class TimedSource(RequestSource):
    """Hands out requests in order, each when it is due.

    Args:
        backend: whom it hands them out to.
        requests: whose ``row`` is their index.
        load: how they arrive.
        clock: in nanoseconds.

    Attributes:
        asked: every request with its times.
    """

    def __init__(self, backend: Backend, requests: Sequence[Request], load: Load, clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._most = load.concurrency or len(requests)
        self._is_closed = load.due_ns is None
        self.asked = [Asked(request) for request in requests]
        after = load.after or [None] * len(requests)
        self._following = {before: self.asked[at] for at, before in enumerate(after) if before is not None}
        self._waiting = deque(one for one, before in zip(self.asked, after, strict=True) if before is None)
        self._due_now: deque[Asked] = deque()  # the next turns of conversations
        self._unsent, self._in_flight = len(requests), 0
        start = clock()
        if load.due_ns is not None:
            for one, due in zip(self.asked, load.due_ns, strict=True):
                one.due = start + due
        else:
            for one in list(self._waiting)[: self._most]:
                one.due = start

    def poll(self) -> Request | None:
        """Return the next request if it is due and may be in flight beside the others."""
        now = self._clock()
        queue = self._due_now or self._waiting
        if not queue or self._in_flight >= self._most or (due := queue[0].due) is None or due > now:
            return None
        one = queue.popleft()
        one.sent = now
        self._unsent -= 1
        self._in_flight += 1
        return one.request

    def wait(self) -> None:
        """Sleep until the next request is due."""
        if self._in_flight:
            raise broken(self._backend, "it waits for a request while rows run, which would stand still")
        while (left := self.until_due_s()) is not None and left > 0:
            time.sleep(min(left, _LONGEST_SLEEP_S))

    @property
    def ended(self) -> bool:
        """Whether every request was handed out."""
        return not self._unsent

    def until_due_s(self) -> float | None:
        """Return the seconds until the next request is due and may be sent; None: a running one has to end first."""
        queue = self._due_now or self._waiting
        if not queue or self._in_flight >= self._most or (due := queue[0].due) is None:
            return None
        return max(0, due - self._clock()) / 1e9

    def wants(self, row: int) -> bool:
        """Return whether a row has not ended, as its steps say."""
        return self.asked[row].end is None

    def take(self, step: Step, now: int) -> Asked | None:
        """Note a step that came just now; return its request, or None where it is of a row that was cut.

        Raises:
            PluginError: no request that runs is continued by it.
        """
        if not 0 <= step.row < len(self.asked) or (one := self.asked[step.row]).sent is None:
            raise broken(self._backend, f"a step of row {step.row}, which was not handed out")
        if one.end is not None:
            if not one.row.is_cut:
                self._take_late(one, step, now)
            return None
        one.row.steps.append((now - one.sent, step))
        ids, request = step.token_ids, one.request
        one.tokens += len(ids)
        is_over = step.finish is not None or step.failure is not None or one.tokens >= request.max_new_tokens
        if is_over or (not request.ignore_eos and any(token in request.stop_token_ids for token in ids)):
            self.end(one, now)
        return one

    def _take_late(self, one: Asked, step: Step, now: int) -> None:
        """Note a step after the last token: it may say how the row ended, or that the request has failed after all."""
        if step.token_ids or step.text or (step.finish is None and step.failure is None):
            raise broken(self._backend, f"a step of row {step.row} after its end")
        assert one.sent is not None
        one.row.steps.append((now - one.sent, step))

    def end(self, one: Asked, now: int) -> None:
        """Note that a request has ended: its conversation's next turn is due, else the next one of a closed loop."""
        one.end = now
        self._in_flight -= 1
        following = self._following.get(one.request.row)
        if following is not None:
            self._due_now.append(following)
        elif self._is_closed:
            following = next((other for other in self._waiting if other.due is None), None)
        if following is not None:
            following.due = now
