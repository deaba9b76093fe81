"""A small speculative backend that keeps the contract, and twins of it that each make one mistake."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from dataclasses import replace

from pydantic import ConfigDict, Field

from decodebench import (
    Availability,
    Backend,
    BackendError,
    BackendOptions,
    ModelError,
    ModelFacts,
    Preflight,
    Quantisation,
    RunningServer,
    Step,
    hookimpl,
)


class TwinOptions(BackendOptions):
    draft_length: int = Field(3, ge=1, le=8, description="tokens drafted per cycle")
    weight_of_older: float = Field(0.5, ge=0, description="how much the older of the last two tokens counts")
    seed_offset: int = Field(0, ge=0, description="added to a request's seed")


class Twin(Backend[TwinOptions]):
    name, summary, kind = "twin", "a Markov chain that verifies its own guesses", "speculative"
    supports = frozenset({"score", "score-top-k", "sampling"})
    max_batch_size = 4
    first_step_is_prefill = True
    checks = "twin_checks"
    digits = None

    @classmethod
    def probe(cls):
        return Availability(True, version="2.0")

    @classmethod
    def quantisations(cls):
        return [Quantisation("none", 64.0, "the tables as they are computed")]

    @classmethod
    def preflight(cls, cell):
        return Preflight(inexact=None)

    def load(self, model, device, options):
        from twin_engine import Engine

        if device != "cpu":
            raise BackendError(f"device {device!r} is not there: this engine knows the CPU alone")
        self.options = options
        self.engine = Engine(model.path, options.weight_of_older, self.digits)
        return ModelFacts(parameters=10, weight_bytes=self.engine.nbytes, context_length=2048, vocabulary_size=512)

    def generate(self, batch):
        for row, request in enumerate(batch):
            if not request.prompt_ids:
                raise BackendError("the prompt has no tokens")
            yield from self.row(row, request)

    def row(self, row, request):
        """Continue one request: a step for the prefill, then one per cycle of draft and verification."""
        text = self.begin(request)
        choose = self.chooser(request)
        left = request.max_new_tokens
        drafted = 0
        while left > 0:
            started = time.perf_counter()
            draft = self.draft(text, drafted if request.temperature == 0 else 0)
            draft_s = time.perf_counter() - started
            ids = self.verify(text, draft, choose)
            accepted = min(len(draft), len(ids) - 1)
            ids = self.cut(ids, request, left)
            text += ids
            left -= len(ids)
            yield self.step(row, ids, len(draft), accepted, draft_s)
            if self.is_over(request, ids):
                return
            drafted = self.options.draft_length

    def begin(self, request):
        return list(request.prompt_ids)

    def chooser(self, request):
        from decodebench.core.sdk.sampling import chooser

        return chooser(replace(request, seed=request.seed + self.options.seed_offset))

    def draft(self, text, count):
        found = text[-1:]
        for _ in range(count):
            found.append(self.engine.guess(found[-1]))
        return found[1:]

    def verify(self, text, draft, choose):
        """Return the drafted tokens that the engine would have chosen, and the one that it chooses next."""
        seen = [text[-2] if len(text) > 1 else text[-1], text[-1]]
        found = []
        for guess in [*draft, None]:
            found.append(choose(self.logits(seen[-2], seen[-1])))
            seen.append(found[-1])
            if found[-1] != guess:
                break
        return found

    def logits(self, older, newer):
        return self.engine.logits(older, newer)

    def cut(self, ids, request, left):
        end = next((at + 1 for at, token in enumerate(ids) if request.is_stop(token)), len(ids))
        return ids[: min(end, left)]

    def is_over(self, request, ids):
        return request.is_stop(ids[-1])

    def step(self, row, ids, drafted, accepted, draft_s):
        return Step(ids, row, drafted=drafted, accepted=accepted, forwards=1, draft_s=draft_s)

    def score(self, tokens, top_k=0):
        import numpy as np

        from decodebench.core.sdk.scoring import score_rows

        pairs = zip([tokens[0], *tokens], tokens[:-1], strict=False)
        rows = np.array([self.engine.logits(older, newer) for older, newer in pairs])
        return score_rows(tokens, iter([rows]), top_k)

    def close(self):
        del self.engine


class Reference(Twin):
    name, kind, summary = "twin-reference", "autoregressive", "the same chain, a token per step; nothing optional"
    supports = frozenset()
    max_batch_size = 1
    Options = BackendOptions

    @classmethod
    def preflight(cls, cell):
        return super(Twin, cls).preflight(cell)

    def load(self, model, device, options):
        return super().load(model, device, TwinOptions())

    def draft(self, text, count):
        return []

    def step(self, row, ids, drafted, accepted, draft_s):
        return Step(ids, row)


class SlowProbe(Twin):
    name = "twin-slow-probe"

    @classmethod
    def probe(cls):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return super().probe()


class ImportingProbe(Twin):
    name = "twin-importing-probe"

    @classmethod
    def probe(cls):
        import twin_engine  # noqa: F401 - the mistake

        return super().probe()


class NoVersion(Twin):
    name = "twin-no-version"

    @classmethod
    def probe(cls):
        return Availability(True)


class NoFix(Twin):
    name = "twin-no-fix"

    @classmethod
    def probe(cls):
        return Availability(False, reason="the engine is not installed")


class Unloadable(Twin):
    name = "twin-unloadable"

    def load(self, model, device, options):
        raise BackendError("the engine's library is missing")


class OpenOptions(TwinOptions):
    model_config = ConfigDict(extra="ignore", frozen=False)


class TakesAnything(Twin):
    name = "twin-takes-anything"
    Options = OpenOptions


class UndescribedOptions(TwinOptions):
    draft_length: int = 3


class Undescribed(Twin):
    name = "twin-undescribed"
    Options = UndescribedOptions


class UnusedOptions(TwinOptions):
    n_threads: int = Field(1, ge=1, description="CPU threads")


class UnusedOption(Twin):
    name = "twin-unused-option"
    Options = UnusedOptions


class DraftsTooMuch(Twin):
    """Breaks a rule of the author's own."""

    name = "twin-drafts-too-much"

    def draft(self, text, count):
        return super().draft(text, count + 1 if count else 0)


