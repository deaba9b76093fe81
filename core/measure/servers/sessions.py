"""Servers that outlive rounds: started once, kept by a worker of their own, ended when another one is needed."""

from __future__ import annotations

import uuid
from pathlib import Path

from ...contract.launcher import Line
from ...errors import BackendError
from ...foreign_text import path_part
from ...isolation.processes.messages import Hosted, message
from ..job import LoadedJob, ServerJob
from ..machine.process_tree import processes
from ..rounds.conversation import Conversation


class ServerSessions:
    """At most one server at a time: an idle one holds memory, and may keep cores busy.

    Args:
        folder: takes what servers print.
        timeout_s: a start that takes longer has failed.
    """

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._folder, self._timeout_s = folder, timeout_s
        self._key: str | None = None
        self._keeper: Conversation | None = None
        self._server: ServerJob | None = None

    def server_for(self, key: str, job: LoadedJob) -> ServerJob:
        """Return the server that is to answer, started now unless it runs already.

        Args:
            key: what rounds have in common that one server can answer.
            job: of the round.

        Raises:
            BackendError: it did not start; says why.
        """
        if self._server is not None and self._key == key and processes(self._server.pid or 0):
            self._server = self._server.model_copy(update={"is_new": False})
            return self._server
        self.close()
        found: list[Hosted] = []

        def take(line: Line) -> None:
            if line["type"] == "hosted":
                found.append(message(Hosted, line))

        text = self._folder / path_part(job.backend) / f"server_{str(uuid.uuid4())[:8]}.engine.txt"
        self._keeper = Conversation(job.hosting(), take, self._timeout_s, text)
        outcome = self._keeper.proceed()
        if outcome is not None or not found:
            self.close()
            if outcome is None:
                raise BackendError("it started no server", code="contract-broken")
            raise BackendError(outcome.reason or outcome.status, code=outcome.code)
        self._key, self._server = key, ServerJob(**found[0].model_dump())
        return self._server

    @property
    def pid(self) -> int | None:
        """Process of the server that runs; None where there is none."""
        return None if self._server is None else self._server.pid

    def close(self) -> None:
        """End the server that runs, if any, with everything that it has started."""
        if self._keeper is not None:
            self._keeper.end()
        self._key = self._keeper = self._server = None
