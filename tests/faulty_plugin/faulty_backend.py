"""A backend without an engine that misbehaves on request; found by entry point when this folder is on PYTHONPATH."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

from pydantic import Field

from decodebench import (
    Availability,
    Backend,
    BackendError,
    BackendOptions,
    ModelError,
    ModelFacts,
    PreparedModel,
    Quantisation,
    Request,
    Score,
    Step,
    Task,
    TaskSample,
    UsageError,
    hookimpl,
)
from decodebench.core.sdk.cores import default_threads

Fault = Literal[
    "none",
    "segfault",
    "hang",
    "allocate",
    "raise-load",
    "raise-generate",
    "too-many",
    "too-few",
    "after-stop",
    "prepare",
]


class FaultyOptions(BackendOptions):
    fault: Fault = Field("none", description="what goes wrong, from the second sample on")
    step_s: float = Field(0.0, ge=0, le=60, description="time every step computes for")


class Faulty(Backend):
    name, summary, kind = "faulty", "counts upwards from the prompt's last id, or misbehaves", "autoregressive"
    supports = frozenset({"sampling"})
    max_batch_size = 4
    first_step_is_prefill = True
    Options = FaultyOptions

    @classmethod
    def probe(cls) -> Availability:
        return Availability(True, version="0.1")

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        return [Quantisation("f32", 32.0, "nothing")]

    @classmethod
    def prepare(cls, model, quantisation, device, options, cache) -> PreparedModel:
        if options.fault in ("prepare", os.environ.get("FAULTY_UNPREPARED")):
            raise ModelError(f"{model.path}: tensor 'x' has no shape")
        return super().prepare(model, quantisation, device, options, cache)

    def load(self, model: PreparedModel, device: str, options: FaultyOptions) -> ModelFacts:
        self.options, self.calls = options, 0
        if options.fault == "raise-load":
            raise BackendError("the engine does not like this model")
        threads = default_threads()
        return ModelFacts(parameters=10, weight_bytes=40, context_length=4096, vocabulary_size=400, n_threads=threads)

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        self.calls += 1
        if self.calls > 1:
            self._misbehave()
        for row, request in enumerate(batch):
            yield from self._count_up(row, request)

    def _misbehave(self) -> None:
        match self.options.fault:
            case "segfault":
                print("about to touch memory that is not ours", file=sys.stderr, flush=True)
                ctypes.string_at(0)
            case "hang":
                threading.Event().wait()
            case "allocate":
                self.hoard = [bytearray(64 * 2**20) for _ in range(1000)]
            case "raise-generate":
                raise ValueError("a bug in the backend")

    def _count_up(self, row: int, request: Request) -> Iterator[Step]:
        limit = request.max_new_tokens
        fault = self.options.fault if self.calls > 1 else "none"
        count = {"too-many": limit + 1, "too-few": limit - 1}.get(fault, limit)
        for index in range(count):
            _wait_at_the_gate()
            _compute(self.options.step_s)
            token = 20 + (request.prompt_ids[-1] + index) % 300
            if fault == "after-stop" and index == 1:
                token = request.stop_token_ids[0]
            yield Step((token,), row=row, forwards=1)


def _wait_at_the_gate() -> None:
    """Wait until the test lets this step through, where it has put a gate (``tests/waiting.py``)."""
    if gate := os.environ.get("FAULTY_GATE"):
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):  # it is open
            connection.connect(gate)
            connection.recv(1)


def _compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class NoProblems(Task):
    name, version, summary = "no-problems", "1", "a task without a single problem"

    def samples(self, n, seed):
        yield from ()

    def score(self, sample, text):
        raise AssertionError("there is nothing to score")


class OwnSettings(Task):
    name, version, summary = "own-settings", "1", "numbers to go on with, with a stop string and a limit of its own"
    stop, max_new_tokens = ("\n", "!"), 7

    def samples(self, n, seed):
        yield from (TaskSample(f"own/{at}", f"{at} and {seed}", str(at)) for at in range(n))

    def score(self, sample, text):
        return Score(float(len(text) % 2), text[:1])


class RunsCode(OwnSettings):
    name, summary, executes_code = "runs-code", "the same, as if scoring ran the answers", True


class Unscorable(OwnSettings):
    name, summary = "unscorable", "the same, on a machine that lacks something"

    def check(self):
        raise UsageError("task 'unscorable' needs a scorer that nobody has")


@hookimpl
def decodebench_backends():
    return [Faulty]


@hookimpl
def decodebench_tasks():
    return [NoProblems, OwnSettings, RunsCode, Unscorable]
