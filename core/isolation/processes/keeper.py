"""Stands between decodebench and one worker, so that neither the worker nor anything that it started outlives them.

``python -I -S keeper.py LIFELINE COMMAND...`` starts the command. Once that has ended, or the other end of the pipe
LIFELINE is closed, which the kernel does when decodebench dies, it kills every process below itself and ends as the
command did. On Linux it is the sub-reaper (prctl(2)) of what it starts: a child that was left behind, daemonised or
not, becomes a child of this process and is found. Elsewhere the command's process group stands for its children.

This is a script of its own that imports nothing of decodebench: it starts in some 20 ms, and then sleeps.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
from contextlib import suppress

_IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CANNOT_START = 127  # as a shell says it
_OWN_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
_AGAIN_S, _RARELY_S = 0.02, 1.0  # until the dead are looked for once more, twice as long each time


def main() -> None:
    """Run the command on the command line."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(lifeline, False)
    if _IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake = _wake_on_signals()
    worker = _start(command)
    for descriptor in (0, 1):  # the worker's alone: who reads it must see its end
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    status = _wait(worker, lifeline, wake)
    _end_family(worker, wake)
    _end_as(status)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _wake_on_signals() -> int:
    """Survive what can be survived, a signal to the whole process group included; return where signals are told.

    Handlers, unlike ignored signals, are not passed on to the command.
    """
    read, write = os.pipe()
    for descriptor in (read, write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - _OWN_FAULTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return read


def _start(command: list[str]) -> int:
    """Start the command and return its process id; where that fails, the child says why and ends."""
    keeper = os.getpid()
    worker = os.fork()
    if worker:
        return worker
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which a command would inherit
            signal.signal(number, signal.SIG_DFL)
        if _IS_LINUX:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:  # it died before it could be followed
                os._exit(_CANNOT_START)
        else:
            os.setpgid(0, 0)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(_CANNOT_START)


def _wait(worker: int, lifeline: int, wake: int) -> int:
    """Return the worker's wait status; 0 where decodebench wants its end, or has ended itself."""
    while True:
        status = _reap(worker)
        if status is not None:
            return status
        ready, _, _ = select.select([lifeline, wake], [], [])
        if lifeline in ready:
            return 0
        os.read(wake, 4096)


def _reap(worker: int) -> int | None:
    """Take note of children that have ended; return the wait status of the worker if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == worker:
                found = ended[1]
    return found


def _end_family(worker: int, wake: int) -> None:
    """Kill every process below this one, again and again until there is none: new ones may come meanwhile."""
    pause_s = _AGAIN_S  # one that cannot be killed, such as another user's, must not keep a core busy
    while True:
        _kill_family(worker)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([wake], [], [], pause_s)
        pause_s = min(2 * pause_s, _RARELY_S)
        with suppress(BlockingIOError):
            os.read(wake, 4096)


def _kill_family(worker: int) -> None:
    for pid in _descendants() if _IS_LINUX else [-worker]:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()  # behind the command's name, which may hold anything
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:  # grows meanwhile
        found += children.get(pid, ())
    return found


def _end_as(status: int) -> None:
    """End as the worker did, by the same signal where it was one."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
