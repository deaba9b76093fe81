"""Which processes are there: known by a variable of the environment that they were started with (Linux)."""

from __future__ import annotations

from pathlib import Path

from ..waiting import still_alive

MARK = "FAULTS_MARK"


def left_behind(mark: object) -> list[int]:
    """Return the living processes in whose environment ``MARK`` had this value."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:  # it has ended
                continue
            if f"{MARK}={mark}".encode() in variables and state != b"Z":
                found.append(int(folder.name))
    return found


def all_gone(mark: object, seconds: float = 10) -> bool:
    """Wait for such processes to end; return whether all have, and have left none behind."""
    return not still_alive(left_behind(mark), seconds) and not left_behind(mark)
