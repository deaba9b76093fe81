"""Bringing a backend up for a job: its server where it has one, its model, and what is known of both."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace

from ...contract.backend import Backend
from ...contract.model import ModelFacts, PreparedModel
from ...contract.options import BackendOptions
from ...contract.residence import RunningServer
from ...errors import PluginError
from ...isolation.processes.messages import Hosted
from ...records.server_session import ServerSession
from ..job import HostJob, LoadedJob, ServerJob
from ..machine.process_tree import peak_rss_bytes, reset_peak
from ..wire import Wire


@dataclass(frozen=True, slots=True)
class Engine:
    """A backend that is ready to generate.

    Attributes:
        backend: the instance.
        facts: what it says of its model.
        load_s: weights into memory, by the engine or by its server; None where others loaded them.
        warmup_s: compiling and capturing after that; None where the backend does none.
        session: the server that answers; None for an engine in process.
    """

    backend: Backend
    facts: ModelFacts
    load_s: float | None
    warmup_s: float | None
    session: ServerSession | None

    @property
    def server_peak_rss_bytes(self) -> int | None:
        """Largest resident set of the server's process tree since it was brought up for this job."""
        return None if self.session is None or self.session.pid is None else peak_rss_bytes(self.session.pid)


def start_server(backend: Backend, model: PreparedModel, options: BackendOptions, device: str) -> ServerJob:
    """Start the server of a backend that has its own, and return what is known of it.

    Raises:
        PluginError: it names no process, so that nobody could measure or end it.
    """
    started = time.perf_counter_ns()
    server = backend.start_server(model, device, options)
    if server.pid is None:
        raise PluginError(
            f"backend {backend.name!r} broke its contract: the server that it started has no process id",
            code="contract-broken",
        )
    return ServerJob(
        id=str(uuid.uuid4()),
        url=server.url,
        pid=server.pid,
        command=server.command,
        version=server.version,
        started_ns=started,
        ready_ns=time.perf_counter_ns(),
        is_new=True,
    )


def bring_up(
    backend: Backend, model: PreparedModel, options: BackendOptions, job: LoadedJob, process_started_ns: int
) -> Engine:
    """Load the model, or connect to the server that has it.

    Args:
        backend: a new instance.
        model: what it loads.
        options: its options.
        job: has the device, and the server where one runs already.
        process_started_ns: when this process started, from which the times of a session count.
    """
    server = None
    if backend.residence == "owned-server":
        server = job.server or start_server(backend, model, options, job.device)
        backend.server = RunningServer(server.url, server.pid, server.command, server.version)
    start = time.perf_counter()
    facts = backend.load(model, job.device, options)
    load_s = time.perf_counter() - start
    facts, warmup_s = warmed_up(backend, facts)
    if backend.residence == "in-process":
        return Engine(backend, facts, load_s, warmup_s, None)
    if server is None:
        return Engine(backend, facts, None, warmup_s, _remote(backend))
    if server.pid is not None:
        reset_peak(server.pid)
    known = server.model_dump(include={"id", "url", "pid", "command", "version"})
    times = {"started_s": server.started_ns, "ready_s": server.ready_ns}
    since = {name: (at - process_started_ns) / 1e9 for name, at in times.items()}
    load_s = (server.ready_ns - server.started_ns) / 1e9
    return Engine(backend, facts, load_s if server.is_new else None, warmup_s, ServerSession(**known, **since))


def warmed_up(backend: Backend, facts: ModelFacts) -> tuple[ModelFacts, float | None]:
    """Let a loaded backend warm up; return what is known of it then, and how long that took.

    Args:
        backend: the instance, after ``load``.
        facts: what ``load`` returned.
    """
    if type(backend).warmup is Backend.warmup:
        return facts, None
    start = time.perf_counter()
    settings = {**facts.settings, **backend.warmup()}
    return replace(facts, settings=settings), time.perf_counter() - start


def _remote(backend: Backend) -> ServerSession:
    """Return what is known of a server that somebody else runs."""
    server = backend.server
    if server is None:
        raise PluginError(
            f"backend {backend.name!r} broke its contract: it is remote and names no server after load",
            code="contract-broken",
        )
    return ServerSession(url=server.url, command=server.command, version=server.version)


def host(job: HostJob, wire: Wire, backend: Backend, options: BackendOptions) -> None:
    """Start a server and keep it until the parent says that it is done, or has ended."""
    server = start_server(backend, job.prepared.unpack(), options, job.device)
    try:
        wire.send(Hosted.model_construct(**server.model_dump()))
        wire.wait_until_read()
    finally:
        backend.close()
