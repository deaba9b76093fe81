"""Many answers at once in one thread: an event loop that runs until some of them have something new."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ... import SampleError
from ...core.contract.generation import Request, Step
from ...core.contract.stream import RequestSource
from .answer import Answer, Enough
from .conversation import Conversation
from .dialects.dialect import Event
from .transport import Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Running:
    """A request in flight."""

    answer: Answer
    task: asyncio.Task[None]


class Client:
    """Requests of one server, and what the client itself costs.

    Args:
        transport: to the server.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._loop = asyncio.new_event_loop()
        self._ready: deque[Step | BaseException] = deque()
        self._running: dict[int, _Running] = {}
        self._events = 0
        self._cpu_s = self._wall_s = 0.0

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something to its end; nothing else runs meanwhile."""
        return self._loop.run_until_complete(coroutine)

    def stream(self, source: RequestSource, max_in_flight: int, conversation: Conversation) -> Iterator[Step]:
        """Send requests as they become due and yield what comes of them; see ``Backend.stream``."""
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            self._admit(source, max_in_flight, conversation)
            while self._running or not source.ended:
                if not self._running:
                    source.wait()
                else:
                    self._run(source.until_due_s() if self._in_flight < max_in_flight else None)
                while self._ready:
                    step = self._next()
                    if step is not None:
                        yield step
                        if self._leaves(step, source):
                            self._admit(source, max_in_flight, conversation)
                self._admit(source, max_in_flight, conversation)
        finally:
            self._end_all()
            self._cpu_s += time.thread_time() - cpu
            self._wall_s += time.perf_counter() - wall

    @property
    def _in_flight(self) -> int:
        """Requests of which tokens are still to come."""
        return sum(not running.answer.is_complete for running in self._running.values())

    def _admit(self, source: RequestSource, most: int, conversation: Conversation) -> None:
        """Send what is due."""
        while self._in_flight < most and (request := source.poll()) is not None:
            answer = conversation.answer(request)
            task = self._loop.create_task(self._ask(request, conversation, answer))
            self._running[request.row] = _Running(answer, task)

    def _run(self, seconds: float | None) -> None:
        """Let the loop run until a step is there, or a request is due."""
        alarm = None if seconds is None else self._loop.call_later(seconds, self._loop.stop)
        if not self._ready:
            self._loop.run_forever()
        if alarm is not None:
            alarm.cancel()

    def _next(self) -> Step | None:
        """Return the next step; None where it is of a row that was broken off."""
        step = self._ready.popleft()
        if isinstance(step, BaseException):
            raise step
        return step if step.row in self._running else None

    def _leaves(self, step: Step, source: RequestSource) -> bool:
        """Forget or break off the row of a step where it has ended or is not wanted; say whether there is room now."""
        running = self._running[step.row]
        if step.finish is not None or step.failure is not None:
            del self._running[step.row]
            return True
        if running.answer.is_complete:  # all but the server's figures
            return True
        if not source.wants(step.row):
            self._running.pop(step.row).task.cancel()
            return True
        return False

    async def _ask(self, request: Request, conversation: Conversation, answer: Answer) -> None:
        """Ask for one answer and hand over its steps, the last of which ends the row."""
        dialect = conversation.dialect

        def take(event: Event) -> None:
            self._events += 1
            step = answer.take(event)
            if step is not None:
                self._hand_over(step)

        try:
            body, is_event_stream = conversation.body(request), dialect.is_event_stream
            failed = 0
            with suppress(Enough):
                failed = await self.transport.stream(dialect.path, body, take, is_event_stream=is_event_stream)
            self._hand_over(answer.last(failed))
        except SampleError as error:
            self._hand_over(Step((), row=request.row, failure=str(error)))
        except Exception as error:  # noqa: BLE001 - raised again where the host waits
            self._hand_over(error)

    def _hand_over(self, step: Step | BaseException) -> None:
        self._ready.append(step)
        self._loop.stop()

    def _end_all(self) -> None:
        """Break off what still runs, and forget what came of it."""
        tasks = [task for task in asyncio.all_tasks(self._loop) if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._running.clear()
        self._ready.clear()

    def take_costs(self) -> dict[str, float]:
        """Return what the client took since the last call: CPU and wall time in seconds, and events that it read."""
        costs = {"client_cpu_s": self._cpu_s, "client_wall_s": self._wall_s, "client_events": float(self._events)}
        self._cpu_s = self._wall_s = 0.0
        self._events = 0
        return costs

    def close(self) -> None:
        """Close connections and loop."""
        self._end_all()
        self._loop.run_until_complete(self.transport.close())
        self._loop.close()
