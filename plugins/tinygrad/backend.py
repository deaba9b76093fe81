"""The backend `tinygrad`: probe, prepare, load, generate, score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from ... import BackendError, ModelCache, ModelError, UsageError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Generated, Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Availability, Requires
from ...core.sdk.batches import only_request
from ...core.sdk.gguf.vocabulary import GgufVocabulary
from ...core.sdk.scoring import score_behind, score_whole
from ...core.sdk.tokenizer import Codec
from . import availability, classic_log
from .options import TinygradOptions
from .preparation import check_model, prepared_file, prepared_folder
from .quantisations import AS_STORED, OWN_NAMES, QUANTISATIONS

if TYPE_CHECKING:
    from .decoder import Decoder
    from .network import Network

_FIX = 'pip install "tinygrad==0.13.0"'
_N_CTX = 2048


class TinygradBackend(Backend[TinygradOptions]):
    """Llama, Qwen2 and Qwen3 models in tinygrad, one token per step."""

    name: ClassVar[str] = "tinygrad"
    summary: ClassVar[str] = "tinygrad's language model over captured kernels; Hugging Face folders and GGUF files"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "tokenizer", "depth"})
    first_step_is_prefill: ClassVar[bool] = True
    threads_option: ClassVar[str | None] = "n_threads"
    requires: ClassVar[Requires | None] = Requires(("tinygrad",), fix=_FIX)
    colour: ClassVar[str | None] = "#009E73"
    marker: ClassVar[str | None] = "D"

    _metadata: Mapping[str, Any] | None = None
    _is_log_begun = False

    @classmethod
    def probe(cls) -> Availability:
        """Look the version, the wheel's modules and the C compiler up; tinygrad stays unimported."""
        return availability.with_parts(super().probe(), _FIX)

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """List tinygrad's formats, then those of GGUF."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the devices that tinygrad computes with."""
        from .engine import usable_devices

        return usable_devices()

    @classmethod
    def preflight(cls, cell: PlannedCell[TinygradOptions]) -> Preflight:
        """Refuse what its model lacks; claim exactness for weights in single precision, in which it computes."""
        check_model(cell.model, cell.quantisation)
        exact = cell.quantisation in ("float32", "f32")
        return Preflight(inexact=None if exact else f"{cell.quantisation} rounds the weights")

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: TinygradOptions, cache: ModelCache
    ) -> PreparedModel:
        """Check a folder, whose weights are packed at load, or convert it to GGUF.

        Raises:
            ModelError: the model cannot be used with tinygrad or this quantisation; names the cause.
        """
        if quantisation in OWN_NAMES:
            return prepared_folder(model, quantisation)
        if quantisation == AS_STORED:
            return prepared_file(model)
        missing = [package for package in ("llama_cpp", "gguf") if find_spec(package) is None]
        if missing and model.stored_format != quantisation:
            raise ModelError(
                f"quantisation {quantisation!r} is made by llama.cpp, and {missing[0]} is not installed: "
                'pip install "decodebench[llama-cpp]"',
                code="package-missing",
            )
        from ...core.sdk.gguf.preparation import prepare_gguf

        return prepare_gguf(model, quantisation, cache, in_one_file=True)

    def load(self, model: PreparedModel, device: str, options: TinygradOptions) -> ModelFacts:
        """Load the weights.

        Raises:
            BackendError: the device or the renderer cannot be used.
            ModelError: tinygrad cannot load the files.
            UsageError: ``n_ctx`` exceeds what the model was trained for.
        """
        from .decoder import Decoder
        from .engine import cached_kernels, renderer, start

        threads = start(device, options)
        self._kernels = cached_kernels()
        self._device, self._source = device, model.source
        self._what = f"{model.quantisation} weights on {device!r}"
        started = time.perf_counter()
        facts, network = self._open(model, options)
        self._load_s = time.perf_counter() - started
        assert facts.weight_bytes is not None
        assert facts.context_length is not None
        self._weight_bytes, self._n_ctx = facts.weight_bytes, facts.context_length
        self._decoder: Decoder = Decoder(network, options.prefill_chunk)
        settings = {
            "renderer": renderer(device),
            "n_ctx": str(self._n_ctx),
        }
        return ModelFacts(
            parameters=facts.parameters,
            weight_bytes=facts.weight_bytes,
            context_length=facts.context_length,
            vocabulary_size=facts.vocabulary_size,
            n_threads=threads,
            settings={**settings, **facts.settings},
        )

    def warmup(self) -> Mapping[str, str]:
        """Compile and capture the kernels; say whether they were in tinygrad's cache.

        Raises:
            BackendError: the compiler cannot be used.
        """
        from .engine import cached_kernels

        _warm_up(self._decoder, self._what)
        before = self._kernels
        return {"kernel_cache": "off" if before is None else "warm" if cached_kernels() == before else "cold"}

    def _open(self, model: PreparedModel, options: TinygradOptions) -> tuple[ModelFacts, Network]:
        """Bring the weights into memory; return what is known of them, and the network over a cache."""
        return (self._open_file if model.format == "gguf" else self._open_folder)(model, options)

    def _open_folder(self, model: PreparedModel, options: TinygradOptions) -> tuple[ModelFacts, Network]:
        from .checkpoint import Plan, build_model
        from .network import Network

        plan = Plan.read(model.path)
        n_ctx = _n_ctx(options, plan.shape.context)
        network = Network(
            build_model(plan, model.quantisation, n_ctx), _capacity(n_ctx, options.prefill_chunk), plan.divisors
        )
        facts = ModelFacts(
            parameters=plan.parameters(),
            weight_bytes=plan.weight_bytes(model.quantisation),
            context_length=n_ctx,
            vocabulary_size=plan.shape.vocab,
        )
        return facts, network

    def _open_file(self, model: PreparedModel, options: TinygradOptions) -> tuple[ModelFacts, Network]:
        from .gguf_file import context_length, open_gguf
        from .network import Network

        opened = open_gguf(model.path, options.n_ctx or _N_CTX)
        self._metadata = opened.metadata
        n_ctx = _n_ctx(options, context_length(opened.metadata))
        network = Network(opened.model, _capacity(n_ctx, options.prefill_chunk), opened.divisors)
        facts = ModelFacts(
            parameters=opened.parameters,
            weight_bytes=model.weight_bytes or opened.weight_bytes,
            context_length=n_ctx,
            vocabulary_size=int(opened.model.output.weight.shape[0]),
            settings={"gguf_weights": "as in the file, unpacked in every step"},
        )
        return facts, network

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch."""
        request = only_request(self.name, batch)
        self._check_room(len(request.prompt_ids) + request.max_new_tokens - 1)  # the last token is never evaluated
        return self._decoder.generate(request)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence chunk by chunk; log-probabilities in float64 from float32 logits."""
        self._check_room(len(tokens) - 1)
        return score_whole(self._decoder, tokens, top_k)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once."""
        self._check_room(len(prompt_ids) + max(map(len, continuations), default=0) - 1)
        return score_behind(self._decoder, prompt_ids, continuations, top_k)

    def _check_room(self, positions: int) -> None:
        if positions > self._n_ctx:
            raise BackendError(
                f"prompt and new tokens need {positions} positions; the cache has {self._n_ctx} (option n_ctx)",
                code="context-exceeded",
            )

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise with the GGUF file's own vocabulary."""
        return self._vocabulary.encode(text, adds_special=adds_special)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text with the GGUF file's own vocabulary."""
        return self._vocabulary.decode(ids)

    @cached_property
    def _vocabulary(self) -> GgufVocabulary:
        """The file's own; tinygrad's reader cuts every text as Llama 3 does, whatever the file says."""
        if self._metadata is None:
            raise BackendError(
                f"{self._source.path} has no tokenizer.json, and only GGUF files hold a tokenizer",
                code="tokenizer-missing",
            )
        return GgufVocabulary(self._metadata, str(self._source.path))

    def classic_log(self, batch: Sequence[Generated]) -> str:
        """Return what tinygrad's Llama example would have printed."""
        seed = batch[0].request.seed
        text = "" if self._is_log_begun else classic_log.preamble(seed, self._load_s, self._weight_bytes)
        self._is_log_begun = True
        decode = self._text_of()
        return text + "".join(classic_log.sample(one.steps, self._weight_bytes, decode) for one in batch)

    def _text_of(self) -> Callable[[Sequence[int]], str]:
        """Return a function from ids to text; without any tokenizer the text is the ids themselves."""
        try:
            decode = Codec(self._source.path, self).decode_behind
            decode([])
        except (ModelError, BackendError):
            return lambda ids: " ".join(map(str, ids))
        return decode

    def close(self) -> None:
        """Free model and cache."""
        from .engine import free_memory

        del self._decoder
        self._metadata = None
        free_memory(self._device)


def _warm_up(decoder: Decoder, what: str) -> None:
    from subprocess import CalledProcessError

    from tinygrad.device import CompileError

    try:
        decoder.warm_up()
    except (CompileError, CalledProcessError, FileNotFoundError, RuntimeError) as error:
        line = " ".join(str(error).split())
        if isinstance(error, CalledProcessError):
            line = f"{error.cmd[0]} ended with exit code {error.returncode}; its messages stand on standard error"
        raise BackendError(f"tinygrad cannot compile kernels for {what}: {line[:300]}") from error


def _n_ctx(options: TinygradOptions, trained: int) -> int:
    if options.n_ctx is None:
        return min(_N_CTX, trained)
    if options.n_ctx > trained:
        raise UsageError(
            f"option n_ctx={options.n_ctx} exceeds the model's context length of {trained}", code="context-exceeded"
        )
    return options.n_ctx


def _capacity(n_ctx: int, chunk: int) -> int:
    """Return the positions of a cache in which the last chunk, padded, still has room."""
    return -(-n_ctx // chunk) * chunk
