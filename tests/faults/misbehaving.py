"""A backend that misbehaves in about a hundred ways, one each by its option ``fault``; loaded with ``--plugin``.

``FAULTS`` says at which point each does what. Those in ``HARMLESS`` leave every figure as it should be: their rounds
are to be measured. All others are to be the failure of their round, and of nothing else.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

from decodebench import (
    Availability,
    Backend,
    BackendOptions,
    EngineCounters,
    ModelFacts,
    Quantisation,
    Step,
    hookimpl,
)

decodebench_api = ">=3,<4"

NAN, INF = math.nan, math.inf
SURROGATE = "\ud800"
HANG_S = 600.0


def sends(data: bytes) -> Callable[[], None]:
    """Write to the pipe that leads to decodebench, as a library that prints to the wrong descriptor does."""

    def send() -> None:
        for descriptor in range(3, 64):
            try:
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, data)
            except OSError:
                pass

    return send


def raises(error: BaseException) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw


def dies_of(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def prints(descriptor: int, size: int) -> Callable[[], None]:
    return lambda: [os.write(descriptor, b"x" * 2**16) for _ in range(size // 2**16)] and None


def closes(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass

    return close


def recurses() -> None:
    recurses()


def forks(child: Callable[[], object], parent: Callable[[], object] = bool) -> Callable[[], None]:
    def fork() -> None:
        if os.fork() == 0:
            child()
            os._exit(0)
        parent()

    return fork


def daemon() -> None:
    """Leave session and process group, twice over, and hold every pipe."""
    os.setsid()
    if os.fork() == 0:
        time.sleep(HANG_S)


def crash_soon() -> None:
    time.sleep(0.1)
    os._exit(3)


def crashes() -> None:
    ctypes.string_at(0)


def waits() -> None:
    time.sleep(HANG_S)


def spins() -> None:
    for _ in range(2):
        threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=False).start()


def ignores_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def signals_its_group() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def loses_its_folder() -> None:
    folder = f"gone-{os.getpid()}"
    os.mkdir(folder)
    os.chdir(folder)
    os.rmdir(f"../{folder}")


def loses_its_environment() -> None:
    os.environ.clear()
    os.environ["TMPDIR"] = "/nonexistent"


def breaks_json() -> None:
    json.dumps = lambda *_, **__: "{}"


def breaks_the_clock() -> None:
    time.perf_counter = lambda: 0.0


LOADS: dict[str, Callable[[], object]] = {
    "none": bool,
    "hang-load": waits,
    "exit-load": lambda: os._exit(0),
    "exit-255-load": lambda: os._exit(255),
    "interrupt-load": raises(KeyboardInterrupt()),
    "system-exit-load": raises(SystemExit(0)),
    "raise-surrogate-load": raises(ValueError(SURROGATE)),
    "raise-nothing-load": raises(ValueError()),
    "recursion-load": recurses,
    "print-stdout": prints(1, 2**24),
    "print-stderr": prints(2, 2**24),
    "junk-text": sends(b"loading weights: 100 %\n"),
    "junk-number": sends(b"123\n"),
    "junk-list": sends(b"[1]\n"),
    "junk-object": sends(b'{"a": 1}\n'),
    "junk-type-number": sends(b'{"type": 7}\n'),
    "junk-bytes": sends(b"\xff\xfe\x00\n"),
    "junk-without-end": sends(b"xxxx"),
    "junk-empty-line": sends(b"\n"),
    "junk-deep": sends(b"[" * 50_000 + b"\n"),
    "junk-long-number": sends(b'{"type": "load", "load_s": ' + b"1" * 10_000 + b"}\n"),
    "forged-end": sends(b'{"type": "end", "status": "ok"}\n'),
    "forged-score": sends(b'{"type": "score", "index": 0, "score": 1.0}\n'),
    "forged-sample": sends(b'{"type": "sample", "index": 0}\n'),
    "forged-whole-sample": sends(
        b'{"type": "sample", "index": 0, "sample_id": "x", "output_tokens": 1, "text": "", "duration_s": 1.0}\n'
    ),
    "forged-step": sends(b'{"type": "step", "sample": 0, "index": 0, "tokens": 1}\n'),
    "forged-finish": sends(b'{"type": "finish", "status": "ok", "reason": null, "peak_rss_bytes": 1}\n'),
    "forged-finish-status": sends(b'{"type": "finish", "status": "skipped", "reason": null, "peak_rss_bytes": 1}\n'),
    "forged-finish-bare": sends(b'{"type": "finish"}\n'),
    "forged-load-nan": sends(b'{"type": "load", "load_s": NaN}\n'),
    "forged-load-unknown": sends(b'{"type": "load", "speed": 1}\n'),
    "close-input": closes(0),
    "close-all": closes(*range(64)),
    "close-pipe-and-hang": lambda: (closes(*range(64))(), waits()),
    "real-time-signal": dies_of(signal.SIGRTMIN + 6),
    "sigterm": dies_of(signal.SIGTERM),
    "sigkill": dies_of(signal.SIGKILL),
    "sigsegv": dies_of(signal.SIGSEGV),
    "sigstop": dies_of(signal.SIGSTOP),
    "group-sigterm": signals_its_group,
    "group-sigkill": lambda: os.killpg(0, signal.SIGKILL),
    "lose-folder": loses_its_folder,
    "lose-environment": loses_its_environment,
    "break-json": breaks_json,
    "break-clock": breaks_the_clock,
    "spin": spins,
    "ignore-signals": ignores_signals,
    "fork-and-wait": forks(waits),
    "fork-and-crash": forks(waits, crash_soon),
    "fork-and-go-on": lambda: os.fork() and None,
    "fork-daemon": forks(daemon),
    "fork-daemon-and-crash": forks(daemon, crash_soon),
}
FACTS: dict[str, dict[str, Any]] = {
    "facts-nan": {"parameters": NAN, "weight_bytes": INF},
    "facts-negative": {"parameters": -1},
    "facts-text": {"weight_bytes": "many"},
    "facts-number-as-text": {"kv_bytes_per_token": "12"},
    "facts-huge": {"parameters": 10**30},
    "facts-no-context": {"context_length": 0},
    "facts-settings-number": {"settings": {"threads": 4}},
    "facts-settings-surrogate": {"settings": {"a": SURROGATE}},
    "facts-settings-nul": {"settings": {"a": "x\x00y\x1b[31m"}},
}
COUNTERS: dict[str, Any] = {
    "counter-nan": EngineCounters(own={"x": NAN}),
    "counter-inf": EngineCounters(own={"x": -INF}),
    "counter-text": EngineCounters(own={"x": "fast"}),
    "counter-number-as-text": EngineCounters(own={"x": "12"}),
    "counter-bool": EngineCounters(own={"x": True}),
    "counter-object": EngineCounters(own={"x": object()}),
    "counter-huge": EngineCounters(own={"x": 10**400}),
    "counter-peak-text": EngineCounters("much"),
    "counter-peak-negative": EngineCounters(-5),
    "counter-peak-huge": EngineCounters(1e300),
    "counters-none": None,
    "counters-mapping": {"x": 1.0},
}
LOGS: dict[str, Any] = {
    "log-surrogate": SURROGATE,
    "log-number": 5,
    "log-bytes": b"\xff",
    "log-escapes": "\x1b]0;title\x07\x1b[2J",
    "log-large": "q" * 2**25,
}
STEPS: dict[str, dict[str, Any]] = {
    "step-nan": {"draft_s": NAN},
    "step-inf": {"verify_s": INF},
    "step-negative": {"engine_s": -1.0},
    "step-count-nan": {"drafted": NAN},
    "step-count-negative": {"drafted": -3},
    "step-count-text": {"drafted": "three"},
    "step-count-as-text": {"drafted": "3"},
    "step-count-fraction": {"candidates": 1.5},
    "step-count-bool": {"drafted": True},
    "step-count-huge": {"bytes_read": 10**30},
    "step-more-accepted-than-drafted": {"drafted": 1, "accepted": 5},
    "trace-nan": {"trace": {"a": [1, NAN]}},
    "trace-object": {"trace": {"a": object()}},
    "trace-surrogate": {"trace": {"a": SURROGATE}},
    "trace-nul": {"trace": {"a\x00": "b\x00"}},
    "trace-deep": {"trace": {"a": json.loads("[" * 300 + "]" * 300)}},
    "trace-large": {"trace": {"a": "x" * 2**25}},
    "trace-key": {"trace": {1: 2}},
    "trace-huge-number": {"trace": {"a": 10**100}},
    "trace-list": {"trace": ["a"]},
}
GENERATES: dict[str, Callable[[], object]] = {
    "hang-generate": waits,
    "exit-generate": lambda: os._exit(0),
    "interrupt-generate": raises(KeyboardInterrupt()),
    "system-exit-generate": raises(SystemExit(1)),
    "generator-exit-generate": raises(GeneratorExit()),
    "stop-iteration-generate": raises(StopIteration()),
    "recursion-generate": recurses,
    "crash-generate": crashes,
}
FIRST_STEPS: dict[str, Any] = {
    "yield-none": None,
    "yield-number": 7,
    "yield-nothing-for-ever": ...,
    "token-huge": Step([10**30]),
    "token-negative": Step([-1]),
    "token-fraction": Step([1.5]),
    "token-text": Step(["x"]),
    "row-beyond": Step([1], row=7),
    "row-negative": Step([1], row=-1),
}
CLOSES: dict[str, Callable[[], object]] = {
    "hang-close": waits,
    "raise-close": raises(ValueError("close failed")),
    "exit-close": lambda: os._exit(7),
    "interrupt-close": raises(KeyboardInterrupt()),
    "crash-close": crashes,
}
FAULTS = [name for stage in (LOADS, FACTS, COUNTERS, LOGS, STEPS, GENERATES, FIRST_STEPS, CLOSES) for name in stage]
HARMLESS = {
    *("none", "print-stdout", "print-stderr", "lose-folder", "lose-environment", "spin", "ignore-signals"),
    *("group-sigterm", "fork-and-wait", "fork-daemon", "facts-settings-nul", "log-escapes", "log-large"),
    *("trace-nul", "trace-huge-number", "trace-key"),
}
SLOW = {name for name in FAULTS if "hang" in name} | {"sigstop", "yield-nothing-for-ever"}  # end at the time-out


class Options(BackendOptions):
    fault: str = "none"


class Misbehaving(Backend):
    name, summary, kind = "misbehaving", "misbehaves", "autoregressive"
    first_step_is_prefill = True
    Options = Options

    @classmethod
    def probe(cls):
        return Availability(True, version="1")

    @classmethod
    def quantisations(cls):
        return [Quantisation("f32", 32.0, "no weights")]

    def load(self, model, device, options):
        self.fault = options.fault
        LOADS.get(self.fault, bool)()
        facts = {"parameters": 1, "weight_bytes": 4, "context_length": 2048, "vocabulary_size": 512}
        return ModelFacts(**facts | FACTS.get(self.fault, {}))

    def counters(self):
        return COUNTERS.get(self.fault, EngineCounters())

    def classic_log(self, batch):
        return LOGS.get(self.fault, "")

    def generate(self, batch):
        GENERATES.get(self.fault, bool)()
        while self.fault == "yield-nothing-for-ever":
            yield Step([], forwards=1)
        if self.fault in FIRST_STEPS:
            yield FIRST_STEPS[self.fault]
        for row, request in enumerate(batch):
            for index in range(request.max_new_tokens):
                step = Step([20 + index], row=row, forwards=1)
                for name, value in STEPS.get(self.fault, {}).items():
                    setattr(step, name, value)
                yield step

    def close(self):
        CLOSES.get(self.fault, bool)()


@hookimpl
def decodebench_backends():
    return [Misbehaving]
