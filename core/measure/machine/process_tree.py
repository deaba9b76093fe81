"""Memory and CPU time of a process and of everything that it started, from ``/proc``; unknown where there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_USER_TO_CHILDREN = slice(11, 15)  # user and system time, its own and of those it has waited for, see proc(5)
_ZOMBIE = "Z"  # it has ended, and its parent has not asked how
_FORGET_PEAK = "5"  # proc(5): resets VmHWM to the present resident set


def processes(root: int) -> list[int]:
    """Return the ids of a process and of everything below it, the root first; none where it has ended."""
    found = [int(folder.name) for folder in _tree(root) if _fields(folder)[:1] not in ([], [_ZOMBIE])]
    return found if found[:1] == [root] else []


def peak_rss_bytes(root: int) -> int | None:
    """Return the largest resident set of every process of a tree, added up; None where the system does not say.

    Pages that processes share count in each of them, and not all need have been large at once: an upper bound.
    """
    found = []
    for process in _tree(root):
        with suppress(OSError):
            if peak := _PEAK.search((process / "status").read_text(encoding="utf-8")):
                found.append(int(peak.group(1)) * 1024)
    return sum(found) if found else None


def reset_peak(root: int) -> None:
    """Let the largest resident sets of a tree count from now on, where the system allows it."""
    for process in _tree(root):
        with suppress(OSError):
            (process / "clear_refs").write_text(_FORGET_PEAK)


def cpu_s(root: int) -> float:
    """Return the seconds of CPU that a process and everything that it started have used; 0 where that is unknown."""
    ticks = sum(int(figure) for folder in _tree(root) for figure in _fields(folder)[_USER_TO_CHILDREN])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> Iterator[Path]:
    """Yield the folders of a process and of all below it."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        if fields := _fields(folder):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        yield _PROC / str(process)


def _fields(process: Path) -> list[str]:
    """Return what the system says of a process, from its state and parent on; empty where it has ended."""
    with suppress(OSError):
        # the name before that, in brackets, may hold anything
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []
