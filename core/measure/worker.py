"""The worker process: loads one backend, does one job, dies.

``python -m decodebench.core.measure.worker`` reads a ``Job`` as one JSON line from standard input and streams JSON
lines to what was its standard output; whatever the engine prints goes to standard error. It writes no files. Exit
codes do not matter: the parent goes by the ``finish`` line, and by its absence.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ..cache import ModelCache
from ..contract.backend import Backend, BackendOptions, ModelFacts, Request
from ..errors import BackendError, DecodebenchError, ModelError, OutOfMemoryError, PluginError, SampleError
from ..host.contributions import renamed
from ..host.packed_models import PreparedJob
from ..host.registry import Registry
from ..host.validation import validate_options
from ..sdk.tokenizer import Codec, ids_hash, pieces
from .choices import check_room, encode_choices, encode_pair, score_choices, told
from .job import ContinuationJob, Job, PromptJob
from .serving import serve
from .timed_loop import Batch, Row, answer_of, measure, measure_with_stop

J = TypeVar("J", bound=Job)

_STARTED = time.perf_counter()
_STARTED_NS = time.perf_counter_ns()
_OUT_OF_MEMORY = re.compile(r"out of memory|cannot allocate memory|can't allocate memory|bad_alloc|MemoryError", re.I)
_STEP_FIELDS = (
    "block_size",
    "drafted",
    "accepted",
    "discarded",
    "candidates",
    "forwards",
    "draft_s",
    "verify_s",
    "wire_s",
    "enqueue_s",
    "engine_s",
    "bytes_read",
)


class Wire:
    """The pipe to the parent: whole JSON lines."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def send(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send one line."""
        self._pipe.write((json.dumps({"type": kind, **content}, ensure_ascii=False) + "\n").encode())
        self._pipe.flush()

    def wait_until_read(self) -> None:
        """Return once the parent has dealt with every line: its work must not run beside the next measurement."""
        self.send("ready", {})
        sys.stdin.readline()


def main() -> None:
    """Run the job that stands on standard input."""
    work(Job, _run)


def work(kind: type[J], run: Callable[[J, Wire], None]) -> None:
    """Read a job from standard input, run it, send how it ended and end the process."""
    wire = _take_stdout()
    _die_with_parent()
    job = kind.model_validate_json(sys.stdin.readline())
    status, reason = "ok", None
    try:
        _limit_memory(job.memory_limit_bytes)
        run(job, wire)
    except Exception as error:  # noqa: BLE001 - the plugin boundary: any failure becomes the round's reason
        status, reason = "failed", reason_of(job, error)
    wire.send("finish", {"status": status, "reason": reason, "peak_rss_bytes": _peak_rss_bytes()})
    # An engine's own exit handlers may hang or crash after the work is done; they have nothing to add.
    sys.stderr.flush()
    os._exit(0)


def _run(job: Job, wire: Wire) -> None:
    registry = Registry(only=[job.plugin], files=[job.plugin_file] if job.plugin_file else [])
    # Alone, a plugin has the plain name that it may not have beside others.
    backend_class = renamed(registry.backend(job.backend), job.backend)
    options = validate_options(backend_class, job.options)
    import_s = time.perf_counter() - _STARTED
    if job.action == "devices":
        wire.send("devices", {"devices": list(backend_class.devices())})
    elif job.action == "prepare":
        _prepare(job, wire, backend_class, options)
    else:
        backend = backend_class()
        facts = _load(job, wire, backend, options, import_s)
        try:
            _ACTIONS[job.action](job, wire, backend, facts)
        finally:
            backend.close()


def _prepare(job: Job, wire: Wire, backend_class: type[Backend], options: BackendOptions) -> None:
    assert job.model is not None
    start = time.perf_counter()
    cache = ModelCache(job.cache_root)
    prepared = backend_class.prepare(job.model.unpack(), job.quantisation, job.device, options, cache)
    seconds = time.perf_counter() - start
    wire.send("prepared", {"model": PreparedJob.of(prepared).model_dump(mode="json"), "prepare_s": seconds})


def _load(job: Job, wire: Wire, backend: Backend, options: BackendOptions, import_s: float) -> ModelFacts:
    assert job.prepared is not None
    start = time.perf_counter()
    facts = backend.load(job.prepared.unpack(), job.device, options)
    content = {
        "import_s": import_s,
        "load_s": time.perf_counter() - start,
        "parameters": facts.parameters,
        "weight_bytes": facts.weight_bytes,
        "read_weight_bytes": facts.read_weight_bytes,
        "kv_bytes_per_token": facts.kv_bytes_per_token,
        "settings": dict(facts.settings),
        "notes": list(job.prepared.notes),
        "bits_per_weight": job.prepared.bits_per_weight or _bits_per_weight(facts),
    }
    wire.send("load", content)
    return facts


def _bits_per_weight(facts: ModelFacts) -> float | None:
    """Return the measured bits per weight, scales included; None for a model without weights."""
    return 8 * facts.weight_bytes / facts.parameters if facts.weight_bytes and facts.parameters else None


def _measure_all(job: Job, wire: Wire, backend: Backend, facts: ModelFacts) -> None:
    assert job.prepared is not None
    codec = Codec(job.prepared.source.path, backend)
    stop_ids = facts.stop_token_ids or codec.stop_ids()
    index = 0
    failures: list[str] = []
    for number, prompts in enumerate(_batches(job)):
        if prompts[0].choices:
            for prompt in prompts:
                failures += _measure_choices(job, wire, backend, codec, facts, prompt, index)
                index += 1
            continue
        encoded = [_encode(prompt, job, codec, facts) for prompt in prompts]
        requests = [_request(job, facts, tuple(ids), stop_ids, index + row) for row, (_, ids) in enumerate(encoded)]
        wire.wait_until_read()
        try:
            batch = _measure_batch(job, backend, codec, requests)
        except SampleError as error:
            failures += [str(error)] * len(prompts)
            for row, prompt in enumerate(prompts):
                about = {"index": index, "sample_id": prompt.sample_id, "is_warmup": prompt.is_warmup}
                _report_failure(wire, about | {"prompt": encoded[row][0], "batch": number}, requests[row], error)
                index += 1
            continue
        engine = dict(backend.counters())
        if text := backend.classic_log():
            wire.send("text", {"text": text})
        for row, prompt in enumerate(prompts):
            about = {"index": index, "sample_id": prompt.sample_id, "is_warmup": prompt.is_warmup}
            about |= {"prompt": encoded[row][0], "batch": number, "engine": engine}
            _report(wire, about, requests[row], batch, batch.rows[row], codec, stop_ids)
            index += 1
    if failures:
        raise BackendError(f"{len(failures)} of {index} samples failed: {failures[0]}")


def _measure_choices(
    job: Job, wire: Wire, backend: Backend, codec: Codec, facts: ModelFacts, prompt: PromptJob, index: int
) -> list[str]:
    """Score the choices of one problem and send it; return why it came to nothing, if it did."""
    text, _ = _encode(prompt, job, codec, facts)
    pairs = encode_choices(prompt, text or "", codec, is_rendered=job.chat)
    check_room(pairs, facts.context_length, prompt.sample_id)
    about: dict[str, Any] = {"index": index, "sample_id": prompt.sample_id, "is_warmup": prompt.is_warmup}
    about |= {"prompt": text, "batch": index}
    wire.wait_until_read()
    try:
        scored = score_choices(backend, pairs)
        about |= told(prompt, pairs, scored) | {"start_s": (scored.start_ns - _STARTED_NS) / 1e9}
    except SampleError as error:
        about |= {"scored_tokens": sum(map(len, pairs)), "output_tokens": None}
        wire.send("sample", {**about, "status": "failed", "reason": str(error)})
        return [str(error)]
    engine = dict(backend.counters())
    if log := backend.classic_log():
        wire.send("text", {"text": log})
    wire.send("sample", {**about, "engine": engine})
    return []


