"""Servers as real processes, and a wire that can be cut."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

from ...waiting import until


class Server:
    """`decodebench serve-target`, its log read as it comes."""

    def __init__(self, cli, flags, address="localhost:0") -> None:
        self._cli, self._flags = cli, flags
        self.log: list[dict] = []
        self._grown = threading.Condition()
        self._start(address)

    def _start(self, address) -> None:
        self.process = self._cli.start("serve-target", "--address", address, *self._flags)
        lines = self.process.stderr
        for line in lines:
            event = json.loads(line) if line.startswith("{") else {"event": "text", "text": line}
            self.log.append(event)
            if event["event"] == "serving":
                break
        else:
            raise AssertionError(self.log)
        self.address = event["address"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._grown:
                self.log.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})
                self._grown.notify_all()

    def events(self, name):
        return [event for event in self.log if event["event"] == name]

    def wait_for(self, name, timeout=60) -> None:
        """Wait until the log tells of an event."""
        with self._grown:
            assert self._grown.wait_for(lambda: self.events(name), timeout), self.log

    def signal(self, number=signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop the process, and return when each of its threads stands still, which takes a moment."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        until(lambda: all(_state(task) == "T" for task in tasks.iterdir()), self.process)

    def wait(self, timeout=60) -> int:
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def restart(self) -> None:
        """Start again at the same address."""
        self.kill()
        self._start(self.address)


class Cuttable:
    """A TCP relay to a server; `cut` closes every connection at once, as a broken network does."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: set[socket.socket] = set()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(self._to)
            except OSError:
                return
            for end in (ours, theirs):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets |= {ours, theirs}
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source, target) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.cuts += 1
        sockets, self._sockets = self._sockets, set()
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]
