"""A process that looks at a backend from within: what the host's timed loop cannot see.

``python -m decodebench.core.conformance.probe_process`` reads a job (``probe_job.py``) as one JSON line and answers in
JSON lines, as the worker does. It reports what it saw and judges nothing: the checks do.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..cache import ModelCache
from ..contract.backend import Backend
from ..contract.generation import Request
from ..contract.model import PreparedModel
from ..contract.options import BackendOptions
from ..contract.preflight import PlannedCell
from ..errors import DecodebenchError, PluginError, UsageError
from ..host.packed_models import ModelJob
from ..host.registry import Registry
from ..host.sources import PluginSource, from_file, sources
from ..host.validation import validate_options
from ..measure.job import Job
from ..measure.rows import Row
from ..measure.servers.bringing_up import bring_up
from ..measure.timed_loop import measure
from ..measure.wire import Wire
from ..measure.worker import reason_of, work
from ..records.workload import Workload
from ..sdk.tokenizer import Codec
from .imports import Imports
from .loaded import Loaded
from .memory import resident_bytes
from .option_reads import recording
from .probe_job import AnyProbe, DeclarationsJob, Generating, ProbeJob, Question, QuestionJob, read_probe
from .residence_probe import residence_of
from .stream_probe import cut_stream_of, stream_of

_LIMITS = (1, 2, 7)
_LONG = 64  # a decoder that adapts has used all its options by then
_CANCELLED_AFTER = (0, 1, 3)
_SEEDS = range(6)
_WARMUP_CYCLES, _CYCLES = 2, 5
_NO_DEVICE = "no-such-device:0"


def main() -> None:
    """Answer the question that stands on standard input."""
    work(read_probe, _answer)


def _answer(job: AnyProbe, wire: Wire) -> None:
    if isinstance(job, DeclarationsJob):
        _declarations(job, wire)
        return
    backend = _registry(job).backend(job.backend)
    options = validate_options(backend, job.options)
    if isinstance(job, QuestionJob):
        _QUESTIONS[job.question](job, wire, backend, options)
        return
    loaded = _load(job, backend(), options)
    wire.write("facts", {"facts": {**asdict(loaded.facts), "settings": dict(loaded.facts.settings)}})
    try:
        for question in job.questions:
            _ask(job, wire, loaded, question)
    finally:
        loaded.backend.close()


def _registry(job: Job) -> Registry:
    return Registry(only=[job.plugin], files=_files(job))


def _source(job: DeclarationsJob) -> PluginSource:
    return next(source for source, _ in sources([job.plugin], map(from_file, _files(job))))


def _files(job: Job) -> list[Path]:
    return [job.plugin_file] if job.plugin_file else []


def _ask(job: ProbeJob, wire: Wire, loaded: Loaded, question: Generating) -> None:
    """Answer one question; its failure is an answer too, and the next one may fare better."""
    wire.write("asking", {"question": question})
    try:
        _GENERATING[question](job, wire, loaded)
        wire.write("answered", {"question": question})
    except Exception as error:  # noqa: BLE001 - the plugin boundary: any failure becomes the check's reason
        wire.write("fault", {"question": question, "reason": reason_of(job, error)})


def _declarations(job: DeclarationsJob, wire: Wire) -> None:
    """Import the plugin, probe the backend, and tell what that cost and which foreign modules it brought."""
    host_s = time.process_time()  # start of the process until here: Python and decodebench itself
    imports = Imports(_source(job))
    started = time.process_time()
    imports.plugin.load()
    import_s = time.process_time() - started
    imported = imports.foreign()
    backend = _registry(job).backend(job.backend)
    started, wall = _cpu_s(), time.perf_counter()
    probed = backend.probe()
    probe = {"cpu_s": _cpu_s() - started, "wall_s": time.perf_counter() - wall}
    backend.quantisations()
    of_probe = {name: owner for name, owner in imports.foreign().items() if name not in imported}
    cost = {"host_s": host_s, "import_s": import_s, "imported": imported, "probe_imported": of_probe}
    wire.write("declarations", {**cost, "probe": probe, "availability": asdict(probed)})


def _cpu_s() -> float:
    """Return the CPU time of this process and of its finished children, in seconds."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _load(job: ProbeJob, backend: Backend, options: BackendOptions, prepared: PreparedModel | None = None) -> Loaded:
    model = prepared or job.prepared.unpack()
    facts = bring_up(backend, model, options, job, time.perf_counter_ns()).facts
    codec = Codec(model.source.path, backend)
    prompts = [tuple(codec.encode(prompt.text or "")) for prompt in job.prompts]
    return Loaded(backend, facts, prompts, tuple(sorted({*facts.stop_token_ids, *codec.stop_ids()})))


