"""Starts the two processes inside a sandbox: the answer in a child that has seen nothing of the tests.

Neither can reach the other's memory: there is no ``/proc``, and the filter of system calls leaves out those that would.
What the answer can do is end the judge, and without a verdict nothing has passed.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys

from .answer import serve
from .judge import verdict
from .values import dump

_OPEN_FILES = 64


def main(figures: list[str]) -> None:
    """Fork, run both, and write the verdict.

    Args:
        figures: file descriptors of the tests and of the verdict; then the limits: processor time in seconds, address
            space in bytes, processes, bytes of a file.
    """
    tests, report, *limits = map(int, figures)
    sys.argv[1:] = []
    for module in marshal.load(sys.stdin.buffer):  # once for both
        try:
            __import__(module)
        except ImportError:  # the tests will say so
            continue
    program = marshal.load(sys.stdin.buffer)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    (asked, ask), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        for descriptor in (tests, report, ask, told, nothing):
            os.close(descriptor)
        _limit(*limits)
        serve(program, asked, tell)
    for descriptor in (asked, tell, nothing):
        os.close(descriptor)
    _limit(*limits)
    with os.fdopen(tests, "rb") as file:
        content = marshal.load(file)
    os.write(report, dump(list(verdict(content, told, ask, child))).encode())
    os._exit(0)


def _limit(cpu_s: int, memory_bytes: int, processes: int, file_bytes: int) -> None:
    limits = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
