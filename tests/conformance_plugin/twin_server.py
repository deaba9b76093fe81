"""The twins' engine behind a socket: ``python twin_server.py FOLDER WEIGHT`` prints its port, then answers.

A request is a line ``OLDER NEWER``; the answer is the logits as float64, behind ``-1`` the engine's guess alone.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

_SIZE = 8
_VOCABULARY = 512


class Connection:
    """The engine as a client sees it."""

    nbytes = None

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.answers = self.socket.makefile("rb")

    def logits(self, older, newer):
        return self._ask(older, newer, _VOCABULARY)

    def guess(self, newer):
        return int(self._ask(-1, newer, 1)[0])

    def _ask(self, older, newer, count):
        self.socket.sendall(f"{older} {newer}\n".encode())
        return np.frombuffer(self.answers.read(count * _SIZE))

    def close(self):
        self.answers.close()
        self.socket.close()


def start(folder, weight_of_older):
    """Return the process and its port; raises ``RuntimeError`` with its last line where it ends first."""
    command = [sys.executable, str(Path(__file__)), str(folder), str(weight_of_older)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = process.stdout.readline().strip()
    if not port:
        raise RuntimeError(process.communicate()[1].strip().splitlines()[-1])
    return process, int(port)


def end(process):
    process.kill()
    process.communicate()


def main():
    from twin_engine import Engine

    engine = Engine(Path(sys.argv[1]), float(sys.argv[2]))
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    older, newer = map(int, line.split())
                    found = np.array([engine.guess(newer)], dtype=float) if older < 0 else engine.logits(older, newer)
                    connection.sendall(found.astype(float).tobytes())


if __name__ == "__main__":
    main()
