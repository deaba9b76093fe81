"""Starting the server and ending it: finish what runs, refuse what is new."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from .... import BackendError
from ..proto.verification_pb2_grpc import add_VerificationServicer_to_server
from .log import Log
from .parsing import ParseStreams
from .security import TokenCheck
from .service import TargetService

SERVICE_NAME = "decodebench.verification.v1.Verification"
_THREADS_BESIDE_SESSIONS = 8  # for health checks, Info and closing while every session waits for the model
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the server listens.

    Attributes:
        address: HOST:PORT; port 0 takes a free one.
        credentials: of TLS; None: plain.
        token: what calls must carry; None: nothing.
        max_message_bytes: a larger message is refused.
        drain_s: how long open sessions may go on after the first signal.
    """

    address: str
    credentials: grpc.ServerCredentials | None
    token: str | None
    max_message_bytes: int
    drain_s: float


class Running:
    """A server that has started.

    Args:
        service: answers the calls.
        listening: where.
        max_sessions: how many calls may be at work at once, a few aside.
        log: of events.

    Raises:
        BackendError: the address cannot be bound.
    """

    def __init__(self, service: TargetService, listening: Listening, max_sessions: int, log: Log) -> None:
        self._service, self._listening, self._log = service, listening, log
        self._signals = 0
        self._wake = threading.Event()
        threads = max_sessions + _THREADS_BESIDE_SESSIONS
        size = listening.max_message_bytes
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "verification"),
            interceptors=[*([TokenCheck(listening.token)] if listening.token else []), ParseStreams()],
            maximum_concurrent_rpcs=4 * threads,
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", size),
                ("grpc.so_reuseport", 0),  # a second server at one address must fail, not share its calls
            ],
        )
        add_VerificationServicer_to_server(service, self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.address = self._bind()
        self._server.start()
        self._say_health(health_pb2.HealthCheckResponse.SERVING)

    def _bind(self) -> str:
        address, credentials = self._listening.address, self._listening.credentials
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except (RuntimeError, ValueError) as error:
            raise BackendError(
                f"cannot listen at {address}: is the port taken, or the host not ours?", code="address-unavailable"
            ) from error
        return f"{address.rpartition(':')[0]}:{port}"

    def _say_health(self, status: int) -> None:
        for name in ("", SERVICE_NAME):
            self._health.set(name, status)

    def wait(self) -> None:
        """Serve until a signal says to stop, then end in order."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        while not self._wake.wait(1.0):
            self._service.streams.expire()
            for name in self._service.sessions.expire():
                self._log.event("session expired", session=name, open=len(self._service.sessions))
        self.stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._wake.set()

    def stop(self) -> None:
        """Open no session any more, let the open ones come to their end for a while, finish what is being verified."""
        self._say_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._service.sessions.drain()
        self._log.event("draining", open=len(self._service.sessions))
        until = time.monotonic() + self._listening.drain_s
        while len(self._service.sessions) and time.monotonic() < until and self._signals < 2:
            time.sleep(_LOOK_S)
        ended = self._server.stop(grace=max(0.0, until - time.monotonic()))
        while not ended.wait(_LOOK_S):
            if self._signals >= 2:
                self._server.stop(grace=0)
        self._log.event("stopped", cut_sessions=len(self._service.sessions))
