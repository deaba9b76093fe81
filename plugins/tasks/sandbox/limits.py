"""What a program may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take.

    Attributes:
        wall_s: time from its start to its end, the sandbox's own included.
        cpu_s: processor time.
        memory_bytes: address space of each process.
        processes: its processes and threads at once.
        file_bytes: size of each file that it writes.
        tmp_bytes: of all files in ``/tmp``.
        tmp_files: files and folders in ``/tmp``.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 2**30
    processes: int = 3
    file_bytes: int = 2**20
    tmp_bytes: int = 32 * 2**20
    tmp_files: int = 1024


LIMITS = Limits()
