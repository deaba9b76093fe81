"""Which processes are there: known by a variable of the environment that they were started with (Linux)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def left_behind(mark: Mapping[str, str]) -> list[int]:
    """Return the living processes whose environment had this variable."""
    ((name, value),) = mark.items()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:  # it has ended
                continue
            if f"{name}={value}".encode() in variables and state != b"Z":
                found.append(int(folder.name))
    return found