def _batches(job: Job) -> Iterator[Sequence[PromptJob]]:
    """Yield the prompts in batches; warm-up and measured ones never share a batch."""
    for is_warmup in (True, False):
        chosen = [prompt for prompt in job.prompts if prompt.is_warmup == is_warmup]
        for start in range(0, len(chosen), job.batch_size):
            yield chosen[start : start + job.batch_size]


def _encode(prompt: PromptJob, job: Job, codec: Codec, facts: ModelFacts) -> tuple[str | None, list[int]]:
    if prompt.random_tokens is not None:
        chooser = random.Random(prompt.random_seed)
        limit = min(codec.plain_ids or facts.vocabulary_size, facts.vocabulary_size)
        return None, [chooser.randrange(limit) for _ in range(prompt.random_tokens)]
    if job.chat:
        return codec.encode_chat(prompt.messages or (("user", prompt.text or ""),))
    return prompt.text, codec.encode(prompt.text or "")


def _request(job: Job, facts: ModelFacts, ids: tuple[int, ...], stop_ids: tuple[int, ...], index: int) -> Request:
    room = facts.context_length - len(ids)
    if not ids or room < 1:
        raise ModelError(f"prompt {index} has {len(ids)} tokens; the model's context holds {facts.context_length}")
    return Request(
        prompt_ids=ids,
        max_new_tokens=min(job.max_new_tokens, room),
        temperature=job.sampling.temperature,
        top_p=job.sampling.top_p,
        top_k=job.sampling.top_k,
        seed=job.sampling.seed + index,
        stop_token_ids=stop_ids,
        ignore_eos=job.ignore_eos,
    )


def _measure_batch(job: Job, backend: Backend, codec: Codec, requests: Sequence[Request]) -> Batch:
    if job.stop:
        return measure_with_stop(backend, requests, job.stop, codec.decode)
    return measure(backend, requests)


def _report_failure(wire: Wire, about: dict[str, Any], request: Request, error: SampleError) -> None:
    """Send a sample that came to nothing."""
    prompt = {"prompt_tokens": len(request.prompt_ids), "prompt_hash": ids_hash(request.prompt_ids)}
    wire.send("sample", {**about, **prompt, "output_tokens": 0, "status": "failed", "reason": str(error)})


def _report(
    wire: Wire,
    about: dict[str, Any],
    request: Request,
    batch: Batch,
    row: Row,
    codec: Codec,
    stop_ids: Sequence[int],
) -> None:
    """Send one sample and its steps; happens between batches, never inside one."""
    ids = row.ids
    finish = "stop-string" if row.is_cut else "stop" if request.is_stop(ids[-1]) else "length"
    wire.send(
        "sample",
        {
            **about,
            "prompt_tokens": len(request.prompt_ids),
            "prompt_hash": ids_hash(request.prompt_ids),
            "output_tokens": len(ids),
            "output_ids": ids,
            "text": answer_of(request, row, codec.decode),
            "finish": finish,
            "start_s": (batch.start_ns - _STARTED_NS) / 1e9,
            "duration_s": row.steps[-1][0] / 1e9,
            "batch_s": batch.wall_ns / 1e9,
        },
    )
    visible = [[token for token in step.token_ids if token not in stop_ids] for _, step in row.steps]
    # Pieces in the order of time join to the text only where tokens come in the order of the text.
    texts = [codec.decode(ids) for ids in visible] if row.is_placed else pieces(codec.decode, visible)
    before = 0
    for number, ((now, step), piece) in enumerate(zip(row.steps, texts, strict=True)):
        extras = {name: value for name in _STEP_FIELDS if (value := getattr(step, name)) is not None}
        if step.positions is not None:
            extras["positions"] = list(step.positions)
        if step.trace is not None:
            extras["trace"] = dict(step.trace)
        times = {"t_s": now / 1e9, "step_s": (now - before) / 1e9}
        content = {"tokens": len(step.token_ids), "token_ids": list(step.token_ids), "text": piece}
        wire.send("step", {"sample": about["index"], "index": number, **times, **content, **extras})
        before = now