class Racing(Twin):
    name = "twin-racing"

    def logits(self, older, newer):
        import numpy as np

        return np.random.default_rng(os.getpid()).normal(super().logits(older, newer), 2.0)


class Remembering(Twin):
    """Keeps what it has seen of the first prompt for the next time that it comes."""

    name = "twin-remembering"

    def begin(self, request):
        self.seen = getattr(self, "seen", {})
        text = super().begin(request)
        known = self.seen.get(request.prompt_ids, 0) if request.stop_token_ids else 0
        self.seen[request.prompt_ids] = known + 1
        return text + [17] * known


class RunsOver(Twin):
    """Always commits the whole first step, however small the limit."""

    name = "twin-runs-over"

    def verify(self, text, draft, choose):
        found = super().verify(text, draft, choose)
        return found + super().verify(text + found, [], choose) if self.is_tight else found

    def row(self, row, request):
        self.is_tight = request.max_new_tokens == 1
        return super().row(row, request)

    def cut(self, ids, request, left):
        return ids if self.is_tight else super().cut(ids, request, left)


class MissesStops(Twin):
    """Looks at the last token of a step alone."""

    name = "twin-misses-stops"

    def cut(self, ids, request, left):
        return ids[:left]


class NeverCloses(Twin):
    """Flushes what it still has when it is closed."""

    name = "twin-never-closes"

    def row(self, row, request):
        left = 0
        try:
            for step in super().row(row, request):
                left = request.max_new_tokens
                yield step
            left = 0
        finally:
            if left:
                yield Step((0,), row)


class ReusesItsList(Twin):
    """Yields one list again and again."""

    name = "twin-reuses-its-list"

    def begin(self, request):
        self.buffer = []
        return super().begin(request)

    def step(self, row, ids, drafted, accepted, draft_s):
        self.buffer[:] = ids
        return super().step(row, self.buffer, drafted, accepted, draft_s)


class OwnInteger(int):
    """An id of an engine's own."""


