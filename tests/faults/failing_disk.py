"""``decodebench`` on a disk that fails where logs are finished: ``python failing_disk.py CALL HOW COMMAND...``.

``CALL`` is ``fsync`` or ``rename``, of a raw log or its descriptor. ``HOW`` is ``fails``, or ``holds before`` or
``holds after``: then the file ``FAILING_DISK`` (a variable) is made and the call waits to be killed.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

real = {"fsync": os.fsync, "rename": os.rename}


def is_log(target: object) -> bool:
    path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
    return ".jsonl" in path


def hold() -> None:
    Path(os.environ["FAILING_DISK"]).touch()
    while True:
        signal.pause()


def failing(name: str, how: str):
    def call(target, *others, **named):
        if not is_log(target):
            return real[name](target, *others, **named)
        if how == "fails":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))
        if how == "holds before":
            hold()
        done = real[name](target, *others, **named)
        if how == "holds after":
            hold()
        return done

    return call


if __name__ == "__main__":
    _, name, how, *command = sys.argv
    setattr(os, name, failing(name, how))
    sys.argv = ["decodebench", *command]
    from decodebench.core.cli.main import main

    main()