def _score_all(job: Job, wire: Wire, backend: Backend, facts: ModelFacts) -> None:
    """Score the last id of every continuation: its log-probability and the likeliest ids at its place."""
    assert job.prepared is not None
    codec = Codec(job.prepared.source.path, backend)
    for index, continuation in enumerate(job.continuations):
        _, prompt_ids = _encode(continuation.prompt, job, codec, facts)
        scores = backend.score([*prompt_ids, *continuation.output_ids], job.top_k)
        content = {"index": index, "logprob": float(scores.logprobs[-1])}
        wire.send("score", content | {"top_logprobs": [float(value) for value in scores.top_logprobs[-1]]})


def _evaluate_all(job: Job, wire: Wire, backend: Backend, facts: ModelFacts) -> None:
    """Score every position of every continuation, one line each; a text is scored without the likeliest ids."""
    assert job.prepared is not None
    codec = Codec(job.prepared.source.path, backend)
    is_small = facts.vocabulary_size <= job.whole_vocabulary_up_to
    top_k = facts.vocabulary_size if job.top_k and is_small else job.top_k
    for index, continuation in enumerate(job.continuations):
        ids, start = _continued(continuation, job, codec, facts)
        if len(ids) > facts.context_length:
            raise ModelError(
                f"sequence {index} has {len(ids)} tokens; the model's context holds {facts.context_length}"
            )
        scores = backend.score(ids, top_k if continuation.text is None else 0)
        content = {
            "index": index,
            "vocabulary_size": facts.vocabulary_size,
            "logprobs": [float(value) for value in scores.logprobs[start:]],
            "is_greedy": [bool(value) for value in scores.is_greedy[start:]],
            "top_ids": [[int(token) for token in row] for row in scores.top_ids[start:]],
            "top_logprobs": [[float(value) for value in row] for row in scores.top_logprobs[start:]],
        }
        wire.send("evaluation", content)


def _serve(job: Job, wire: Wire, backend: Backend, facts: ModelFacts) -> None:
    assert job.prepared is not None
    serve(iter(sys.stdin.readline, ""), wire.send, backend, Codec(job.prepared.source.path, backend), facts)


_ACTIONS = {"measure": _measure_all, "score": _score_all, "evaluate": _evaluate_all, "serve": _serve}


def _continued(continuation: ContinuationJob, job: Job, codec: Codec, facts: ModelFacts) -> tuple[list[int], int]:
    """Return a prompt's ids with those of its continuation, and the index at which the continuation begins."""
    text, prompt_ids = _encode(continuation.prompt, job, codec, facts)
    if continuation.text is None:
        return [*prompt_ids, *continuation.output_ids], len(prompt_ids)
    pair = encode_pair(codec, text or "", continuation.text, is_rendered=job.chat)
    return [*pair.prompt_ids, *pair.continuation_ids], len(pair.prompt_ids)


def reason_of(job: Job, error: Exception) -> str:
    """Word an error as a reason: as it is where it was raised on purpose, with its type and origin otherwise."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (MemoryError, OutOfMemoryError)) or _OUT_OF_MEMORY.search(f"{type(error).__name__} {text}"):
        return f"out of memory: {text}"
    if isinstance(error, (PluginError, ModelError, BackendError, DecodebenchError)):
        return text
    import traceback

    traceback.print_exc()  # to the engine's text file, for whoever mends the backend
    return f"backend {job.backend!r}: {type(error).__name__}: {text}"


def _take_stdout() -> Wire:
    """Keep the real standard output for the parent; send everything else that prints there to standard error."""
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "wb", buffering=2**16)
    os.dup2(2, 1)
    return Wire(pipe)


def _die_with_parent() -> None:
    """Ask Linux to end this process with its parent, so that a killed run leaves no engine behind."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


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