class StrangeIds(Twin):
    name = "twin-strange-ids"

    def step(self, row, ids, drafted, accepted, draft_s):
        return super().step(row, [OwnInteger(token) for token in ids], drafted, accepted, draft_s)


class CountsTheBonus(Twin):
    name = "twin-counts-the-bonus"

    def step(self, row, ids, drafted, accepted, draft_s):
        return super().step(row, ids, drafted, min(drafted, accepted + 1), draft_s)


class NoForwards(Twin):
    name = "twin-no-forwards"

    def step(self, row, ids, drafted, accepted, draft_s):
        return Step(ids, row, drafted=drafted, accepted=accepted, forwards=0)


class Milliseconds(Twin):
    name = "twin-milliseconds"

    def step(self, row, ids, drafted, accepted, draft_s):
        return super().step(row, ids, drafted, accepted, 1e3 * (draft_s + 1e-4))


class Burst(Twin):
    """Computes all before it yields the first step."""

    name = "twin-burst"

    def row(self, row, request):
        begin = time.perf_counter()
        while time.perf_counter() < begin + 0.03:
            steps = list(super().row(row, request))
        yield from steps


class DirtyAfterClosing(Twin):
    """Clears its cache at the end of a generation, which a closed one never reaches."""

    name = "twin-dirty-after-closing"

    def begin(self, request):
        return getattr(self, "left_over", []) + super().begin(request)

    def row(self, row, request):
        self.left_over, clean = [], getattr(self, "left_over", [])
        text = replace(request, prompt_ids=(*request.prompt_ids, *clean))
        for step in super().row(row, text):
            self.left_over = [step.token_ids[-1]]
            yield step
        self.left_over = []


class CrashesWhenClosed(Twin):
    name = "twin-crashes-when-closed"

    def row(self, row, request):
        try:
            yield from super().row(row, request)
        except GeneratorExit:
            ctypes.string_at(0)


class HangsWhenClosed(Twin):
    name = "twin-hangs-when-closed"

    def row(self, row, request):
        try:
            yield from super().row(row, request)
        except GeneratorExit:
            threading.Event().wait()


class Unseeded(Twin):
    name = "twin-unseeded"

    def chooser(self, request):
        return super().chooser(replace(request, seed=0))


class MixesRows(Twin):
    """Lets a row of a batch begin where the one before it has ended."""

    name = "twin-mixes-rows"

    def begin(self, request):
        text = super().begin(request)
        return text + self.tail[-1:]

    def generate(self, batch):
        self.tail = []
        for step in super().generate(batch):
            self.tail = list(step.token_ids) if len(batch) > 1 else []
            yield step


class Deep(Twin):
    """Takes part of a prompt before the clock starts, and forgets it where its twin below does."""

    name = "twin-deep"
    supports = frozenset({*Twin.supports, "depth"})

    def generate(self, batch):
        if batch[0].depth:
            yield Step((), is_depth=True)
        yield from super().generate([self.behind(request) for request in batch])

    def behind(self, request):
        return request


class Streaming(Deep):
    """Takes requests as they come, in rows that join and leave."""

    name = "twin-streaming"
    supports = frozenset({*Deep.supports, "continuous"})

    def stream(self, source, max_in_flight):
        rows = {}
        while rows or not source.ended:
            if not rows:
                source.wait()
            while self.has_room(rows, max_in_flight) and (request := source.poll()) is not None:
                rows[request.row] = self.row(request.row, self.admitted(request))
            for row in list(rows):
                step = next(rows[row], None) if self.is_wanted(source, row) else None
                if step is None:
                    del rows[row]
                else:
                    self.last = step
                    yield step

    def has_room(self, rows, max_in_flight):
        return len(rows) < max_in_flight

    def admitted(self, request):
        return request

    def is_wanted(self, source, row):
        return source.wants(row)


class ForgetsItsDepth(Deep):
    """Goes on without the context."""

    name = "twin-forgets-its-depth"

    def behind(self, request):
        return replace(request, prompt_ids=request.prompt_ids[request.depth :])


class MarksNoDepth(Deep):
    """Takes the context with the rest, in time."""

    name = "twin-marks-no-depth"

    def generate(self, batch):
        return Twin.generate(self, batch)


