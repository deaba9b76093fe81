"""Runs inside the sandbox: sets the limits, runs the program that stands on standard input, says how it ended.

Its text is what ``python -c`` gets, with the limits as arguments, without site packages. The first line of standard
input is a word that only the parent and this launcher know; the report begins with it.
"""

import json
import os
import resource
import sys


def main() -> None:
    """Run the program; report None, or what it raised."""
    cpu_s, memory_bytes, processes, file_bytes = map(int, sys.argv[1:5])
    word, _, program = sys.stdin.buffer.read().partition(b"\n")
    report = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.argv[1:] = []
    limits = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    error = None
    own = os.getpid()
    try:
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    except BaseException as raised:  # noqa: BLE001 - SystemExit too: a program that leaves early has not passed
        text = str(raised).split("\n", 1)[0][:200]
        error = f"{type(raised).__name__}: {text}" if text else type(raised).__name__
    if os.getpid() == own:  # a child of the program comes by here as well
        os.write(report, word + json.dumps(error).encode() + b"\n")
    os._exit(0)


main()
