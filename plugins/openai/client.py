"""Many answers at once in one thread: an event loop that runs until something of some of them has come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from ... import SampleError
from ...core.contract.generation import Request, Step
from ...core.contract.stream import RequestSource
from .answer import Answer, Enough
from .conversation import Conversation
from .events import EventLines
from .transport import Transport

T = TypeVar("T")
Arrived = bytes | int | Exception | None
"""What comes of a request: how many attempts have failed, bytes, and in the end None, or why there is no end."""

_LAST_WORDS_S = 1.0
"""How long a connection may take to its end behind an answer that is whole, so that the next request finds it open."""


@dataclass(slots=True, eq=False)
class _Running:
    """A request in flight."""

    row: int
    answer: Answer
    lines: EventLines
    task: asyncio.Task[None] = field(init=False)
    failed_attempts: int = 0


class Client:
    """Requests of one server, and what the client itself costs.

    While the loop runs, bytes are only put aside. It stands still while they are read and yielded as steps: one by one,
    so that none waits for those behind it.

    Args:
        transport: to the server.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._loop = asyncio.new_event_loop()
        self._arrived: deque[tuple[_Running, Arrived]] = deque()
        self._running: dict[int, _Running] = {}
        self._open: set[int] = set()  # rows of which tokens are still to come
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
                if self._running:
                    self._run(source.until_due_s() if len(self._open) < max_in_flight else None)
                else:
                    source.wait()
                while self._arrived:
                    for step in self._steps(*self._arrived.popleft()):
                        yield step
                        if self._leaves(step, source):
                            self._admit(source, max_in_flight, conversation)
                self._admit(source, max_in_flight, conversation)
        finally:
            self._end_all()
            self._cpu_s += time.thread_time() - cpu
            self._wall_s += time.perf_counter() - wall

    def _admit(self, source: RequestSource, most: int, conversation: Conversation) -> None:
        """Send what is due."""
        while len(self._open) < most and (request := source.poll()) is not None:
            lines = EventLines(is_event_stream=conversation.dialect.is_event_stream)
            running = _Running(request.row, conversation.answer(request), lines)
            running.task = self._loop.create_task(self._ask(request, conversation, running))
            self._running[request.row] = running
            self._open.add(request.row)

    def _run(self, seconds: float | None) -> None:
        """Let the loop run until something has come, or a request is due."""
        alarm = None if seconds is None else self._loop.call_later(seconds, self._loop.stop)
        self._loop.run_forever()
        if alarm is not None:
            alarm.cancel()

    async def _ask(self, request: Request, conversation: Conversation, running: _Running) -> None:
        """Ask for one answer and put aside what comes of it."""
        try:
            body = conversation.body(request)
            await self.transport.stream(conversation.dialect.path, body, partial(self._arrive, running))
            self._arrive(running, None)
        except Exception as error:  # noqa: BLE001 - raised again where it is read
            self._arrive(running, error)

    def _arrive(self, running: _Running, arrived: Arrived) -> None:
        if self._is_running(running):
            self._arrived.append((running, arrived))
            self._loop.stop()

    def _is_running(self, running: _Running) -> bool:
        """Whether an answer is still heard: neither has it ended nor was it broken off."""
        return self._running.get(running.row) is running

    def _steps(self, running: _Running, arrived: Arrived) -> Iterator[Step]:
        """Yield what an arrival commits, a failure included; nothing of a row that was broken off."""
        try:
            if self._is_running(running):
                yield from self._read(running, arrived)
        except SampleError as error:
            running.task.cancel()
            words = self.transport.clean(str(error))
            yield Step((), row=running.row, failure=words, failure_code=error.code)

    def _read(self, running: _Running, arrived: Arrived) -> Iterator[Step]:
        if isinstance(arrived, Exception):
            raise arrived
        if isinstance(arrived, int):
            running.failed_attempts = arrived
            return
        if arrived is None:
            running.lines.close()
            yield running.answer.last(running.failed_attempts)
            return
        try:
            for event in running.lines.feed(arrived):
                self._events += 1
                step = running.answer.take(event)
                if step is not None:
                    yield step
                    if not self._is_running(running):
                        return
        except Enough:
            running.task.cancel()
            yield running.answer.last(running.failed_attempts)
        else:
            if running.lines.is_over or running.answer.is_over:  # whenever the server closes the stream
                yield running.answer.last(running.failed_attempts)

    def _leaves(self, step: Step, source: RequestSource) -> bool:
        """Forget or break off the row of a step where it has ended or is not wanted; say whether there is room now."""
        if step.finish is not None or step.failure is not None:
            del self._running[step.row]
        elif not self._running[step.row].answer.is_complete:  # else all but the server's figures is there
            if source.wants(step.row):
                return False
            self._running.pop(step.row).task.cancel()
        self._open.discard(step.row)
        return True

    def _end_all(self) -> None:
        """Break off what still runs, and forget what came of it; streams behind whole answers may end."""
        for running in self._running.values():
            running.task.cancel()
        self._running.clear()
        self._open.clear()
        self._arrived.clear()
        if tasks := asyncio.all_tasks(self._loop):
            _, left = self._loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_WORDS_S))
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))

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
