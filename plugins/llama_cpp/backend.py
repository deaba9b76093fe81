"""The backend: one model, one context, one request at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from ... import BackendError, ModelCache, UsageError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import AllDue, check_prompts
from ...core.sdk.gguf.formats import QUANTISATIONS
from ...core.sdk.gguf.preparation import check_gguf
from ...core.sdk.scoring import SCORED_AT_ONCE, score_behind, score_whole
from .counters import count
from .options import LlamaCppOptions
from .sampling import new_chain

if TYPE_CHECKING:
    import numpy as np

    from .parallel import ParallelSequences
    from .vocabulary import Vocabulary

_FIX = 'pip install "decodebench[llama-cpp]"  # builds from source: needs a C/C++ compiler and cmake, about 5 minutes'
_FIRST_N_CTX = 2048
_ROUNDED = ("gemma3", "gemma2", "gemma")


class LlamaCppBackend(Backend[LlamaCppOptions]):
    """llama.cpp: prefill in batches, then one token per forward pass."""

    name: ClassVar[str] = "llama-cpp"
    summary: ClassVar[str] = "llama.cpp on CPU and GPU; quantises Hugging Face checkpoints to GGUF itself"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset(
        {"score", "score-top-k", "sampling", "tokenizer", "continuous", "depth"}
    )
    max_batch_size: ClassVar[int] = 64
    first_step_is_prefill: ClassVar[bool] = True
    threads_option: ClassVar[str | None] = "n_threads"
    requires: ClassVar[Requires | None] = Requires(("llama-cpp-python", "gguf"), fix=_FIX)
    colour: ClassVar[str | None] = "#D55E00"
    marker: ClassVar[str | None] = "s"

    _model: Any = None
    _context: Any = None
    _parallel: ParallelSequences | None = None

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """List the weight formats."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the GPUs that the installed build drives, and the CPU."""
        from .devices import list_devices

        return list_devices()

    @classmethod
    def preflight(cls, cell: PlannedCell[LlamaCppOptions]) -> Preflight:
        """Refuse what cannot be converted; claim exactness where neither weights nor what is computed are rounded."""
        arch = check_gguf(cell.model, cell.quantisation)
        inexact = _why_inexact(cell.quantisation, cell.options)
        if inexact is None and arch in _ROUNDED:
            inexact = "llama.cpp takes GELU from a table of 16-bit floats"
        return Preflight(inexact=inexact)

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: LlamaCppOptions, cache: ModelCache
    ) -> PreparedModel:
        """Convert and quantise to GGUF, and find out whether this machine bears repacked weights."""
        from ...core.sdk.gguf.preparation import prepare_gguf
        from .extra_buffers import use_extra_buffers

        prepared = prepare_gguf(model, quantisation, cache)
        use_extra_buffers(options.extra_buffers, cache.root)
        return prepared

    def load(self, model: PreparedModel, device: str, options: LlamaCppOptions) -> ModelFacts:
        """Load the GGUF file and make a context."""
        import llama_cpp

        from ...core.sdk.cores import default_threads
        from .decode_bytes import kv_bytes_per_token, read_weight_bytes
        from .devices import check_layers
        from .engine import load_model
        from .extra_buffers import use_extra_buffers

        check_layers(device, options.n_gpu_layers)
        extra_buffers = use_extra_buffers(options.extra_buffers, ModelCache().root)
        self._options, self._device = options, device
        self._n_threads = options.n_threads or default_threads()
        self._model = load_model(model.path, device, options, extra_buffers)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._trained_ctx = llama_cpp.llama_model_n_ctx_train(self._model)
        self._bind()
        self._make_context(self._first_n_ctx())
        return ModelFacts(
            parameters=llama_cpp.llama_model_n_params(self._model),
            weight_bytes=llama_cpp.llama_model_size(self._model),
            context_length=options.n_ctx or self._trained_ctx,
            vocabulary_size=self._n_vocab,
            n_threads=self._n_threads,
            settings={
                "extra_buffers": "on" if extra_buffers else "off",
                # one that nobody asked for grows with the requests; engine_n_ctx of each sample has it
                **({"n_ctx": str(self._n_ctx)} if options.n_ctx else {}),
                "flash_attention": self._flash_attention,
            },
            read_weight_bytes=read_weight_bytes(model.path),
            kv_bytes_per_token=kv_bytes_per_token(self._model, options.kv_cache_type),
        )

    def _first_n_ctx(self) -> int:
        asked = self._options.n_ctx
        if asked is None:
            return min(_FIRST_N_CTX, int(self._trained_ctx))
        if asked > self._trained_ctx:
            words = f"option n_ctx={asked} exceeds the model's context length of {self._trained_ctx}"
            raise UsageError(words, code="context-exceeded")
        return asked

    def _bind(self) -> None:
        """Look up once what is called for every token; pointers travel as plain integers."""
        import llama_cpp.llama_cpp as api

        pointer, number = ctypes.c_void_p, ctypes.c_int32
        library = api._lib
        self._decode = ctypes.CFUNCTYPE(number, pointer, api.llama_batch)(("llama_decode", library))
        self._logits = ctypes.CFUNCTYPE(pointer, pointer, number)(("llama_get_logits_ith", library))
        self._sample = ctypes.CFUNCTYPE(number, pointer, pointer, number)(("llama_sampler_sample", library))

    def _make_context(self, n_ctx: int) -> None:
        import llama_cpp

        from .engine import new_context

        if self._context is not None:
            llama_cpp.llama_free(self._context)
            self._context = None
        self._context, self._flash_attention = new_context(
            self._model, n_ctx, self._device, self._options, self._n_threads
        )
        self._n_ctx = n_ctx
        self._memory = llama_cpp.llama_get_memory(self._context)

    def _start(self, n_positions: int) -> None:
        """Empty the KV cache, after making it large enough."""
        import llama_cpp

        if n_positions > self._n_ctx:
            limit = self._options.n_ctx or self._trained_ctx
            if n_positions > limit:
                words = f"prompt and new tokens need {n_positions} positions; the context has {limit}"
                raise BackendError(words, code="context-exceeded")
            self._make_context(min(limit, 1 << (n_positions - 1).bit_length()))
        llama_cpp.llama_memory_clear(self._memory, False)

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Prefill, then one token per step; several requests share each step."""
        check_prompts(batch)
        return self._continue(batch[0]) if len(batch) == 1 else self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, in a context of their own that rows join and leave."""
        if self._parallel is None:
            from .engine import new_context
            from .parallel import ParallelSequences

            def make(positions: int, sequences: int) -> Any:  # noqa: ANN401 - a C pointer
                about = (self._device, self._options, self._n_threads)
                return new_context(self._model, positions * sequences, *about, sequences)[0]

            most = self._options.n_ctx or self._trained_ctx
            self._parallel = ParallelSequences(make, self._n_vocab, self._options.n_batch, most)
        return self._parallel.answer(source, max_in_flight)

    def _evaluate(self, prompt: Sequence[int]) -> int:
        """Evaluate tokens behind those that are there; only the last one's logits are computed.

        Returns:
            The number of calls.
        """
        import llama_cpp

        ids = (llama_cpp.llama_token * len(prompt))(*prompt)
        step = self._options.n_batch
        starts = range(0, len(prompt), step)
        for start in starts:
            count = min(step, len(prompt) - start)
            part = (llama_cpp.llama_token * count).from_buffer(ids, start * ctypes.sizeof(llama_cpp.llama_token))
            _check(self._decode(self._context, llama_cpp.llama_batch_get_one(part, count)))
        return len(starts)

    def _continue(self, request: Request) -> Iterator[Step]:
        import llama_cpp

        self._start(len(request.prompt_ids) + request.max_new_tokens - 1)  # the last token is never evaluated
        if request.depth:
            self._evaluate(request.prompt_ids[: request.depth])
            llama_cpp.llama_synchronize(self._context)
            llama_cpp.llama_perf_context_reset(self._context)  # the engine's figures are those of the rest
            yield Step((), is_depth=True)
        forwards = self._evaluate(request.prompt_ids[request.depth :])
        chain = new_chain(request) if request.temperature else None
        pick = self._greedy_picker() if chain is None else partial(self._sample, chain, self._context, -1)
        decode, context = self._decode, self._context
        one = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(one, 1)
        stops = frozenset() if request.ignore_eos else frozenset(request.stop_token_ids)
        left = request.max_new_tokens
        try:
            while True:
                token = pick()
                yield Step((token,), forwards=forwards)
                forwards = 1
                left -= 1
                if left <= 0 or token in stops:
                    return
                one[0] = token
                if status := decode(context, batch):
                    _check(status)
        finally:
            if chain is not None:
                llama_cpp.llama_sampler_free(chain)

    def _greedy_picker(self) -> Callable[[], int]:
        """Return a function for the id of the largest logit, the smallest id on a tie.

        numpy's argmax is vectorised; the engine's greedy sampler first copies the row into an array of structs.
        """
        logits_at, context = self._logits, self._context
        address = logits_at(context, -1)
        row = self._rows(address, 1)[0]

        def pick() -> int:
            nonlocal address, row
            now = logits_at(context, -1)  # waits for the device
            if now != address:  # the engine has moved its buffer
                address, row = now, self._rows(now, 1)[0]
            return int(row.argmax())

        return pick

    def _rows(self, address: int, count: int) -> np.ndarray:
        """View the engine's logits, [count, V] float32."""
        import numpy as np

        return np.ctypeslib.as_array((ctypes.c_float * (count * self._n_vocab)).from_address(address)).reshape(
            count, self._n_vocab
        )

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence in one pass over it."""
        return score_whole(self, tokens, top_k)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once where its cache can be cut back."""
        return score_behind(self, prompt_ids, continuations, top_k)

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> np.ndarray:
        """Evaluate a prompt whose continuations are to be scored; return the logits behind its last id, [1, V]."""
        self._prompt = prompt_ids
        self._start(positions)
        self._evaluate(prompt_ids)
        return self._rows(self._logits(self._context, -1), 1).copy()

    def behind(self, ids: Sequence[int]) -> Iterator[np.ndarray]:
        """Evaluate ids behind the prompt; yield the logits behind each, [n, V] in the engine's own memory."""
        import llama_cpp

        at = len(self._prompt)
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, at, -1):  # a recurrent state has no earlier end
            self._start(at + len(ids))
            self._evaluate(self._prompt)
        size = min(SCORED_AT_ONCE, self._options.n_batch)
        batch = llama_cpp.llama_batch_init(size, 0, 1)
        try:
            for start in range(0, len(ids), size):
                part = ids[start : start + size]
                batch.n_tokens = len(part)
                for i, token in enumerate(part):
                    batch.token[i], batch.pos[i], batch.logits[i] = token, at + start + i, 1
                    batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                _check(self._decode(self._context, batch))
                yield self._rows(self._logits(self._context, 0), len(part))
        finally:
            llama_cpp.llama_batch_free(batch)

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise with the file's own vocabulary."""
        return self._vocabulary.encode(text, adds_special=adds_special)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text with the file's own vocabulary."""
        return self._vocabulary.decode(ids)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        from .vocabulary import Vocabulary

        return Vocabulary(self._model)

    def counters(self) -> EngineCounters:
        """Return the engine's own times and token counts since the last call."""
        parallel = None if self._parallel is None else self._parallel.context
        return count([context for context in (self._context, parallel) if context is not None])

    def close(self) -> None:
        """Free context and model."""
        import llama_cpp

        if self._parallel is not None:
            self._parallel.close()
        if self._context is not None:
            llama_cpp.llama_free(self._context)
        if self._model is not None:
            llama_cpp.llama_model_free(self._model)
        self._context = self._model = None


def _why_inexact(quantisation: str, options: LlamaCppOptions) -> str | None:
    if quantisation != "f32":
        return f"{quantisation} rounds the weights"
    if options.kv_cache_type != "f32":
        return f"kv_cache_type = {options.kv_cache_type!r} rounds keys and values"
    return None if options.flash_attention == "off" else "its fused attention may round to 16 bits"


def _check(status: int) -> None:
    """Raise for a status of ``llama_decode``."""
    if status == 1:
        raise BackendError("llama.cpp found no room in its KV cache", code="context-exceeded")
    if status:
        raise BackendError(f"llama.cpp could not evaluate the tokens (llama_decode returned {status})")
