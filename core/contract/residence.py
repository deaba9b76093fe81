"""Where an engine runs, and what the host can know of it from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Residence = Literal["in-process", "owned-server", "remote"]
"""``in-process``: in the worker, whose memory and load time are the engine's.

``owned-server``: in a server on this machine that ``Backend.start_server`` starts; the host measures its process tree.

``remote``: in a server that somebody else runs; the host measures only when answers come: memory, load time, weights
and device are unknown.
"""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        url: address of its API, without credentials.
        pid: root of its process tree on this machine; None for a remote one.
        command: program and arguments it was started with, without secrets; empty if unknown.
        version: of the engine, as the server reports it.
    """

    url: str
    pid: int | None = None
    command: tuple[str, ...] = ()
    version: str | None = None
