"""One call that carries all rounds of a session, seen from the client: a draft out, a verdict back."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from ... import SampleError
from .deadline import Deadline
from .proto import verification_pb2 as pb
from .proto.verification_pb2_grpc import VerificationStub


class VerificationStream:
    """Opened for the first round of a session, and again after a loss.

    A thread that reads ahead must be woken for every answer, which costs time; without one, whoever waits for the
    answer reads it. So there is one only where something is done between sending and asking.

    Args:
        stub: of the server.
        metadata: what every call carries.
        deadline: ends the stream when an answer is overdue.
        is_early: read answers as they arrive.
    """

    def __init__(
        self, stub: VerificationStub, metadata: tuple[tuple[str, str], ...], deadline: Deadline, *, is_early: bool
    ) -> None:
        self._outbox: SimpleQueue[pb.BatchVerificationRequest | None] = SimpleQueue()
        self._answers = stub.VerifyStream(iter(self._outbox.get, None), metadata=metadata)
        self._deadline = deadline
        self._reader = ThreadPoolExecutor(1, "answers") if is_early else None
        self._is_awaited = False

    def send(self, batch: pb.BatchVerificationRequest) -> Awaited:
        """Send a request; the one before must have been answered."""
        awaited = Awaited(self._receive)
        self._deadline.start(self._answers.cancel)
        self._is_awaited = True
        self._outbox.put(batch)
        if self._reader is not None:
            awaited.read_in(self._reader)
        return awaited

    def _receive(self) -> pb.BatchVerificationResponse:
        response: pb.BatchVerificationResponse | None = next(self._answers, None)
        self._deadline.stop()
        if response is None:
            raise SampleError("the target server ended the stream without an answer", code="server-lost")
        self._is_awaited = False
        return response

    def close(self) -> None:
        """End it; an answer that nobody waits for any more is given up."""
        self._outbox.put(None)  # also frees the thread that waits for what to send
        if self._is_awaited:
            self._answers.cancel()
        if self._reader is not None:
            self._reader.shutdown()


class Awaited:
    """An answer under way, and how long it takes.

    Args:
        receive: waits for it.
    """

    def __init__(self, receive: Callable[[], pb.BatchVerificationResponse]) -> None:
        self._began = time.perf_counter()
        self._arrived: float | None = None
        self._receive, self._result = receive, self._read

    def read_in(self, reader: ThreadPoolExecutor) -> None:
        """Have it read as it arrives."""
        self._result = reader.submit(self._read).result

    def _read(self) -> pb.BatchVerificationResponse:
        try:
            return self._receive()
        finally:
            self._arrived = time.perf_counter()

    def result(self) -> pb.BatchVerificationResponse:
        """Wait for it; raises ``grpc.RpcError``."""
        return self._result()

    @property
    def seconds(self) -> float:
        """Time from sending to the arrival, which may be before anybody asked."""
        return (self._arrived or time.perf_counter()) - self._began
