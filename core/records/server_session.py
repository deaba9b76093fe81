"""What is recorded of a server that answered in a round, which may have outlived it."""

from __future__ import annotations

from pydantic import Field

from .record import Record


class ServerSession(Record):
    """One session of a server that answered requests of a round.

    Times are seconds since the round's process started, negative for what was before.
    """

    id: str | None = Field(
        None, description="the same in every round that this server session answered; None if unknown"
    )
    url: str | None = Field(None, description="address of its API")
    command: tuple[str, ...] = Field((), description="program and arguments it was started with, without secrets")
    version: str | None = Field(None, description="version that it reports")
    pid: int | None = Field(None, ge=1, description="root of its process tree; None if remote")
    started_s: float | None = Field(None, description="start of its process; None if others started it")
    ready_s: float | None = Field(None, description="first answer that it is ready")
    ended_s: float | None = Field(None, description="end of its process; None if it kept running")
    exit_code: int | None = Field(None, description="exit code, negative for a signal")
    reason: str | None = Field(None, description="why it ended, if nobody stopped it")
    peak_rss_bytes: int | None = Field(
        None, ge=0, description="largest resident sets of the processes of its tree, added up, over its life so far"
    )
    peak_device_bytes: int | None = Field(None, ge=0, description="largest device memory of its process tree")
