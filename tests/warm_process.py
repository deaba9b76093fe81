"""The command line for tests, without its imports each time: a process that has made them forks one for each command.

What a command finds is what it finds on its own: its arguments, environment, folder, module path and standard streams,
and no state of any other command. ``python warm_process.py SOCKET`` serves until nobody holds its standard input.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import NoReturn

THIRD_PARTY = ("duckdb", "huggingface_hub", "jinja2", "matplotlib.pyplot", "rich.table", "scipy.stats", "tokenizers")
OURS = ("core", "collate", "viz")


class WarmProcess:
    """Runs commands in forks of one process, which is started with the first.

    Args:
        folder: for its socket and what commands print.
        environment: of the process; commands have their own.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._address = str(folder / "warm")
        self._server = subprocess.Popen(
            [sys.executable, __file__, self._address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        assert self._server.stdout.readline() == "ready\n"

    def run(self, arguments: list[str], env: dict[str, str], cwd: Path | None, timeout: float) -> tuple[int, str, str]:
        """Return a command's exit code, output and error output."""
        out, err = (self._folder / f"{threading.get_ident()}.{stream}" for stream in ("out", "err"))
        asked = {"arguments": arguments, "env": env, "cwd": str(cwd or Path.cwd()), "out": str(out), "err": str(err)}
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as file:
            connection.settimeout(timeout)
            connection.connect(self._address)
            print(json.dumps(asked | {"cores": _cores()}), file=file, flush=True)
            pid = int(file.readline())
            try:
                code = int(file.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def serve(address: str) -> None:
    """Import what commands import, then fork one for each connection."""
    for name in THIRD_PARTY:
        import_module(name)
    for room in OURS:
        package = import_module(f"decodebench.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):  # it needs what is not installed
                import_module(module.name)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([server, sys.stdin], (), ())[0]:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(connection)
                os._exit(0)
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as file:
        asked = json.loads(file.readline())
        if (command := os.fork()) == 0:
            connection.close()
            _become(asked)
        print(command, file=file, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]), file=file, flush=True)


def _become(asked: dict) -> NoReturn:
    """Be the process that ``python -m decodebench`` is."""
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    if asked["cores"]:
        os.sched_setaffinity(0, asked["cores"])
    for number, (name, flags) in enumerate(
        [(os.devnull, os.O_RDONLY), (asked["out"], os.O_WRONLY), (asked["err"], os.O_WRONLY)]
    ):
        os.dup2(os.open(name, flags | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["decodebench", *asked["arguments"]]
    sys.path[:1] = [asked["cwd"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    invalidate_caches()
    code = 1
    try:
        from decodebench.core.cli.main import main

        main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:  # noqa: BLE001 - as an interpreter ends
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take the interpreter down would take longer than most commands do


if __name__ == "__main__":
    serve(sys.argv[1])