def _greedy(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Generate as the worker does."""
    for prompt in range(len(loaded.prompts)):
        request = loaded.request(prompt, max_new_tokens=job.workload.max_new_tokens, ignore_eos=False)
        wire.write("output", {"ids": loaded.ids(replace(request, stop_token_ids=loaded.stop_ids))})


def _limits(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Generate to each limit, past every stop token."""
    for limit in _LIMITS:
        _send_ids(wire, "limit", loaded, loaded.request(max_new_tokens=limit), limit=limit)


def _stops(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Let tokens of a free output end the same output, and none with ``ignore_eos``."""
    free = loaded.request(max_new_tokens=job.workload.max_new_tokens)
    row = measure(loaded.backend, [free]).rows[0]
    ids = row.ids
    wire.write("free", {"ids": ids})
    firsts = [at for at, token in enumerate(ids) if token not in ids[:at]]
    middle = firsts[len(firsts) // 2]
    for at in sorted({firsts[0], middle, firsts[-1], *_within_steps(row, firsts)[-2:]}):
        stopped = replace(free, stop_token_ids=(ids[at],), ignore_eos=False)
        _send_ids(wire, "stopped", loaded, stopped, at=at)
    _send_ids(wire, "ignored", loaded, replace(free, stop_token_ids=(ids[middle],)))


def _within_steps(row: Row, places: Sequence[int]) -> list[int]:
    """Return those places at which a step commits a token and others behind it: there a stop is easily missed."""
    if row.is_placed:
        return []
    lasts = set(itertools.accumulate(len(step.token_ids) for _, step in row.steps))
    return [at for at in places if at + 1 not in lasts]


def _send_ids(wire: Wire, kind: str, loaded: Loaded, request: Request, **about: int) -> None:
    """Generate and send the output, or how it broke the contract."""
    try:
        wire.write(kind, {**about, "ids": loaded.ids(request), "fault": None})
    except PluginError as error:
        wire.write(kind, {**about, "ids": [], "fault": str(error)})


def _steps(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Note what every step holds when it arrives, and look again when all is over."""
    seen = []
    for step in loaded.backend.generate([loaded.request(max_new_tokens=job.workload.max_new_tokens)]):
        positions = None if step.positions is None else list(step.positions)
        seen.append((step, list(step.token_ids), positions))
    for step, ids, positions in seen:
        then = None if step.positions is None else list(step.positions)
        is_kept = list(step.token_ids) == ids and then == positions
        strange = [repr(token) for token in ids if type(token) is not int]
        plain = [int(token) for token in ids]
        places = None if positions is None else [int(at) for at in positions]
        wire.write("seen", {"ids": plain, "positions": places, "is_kept": is_kept, "strange": strange})


def _cancel(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Close a generation after some steps and generate the same and another prompt again."""
    before = [loaded.ids(loaded.request(prompt)) for prompt in (0, 1)]
    for steps in _CANCELLED_AFTER:
        stream = loaded.backend.generate([loaded.request(max_new_tokens=job.workload.max_new_tokens)])
        for _ in zip(range(steps), stream, strict=False):
            pass
        close: Callable[[], None] | None = getattr(stream, "close", None)
        if close is not None:
            close()
        del stream
        after = [loaded.ids(loaded.request(prompt)) for prompt in (0, 1)]
        wire.write("cancelled", {"after": steps, "ids": after, "before": before})


def _sample(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Sample with several seeds, the first twice; and greedily, with the largest logit alone left to draw from."""
    hot = loaded.request(temperature=1.5, seed=0)
    again = loaded.ids(hot)
    wire.write("seeds", {"ids": [loaded.ids(replace(hot, seed=seed)) for seed in _SEEDS], "again": again})
    wire.write("top-1", {"ids": loaded.ids(replace(hot, top_k=1)), "greedy": loaded.ids(loaded.request())})


def _batch(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Generate prompts of unlike lengths alone and together."""
    requests = [loaded.request(prompt, row=prompt) for prompt in range(min(3, loaded.backend.max_batch_size))]
    alone = [loaded.ids(replace(request, row=0)) for request in requests]
    together = [row.ids for row in measure(loaded.backend, requests).rows]
    for prompt, pair in enumerate(zip(alone, together, strict=True)):
        wire.write("row", {"alone": pair[0], "together": pair[1], "margin": loaded.margin(prompt, *pair)})


def _stream(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Let requests arrive while others run, and want no more of one that runs."""
    if "continuous" not in loaded.backend.supports:
        return
    seen = stream_of(loaded.backend, loaded.request(), loaded.prompts)
    pairs = enumerate(zip(seen["alone"], seen["ids"], strict=True))
    margins = [loaded.margin(row % len(loaded.prompts), *pair) for row, pair in pairs]
    wire.write("stream", {**seen, "margins": margins})
    wire.write("cut", cut_stream_of(loaded.backend, loaded.request(), loaded.prompts))


def _depth(job: ProbeJob, wire: Wire, loaded: Loaded) -> None:
    """Let parts of a prompt be there before the clock starts."""
    for depth, plain, ids in loaded.depths():
        wire.write("depth", {"depth": depth, "plain": plain, "ids": ids, "margin": loaded.margin(0, plain, ids)})


def _options(job: QuestionJob, wire: Wire, backend: type[Backend], options: BackendOptions) -> None:
    """Do all that a backend does with its options and tell which of them were read."""
    watched, read = recording(options)
    model = job.model.unpack()
    planned = PlannedCell(model, job.quantisation, job.device, watched, job.workload)
    inert = backend.preflight(planned).inert
    prepared = backend.prepare(model, job.quantisation, job.device, watched, ModelCache(job.cache_root))
    loaded = _load(job, backend(), watched, prepared)
    for prompt in range(len(loaded.prompts)):
        loaded.ids(loaded.request(prompt, max_new_tokens=_LONG))
    hot = replace(planned, options=options, workload=Workload(temperature=0.8))
    if "sampling" in backend.supports and _takes(backend, hot):
        loaded.ids(loaded.request(temperature=0.8))
    if "score" in backend.supports:
        loaded.backend.score(loaded.prompts[0])
    loaded.backend.close()
    wire.write(
        "options", {"read": sorted(read), "inert": {name: why for name, why in inert.items() if name not in read}}
    )


def _takes(backend: type[Backend], cell: PlannedCell[BackendOptions]) -> bool:
    """Whether the backend runs the cell."""
    try:
        return not backend.preflight(cell).errors
    except UsageError:
        return False


def _memory(job: QuestionJob, wire: Wire, backend: type[Backend], options: BackendOptions) -> None:
    """Load, generate and close again and again; every closed instance is kept, so that only ``close`` can free it."""
    kept: list[Backend] = []
    for cycle in range(_WARMUP_CYCLES + _CYCLES):
        loaded = _load(job, backend(), options)
        loaded.ids(loaded.request())
        loaded.backend.close()
        kept.append(loaded.backend)
        weight_bytes = loaded.facts.weight_bytes
        del loaded
        if cycle >= _WARMUP_CYCLES - 1:
            wire.write("memory", {"resident_bytes": resident_bytes(), "weight_bytes": weight_bytes})


def _refusals(job: QuestionJob, wire: Wire, backend: type[Backend], options: BackendOptions) -> None:
    """Ask for what cannot be done and tell which error came of it."""
    model = job.model.unpack()

    def damaged() -> None:
        assert isinstance(job.damaged, ModelJob)
        made = backend.prepare(job.damaged.unpack(), job.quantisation, job.device, options, ModelCache(job.cache_root))
        bring_up(backend(), made, options, job, time.perf_counter_ns())

    def device() -> None:
        made = backend.prepare(model, job.quantisation, _NO_DEVICE, options, ModelCache(job.cache_root))
        elsewhere = job.model_copy(update={"device": _NO_DEVICE})
        bring_up(backend(), made, options, elsewhere, time.perf_counter_ns())

    def empty() -> None:
        list(loaded.backend.generate([Request((), 1)]))

    if job.damaged is not None:
        _provoke(wire, "damaged weights", damaged, [job.damaged.path.name])
    if backend.residence != "remote":  # whose device is not a client's to choose
        _provoke(wire, f"device {_NO_DEVICE!r}", device, [_NO_DEVICE])
    loaded = _load(job, backend(), options)
    _provoke(wire, "an empty prompt", empty, ["prompt"])
    loaded.backend.close()


def _residence(job: QuestionJob, wire: Wire, backend: type[Backend], options: BackendOptions) -> None:
    loaded = _load(job, backend(), options)
    wire.write("residence", residence_of(loaded.backend, loaded.facts, lambda: loaded.ids(loaded.request())))


def _provoke(wire: Wire, what: str, act: Callable[[], None], causes: Sequence[str]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - which error it is, is the question
        is_declared = isinstance(error, DecodebenchError)
        names = any(cause in str(error) for cause in causes)
        told = {"error": type(error).__name__, "text": " ".join(str(error).split())}
        wire.write("refusal", {"what": what, "is_declared": is_declared, "names_cause": names, **told})
    else:
        wire.write("refusal", {"what": what, "error": None})


_GENERATING: dict[Generating, Callable[[ProbeJob, Wire, Loaded], None]] = {
    "greedy": _greedy,
    "limits": _limits,
    "stops": _stops,
    "steps": _steps,
    "sample": _sample,
    "batch": _batch,
    "cancel": _cancel,
    "stream": _stream,
    "depth": _depth,
}
_QUESTIONS: dict[Question, Callable[[QuestionJob, Wire, type[Backend], BackendOptions], None]] = {
    "options": _options,
    "memory": _memory,
    "refusals": _refusals,
    "residence": _residence,
}


if __name__ == "__main__":
    main()
