"""The worker process: loads one backend, does one job, dies.

``python -m decodebench.core.measure.worker`` reads a job (``job.py``) as one JSON line from standard input and streams
JSON lines to what was its standard output; whatever the engine prints goes to standard error. It writes no files. The
parent goes by the ``finish`` line, and by its absence. The worker dies with its parent, see
``isolation/processes/keeper.py``.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..cache import ModelCache
from ..contract.backend import Backend
from ..contract.model import ModelFacts
from ..contract.options import BackendOptions
from ..errors import DecodebenchError, OutOfMemoryError, PluginError, described
from ..host.contributions import renamed
from ..host.packed_models import PreparedJob
from ..host.registry import Registry
from ..host.validation import validate_options
from ..isolation.processes.messages import Devices, Finish, Prepared, Server
from ..records.schema import THREADS
from ..sdk.tokenizer import Codec
from .job import (
    AnyJob,
    DevicesJob,
    EvaluateJob,
    HostJob,
    Job,
    MeasureJob,
    PrepareJob,
    ScoreJob,
    ServeJob,
    SessionJob,
    read_job,
)
from .measurement import evaluate_all, measure_all, score_all
from .servers.bringing_up import Engine, bring_up, host
from .serving import serve
from .session import Session
from .streams.measuring import measure_streams
from .timed_loop import set_aside_what_was_loaded
from .wire import Wire

J = TypeVar("J", bound=Job)

_STARTED_NS = time.perf_counter_ns()
_OUT_OF_MEMORY = re.compile(r"out of memory|cannot allocate memory|can't allocate memory|bad_alloc|MemoryError", re.I)


def main() -> None:
    """Run the job that stands on standard input."""
    work(read_job, _run)


def work(read: Callable[[str], J], run: Callable[[J, Wire], None]) -> None:
    """Read a job from standard input, run it, send how it ended and end the process."""
    wire = Wire.over_stdout()
    job = read(sys.stdin.readline())
    status: Literal["ok", "failed"] = "ok"
    reason, code = "", None
    try:
        _limit_memory(job.memory_limit_bytes)
        run(job, wire)
    except Exception as error:  # noqa: BLE001 - the plugin boundary: any failure becomes the round's reason
        status, (reason, code) = "failed", reason_of(job, error)
    reason = reason.encode(errors="backslashreplace").decode()  # it may name a file whose name is no text
    wire.send(Finish(status=status, reason=reason or None, peak_rss_bytes=_peak_rss_bytes(), code=code))
    # An engine's own exit handlers may hang or crash after the work is done; they have nothing to add.
    sys.stderr.flush()
    os._exit(0)


def _run(job: AnyJob, wire: Wire) -> None:
    registry = Registry(only=[job.plugin], files=[job.plugin_file] if job.plugin_file else [])
    # Alone, a plugin has the plain name that it may not have beside others.
    backend_class = renamed(registry.backend(job.backend), job.backend)
    options = validate_options(backend_class, job.options)
    import_s = (time.perf_counter_ns() - _STARTED_NS) / 1e9
    match job:
        case DevicesJob():
            wire.send(Devices.model_construct(devices=tuple(backend_class.devices())))
        case PrepareJob():
            wire.send(_prepared(job, backend_class, options))
        case HostJob():
            host(job, wire, backend_class(), options)
        case _:
            _use(job, wire, backend_class(), options, import_s)


def _prepared(job: PrepareJob, backend_class: type[Backend], options: BackendOptions) -> Prepared:
    """Convert or quantise the model."""
    start = time.perf_counter()
    cache = ModelCache(job.cache_root)
    prepared = backend_class.prepare(job.model.unpack(), job.quantisation, job.device, options, cache)
    seconds = time.perf_counter() - start
    prepared = replace(prepared, notes=(*prepared.notes, *prepared.source.notes))
    return Prepared(model=PreparedJob.of(prepared), prepare_s=seconds, notices=tuple(cache.notices))


def _use(job: SessionJob, wire: Wire, backend: Backend, options: BackendOptions, import_s: float) -> None:
    """Load the model, do what is asked with it, and free it."""
    engine = bring_up(backend, job.prepared.unpack(), options, job, _STARTED_NS)
    try:
        set_aside_what_was_loaded()
        codec = Codec(job.prepared.source.path, backend)
        session = Session(job, wire, backend, engine.facts, codec, _STARTED_NS)
        wire.write("load", {"import_s": import_s, **_told(session, engine)})
        match job:
            case MeasureJob():
                has_choices = any(prompt.choices for prompt in job.prompts)
                measure = measure_streams if job.workload.is_stream and not has_choices else measure_all
                measure(session, job.prompts)
            case ScoreJob():
                score_all(session, job)
            case EvaluateJob():
                evaluate_all(session, job)
            case ServeJob():
                serve(session)
        if engine.session is not None:
            wire.send(Server(peak_rss_bytes=engine.server_peak_rss_bytes))
    finally:
        backend.close()


def _told(session: Session, engine: Engine) -> dict[str, Any]:
    """Return what the log says of a loaded model: fields of ``Run``."""
    facts, prepared = session.facts, session.job.prepared
    return {
        "load_s": engine.load_s,
        "warmup_s": engine.warmup_s,
        "sessions": [] if engine.session is None else [engine.session.model_dump(mode="json")],
        "parameters": facts.parameters,
        "weight_bytes": facts.weight_bytes,
        "read_weight_bytes": facts.read_weight_bytes,
        "kv_bytes_per_token": facts.kv_bytes_per_token,
        "context_length": facts.context_length or None,
        "stop_token_ids": list(session.stop_ids),
        "settings": {**({} if facts.n_threads is None else {THREADS: str(facts.n_threads)}), **facts.settings},
        "notes": list(prepared.notes),
        "bits_per_weight": prepared.bits_per_weight or _bits_per_weight(facts),
    }


def _bits_per_weight(facts: ModelFacts) -> float | None:
    """Return the measured bits per weight, scales included; None for a model without weights."""
    return 8 * facts.weight_bytes / facts.parameters if facts.weight_bytes and facts.parameters else None


def reason_of(job: Job, error: Exception) -> tuple[str, str]:
    """Return an error as a reason, with type and origin unless it was raised on purpose, and its code."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (MemoryError, OutOfMemoryError)) or _OUT_OF_MEMORY.search(f"{type(error).__name__} {text}"):
        return f"out of memory: {text}", OutOfMemoryError.code
    if isinstance(error, DecodebenchError):
        return text, error.code
    import traceback

    traceback.print_exc()  # to the engine's text file, for whoever mends the backend
    return f"backend {job.backend!r}: {described(error)}", PluginError.code


def _limit_memory(limit_bytes: int | None) -> None:
    if limit_bytes is not None:
        # Private writable memory, heap and anonymous maps alike; address space would count mapped weights as well.
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _peak_rss_bytes() -> int:
    """Return the peak resident set of this process; ``ru_maxrss`` would start from the parent's at fork."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return int(found.group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
