"""Running a Python program that nobody has read: in bubblewrap, without network, with limits on everything.

The program sees the interpreter and the libraries that it is linked with, read-only; an empty ``/tmp`` of its own in
memory; no network; no process but its own; no variable, no site packages. It may take so much time, memory, processes
and files and no more, can make few system calls, cannot gain rights, and dies with this process. What it prints is
dropped. Its tests run in a process of their own, which it cannot reach: it answers with values, compared there.

``bubblewrap`` is the command, ``seccomp`` with ``system_calls`` the filter, ``process`` runs, ``trial`` checks that
all of it holds on this machine; ``inside`` is what runs in the sandbox.
"""

from __future__ import annotations

from .limits import LIMITS, Limits
from .process import NO_CHECKS, Checks, Outcome, Sandbox
from .trial import check

__all__ = ["LIMITS", "NO_CHECKS", "Limits", "Outcome", "Sandbox", "Checks", "check"]
