"""Whether the sandbox holds on this machine, which is tried, not assumed."""

from __future__ import annotations

import platform
import sys
from functools import cache

from .... import UsageError
from .bubblewrap import missing_tools
from .process import Sandbox
from .seccomp import has_filter

_INSTALL = "apt-get install bubblewrap (0.8 or later)"

_TRIAL = """
import os, socket, threading
for path in ("/tmp/own", "/dev/shm/x", "/x", os.__file__):
    try:
        open(path, "a").close()
        written = True
    except OSError:
        written = False
    assert written == (path == "/tmp/own"), f"{path} can{'' if written else 'not'} be written to"
assert not os.path.exists("/proc/1"), "other processes can be seen"
for family in (socket.AF_INET, socket.AF_NETLINK, 40):
    try:
        socket.socket(family)
        raise AssertionError(f"a socket of family {family} can be made: system calls are not filtered")
    except OSError:
        pass
try:
    for made in range(8192):
        open(f"/tmp/{made}", "w").close()
    raise AssertionError("the number of files is not limited")
except OSError:
    pass
started = 0
try:
    for started in range(64):
        if os.fork() == 0:
            import time
            time.sleep(9)
except OSError:
    pass
assert started < 32, "processes are not limited"
try:
    bytearray(4 * 2**30)
    raise AssertionError("memory is not limited")
except MemoryError:
    pass
"""


@cache
def check() -> None:
    """Refuse where programs cannot be shut in: run one that tries to get out.

    Raises:
        UsageError: says what is missing, what failed and what to do.
    """
    why = "code of a model is run in bubblewrap or not at all"
    if sys.platform != "linux":
        raise UsageError(f"{why}, and that needs Linux; this is {sys.platform}", code="no-sandbox")
    if not has_filter(platform.machine()):
        raise UsageError(
            f"{why}, behind a filter for x86-64 and arm64; this is {platform.machine()}", code="no-sandbox"
        )
    if missing := missing_tools():
        tool, package = next(iter(missing.items()))
        install = _INSTALL if tool == "bwrap" else f"apt-get install {package}"
        raise UsageError(f"{why}, and `{tool}` is not installed: {install}", code="no-sandbox")
    try:
        outcome = Sandbox().run(_TRIAL)
    except OSError as error:
        raise UsageError(f"{why}, and it cannot be started here: {error}; {_INSTALL}", code="no-sandbox") from error
    if not outcome.is_ok:
        raise UsageError(
            f"{why}, and a trial of it failed here: {outcome.reason}\n"
            "it needs user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container the right to make them) and "
            f"{_INSTALL}",
            code="no-sandbox",
        )
