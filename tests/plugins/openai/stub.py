"""A server on loopback that does exactly what a test says, byte by byte: faults that no real server has on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BREAK = object()
"""Close the connection in the middle of the answer."""

COMPLETIONS = ("/v1/completions", "/completion", "/generate", "/api/generate")

Script = Callable[[int, dict], Iterable[object]]
"""Given the number of the request, from 0, and its body: bytes to send, events to wait for, ``BREAK``, or a status.

A dictionary in front has further headers."""


def sse(*events: object, done: bool = True) -> list[bytes]:
    """Return events as a server sends them, each by itself."""
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return [*lines, *([b"data: [DONE]\n\n"] if done else [])]


class Stub:
    """Runs while it is entered.

    Args:
        script: how requests for completions are answered.
        pages: what other paths answer with.
        statuses: of paths, where that is not 200.
    """

    def __init__(self, script: Script, pages: dict[str, object], statuses: dict[str, int] | None = None) -> None:
        self.script, self.pages, self.statuses = script, pages, statuses or {}
        self.waits: dict[str, threading.Event] = {}
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[tuple] = set()
        self._closed: set[tuple] = set()
        self._lock = threading.Condition()
        self.is_dead = False
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def note(self, body: dict, headers: dict[str, str], client: tuple) -> int:
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.connections.add(client)
            return len(self.bodies) - 1

    def note_closed(self, client: tuple) -> None:
        with self._lock:
            self._closed.add(client)
            self._lock.notify_all()

    def wait_until_closed(self) -> None:
        """Wait until every connection on which a completion was asked for is closed at this end."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.connections <= self._closed, 30)

    def __enter__(self) -> Stub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_dead = True
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def process_request_thread(self, request, client_address) -> None:
        super().process_request_thread(request, client_address)
        self.stub.note_closed(client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        stub = self.server.stub
        if self.path in stub.waits:
            stub.waits[self.path].wait(30)
        page = stub.pages.get(self.path)
        with suppress(BrokenPipeError, ConnectionResetError):
            self._whole(stub.statuses.get(self.path, 404 if page is None else 200), page)

    def do_POST(self) -> None:
        stub, body = self.server.stub, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in COMPLETIONS:
            page = stub.pages.get(self.path)
            self._whole(404 if page is None else 200, page)
            return
        number = stub.note(body, dict(self.headers), self.client_address)
        with suppress(BrokenPipeError, ConnectionResetError):
            self._play(list(stub.script(number, body)))

    def _play(self, actions: list[object]) -> None:
        if actions and isinstance(actions[0], tuple):
            self._whole(*actions[0])
            return
        if actions and actions[0] is BREAK:  # before the headers
            self.close_connection = True
            return
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", **self._headers_of(actions)}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for action in actions:
            if action is BREAK:
                self.close_connection = True
                return
            if isinstance(action, threading.Event):
                action.wait(30)
            else:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(action), action))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _headers_of(self, actions: list[object]) -> dict[str, str]:
        """Take further headers off the front of a script."""
        return actions.pop(0) if actions and isinstance(actions[0], dict) else {}

    def _whole(self, status: int, page: object, headers: dict[str, str] | None = None) -> None:
        if self.server.stub.is_dead:
            self.close_connection = True
            return
        content = page.encode() if isinstance(page, str) else json.dumps(page).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