class MixesStreams(Streaming):
    """Lets a request begin where another one is."""

    name = "twin-mixes-streams"

    def admitted(self, request):
        before = getattr(self, "last", None)
        return request if before is None else replace(request, prompt_ids=(*request.prompt_ids, *before.token_ids))


class WaitsForAll(Streaming):
    """Begins with the next requests only when all before them have ended."""

    name = "twin-waits-for-all"

    def has_room(self, rows, max_in_flight):
        self.is_filling = not rows or (len(rows) < max_in_flight and getattr(self, "is_filling", False))
        return self.is_filling

    def is_wanted(self, source, row):
        self.is_filling = False
        return super().is_wanted(source, row)


class NeverAsks(Streaming):
    """Goes on with what nobody wants."""

    name = "twin-never-asks"

    def is_wanted(self, source, row):
        return True


class NamesAServer(Twin):
    """Says that it runs in process, and names a server."""

    name = "twin-names-a-server"

    def load(self, model, device, options):
        self.server = RunningServer("http://127.0.0.1:9")
        return super().load(model, device, options)


class Served(Streaming):
    """The engine in a server of its own."""

    name = "twin-served"
    residence = "owned-server"
    process = None

    def start_server(self, model, device, options):
        import twin_server

        if device != "cpu":
            raise BackendError(f"device {device!r} is not there: this engine knows the CPU alone")
        try:
            self.process, port = twin_server.start(model.path, options.weight_of_older)
        except RuntimeError as error:
            raise ModelError(f"{model.path}: the server has ended: {error}") from error
        return RunningServer(f"127.0.0.1:{port}", self.process.pid, ("twin_server.py", str(model.path)), "2.0")

    def load(self, model, device, options):
        import twin_server

        self.options = options
        self.engine = twin_server.Connection(int(self.server.url.partition(":")[2]))
        return ModelFacts(parameters=None, weight_bytes=None, context_length=2048, vocabulary_size=512)

    def close(self):
        import twin_server

        if hasattr(self, "engine"):
            self.engine.close()
        if self.process is not None:
            twin_server.end(self.process)


class LeavesItsServer(Served):
    name = "twin-leaves-its-server"

    def close(self):
        self.engine.close()


class RemoteOptions(BackendOptions):
    draft_length: int = Field(3, ge=1, le=8, description="tokens drafted per cycle")
    seed_offset: int = Field(0, ge=0, description="added to a request's seed")
    port: int = Field(1, ge=1, description="of the server")


class Remote(Served):
    """The engine in a server that somebody else runs."""

    name = "twin-remote"
    residence = "remote"
    Options = RemoteOptions

    @classmethod
    def quantisations(cls):
        return [Quantisation("unknown", None, "what the server has")]

    def load(self, model, device, options):
        self.server = RunningServer(f"127.0.0.1:{options.port}")
        return super().load(model, device, options)


_KEPT = []


class Leaks(Twin):
    name = "twin-leaks"

    def close(self):
        _KEPT.append(self.engine)


class NeverDrops(Twin):
    """Leaves it to the garbage collector."""

    name = "twin-never-drops"

    def close(self):
        pass


class Undeclared(Twin):
    """Lets the engine's own errors through."""

    name = "twin-undeclared-error"

    def load(self, model, device, options):
        try:
            return super().load(model, device, options)
        except ModelError as error:
            raise KeyError("model.embed_tokens.weight") from error


class Unspecific(Twin):
    name = "twin-unspecific-error"

    def load(self, model, device, options):
        try:
            return super().load(model, device, options)
        except BackendError as error:
            raise BackendError("the engine could not be started") from error


class ShiftedScores(Twin):
    """Scores every token by the logits behind it."""

    name = "twin-shifted-scores"

    def score(self, tokens, top_k=0):
        return super().score([tokens[0], *tokens[:-1]], top_k)


class Rounds(Twin):
    """Claims exactness for weights that it rounds."""

    name = "twin-rounds"
    digits = 0


@hookimpl
def decodebench_backends():
    mine = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, Twin)]
    return sorted(set(mine), key=lambda kind: kind.name)
