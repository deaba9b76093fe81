"""The backend ``mlc``: probe, prepare (convert and compile), load, generate, score."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ... import BackendError, ModelCache, ModelError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Availability, Requires
from ...core.sdk.batches import only_request
from ...core.sdk.checkpoint import read_json
from ...core.sdk.cores import default_threads
from ...core.sdk.models import files_hash
from ...core.sdk.scoring import score_behind, score_whole
from . import stock
from .options import MlcOptions
from .quantisations import QUANTISATIONS

if TYPE_CHECKING:
    from .config import Model
    from .relax.engine import Engine, Scoring

_OTHERWISE = (
    "A folder with unquantised safetensors of a known kind is converted, a .gguf file of it too; what MLC-LLM alone "
    "compiles is opened as a folder in MLC's format with engine=mlc_llm"
)
_LABELS = {"tvm": "tvm, own cpu schedule", "mlc_llm": "mlc_llm"}


class MlcBackend(Backend[MlcOptions]):
    """A decoder compiled by TVM for this machine's processor, one token per step."""

    name: ClassVar[str] = "mlc"
    summary: ClassVar[str] = "MLC: models compiled by Apache TVM, with MLC's weight formats and our own CPU schedule"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "depth"})
    first_step_is_prefill: ClassVar[bool] = True
    threads_option: ClassVar[str | None] = "n_threads"
    requires: ClassVar[Requires | None] = Requires(
        ("apache-tvm",), fix='pip install "decodebench[mlc]"', shown="tvm {0} (own cpu schedule)"
    )
    colour: ClassVar[str | None] = "#CC79A7"
    marker: ClassVar[str | None] = "^"

    @classmethod
    def probe(cls) -> Availability:
        """Look for MLC-LLM, whose builds have no metadata under one name, and else for what is required."""
        return Availability(True, version=stock.version()) if stock.is_installed() else super().probe()

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the weight formats."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List what MLC-LLM drives, where it is installed, and the CPU."""
        return [*(stock.devices() if stock.is_installed() else []), "cpu"]

    @classmethod
    def preflight(cls, cell: PlannedCell[MlcOptions]) -> Preflight:
        """Refuse what is not mapped; claim exactness for float32 weights under our own schedule."""
        if _engine_of(cell.options) == "mlc_llm":
            return Preflight(
                inexact="MLC-LLM's own engine has not been compared with the reference",
                lacks=("score", "score-top-k", "depth"),
            )
        _describe(cell.model, cell.quantisation)
        exact = cell.quantisation == "q0f32"
        return Preflight(inexact=None if exact else f"{cell.quantisation} rounds the weights")

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: MlcOptions, cache: ModelCache
    ) -> PreparedModel:
        """Convert to MLC's format and compile, each once.

        Raises:
            ModelError: an architecture that is not mapped, or damaged weights; names field or file.
            BackendError: TVM cannot compile for this device.
        """
        from .config import is_mlc_folder
        from .relax.compiler import library

        _use_threads(options)
        if _engine_of(options) == "mlc_llm":
            stock.require()
            return _prepared(stock.folder(model, quantisation, device, cache), model, quantisation)
        _check_device(device)
        described = _describe(model, quantisation)
        is_ready = is_mlc_folder(model.path)
        folder = model.path if is_ready else _converted(model, described, quantisation, cache)
        library(described.decoder, cache)
        return _prepared(folder, model, quantisation)

    def load(self, model: PreparedModel, device: str, options: MlcOptions) -> ModelFacts:
        """Load library and weights.

        Raises:
            ModelError: a weight file is damaged; names it and its checksum.
        """
        threads, engine = _use_threads(options), _engine_of(options)
        if engine == "mlc_llm":
            self._engine: stock.StockEngine | Engine = stock.StockEngine(model.path, device, options.prefill_chunk)
            settings = {"engine_version": stock.version(), "prefill_chunk": str(self._engine.prefill_chunk)}
        else:
            self._engine, settings = _own_engine(model.path, options), {}
        return _facts(model.path, threads, {"engine": _LABELS[engine], **settings})

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch."""
        return self._engine.generate(only_request(self.name, batch))

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence, a chunk of it at a time; raises as ``score_continuations``."""
        with self._scoring() as engine:
            return score_whole(engine, tokens, top_k)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once.

        Raises:
            BackendError: MLC-LLM runs, whose engine gives no logits of a given sequence.
        """
        with self._scoring() as engine:
            return score_behind(engine, prompt_ids, continuations, top_k)

    def _scoring(self) -> AbstractContextManager[Scoring]:
        if isinstance(self._engine, stock.StockEngine):
            raise BackendError("MLC-LLM scores no given sequence; use engine=tvm", code="not-supported")
        return self._engine.scoring()

    def close(self) -> None:
        """Free weights and cache."""
        import gc

        del self._engine
        gc.collect()


def _describe(model: ResolvedModel, quantisation: str) -> Model:
    """Read what a model consists of; raises ``ModelError`` where that is not mapped."""
    from ...core.sdk.checkpoint import Checkpoint
    from .config import check_stored, from_checkpoint, from_mlc, is_mlc_folder
    from .tensor_cache import check_shards

    if is_mlc_folder(model.path):
        check_shards(model.path)
        check_stored(model.path, quantisation)
        return from_mlc(model.path)[0]
    if not model.path.is_dir() or model.architecture is None:
        raise ModelError(
            f"{model.path} is neither a Hugging Face folder nor one in MLC's format", code="container-unsupported"
        )
    try:
        return from_checkpoint(Checkpoint(model.path), quantisation)
    except ModelError as error:
        raise ModelError(f"{error}. {_OTHERWISE}", code=error.code) from error


def _converted(model: ResolvedModel, described: Model, quantisation: str, cache: ModelCache) -> Path:
    from ...core.sdk.checkpoint import Checkpoint
    from .convert import CONVERTER_VERSION, write_folder

    checkpoint = Checkpoint(model.path)
    return cache.entry(
        f"mlc-{model.path.name}-{quantisation}",
        *("mlc", quantisation, files_hash(model, cache), CONVERTER_VERSION),
        build=lambda folder: write_folder(checkpoint, described, quantisation, folder),
        peak_bytes=checkpoint.elements * described.decoder.form.bits // 8,
    )


def _own_engine(folder: Path, options: MlcOptions) -> Engine:
    """Load a folder in MLC's format into the engine that is compiled here."""
    from . import tensor_cache
    from .config import from_mlc
    from .relax.compiler import library
    from .relax.engine import Engine
    from .relax.model import TABLE

    described, _ = from_mlc(folder)
    ours = {described.fused_name(name): name for name in described.decoder.stored()}
    arrays = {ours.get(name, name): array for name, array in tensor_cache.read(folder)}
    missing = [name for name in ours.values() if name not in arrays and name != TABLE]
    if missing:
        raise ModelError(f"{folder}: {tensor_cache.TABLE} lacks {missing[0]!r}", code="weights-mismatch")
    arrays[TABLE] = described.rotary_table()
    return Engine(described.decoder, library(described.decoder, ModelCache()), arrays, options.prefill_chunk)


def _facts(folder: Path, threads: int, settings: dict[str, str]) -> ModelFacts:
    """Read what is known of a folder off its tables; of a family that MLC-LLM alone knows that is less."""
    from . import tensor_cache
    from .config import CHAT_CONFIG, from_mlc, stop_ids
    from .relax.model import TABLE

    sizes, chat = tensor_cache.sizes(folder), read_json(folder / CHAT_CONFIG)
    weight_bytes = sum(sizes.values())
    known = ModelFacts(
        weight_bytes=weight_bytes,
        context_length=chat.get("context_window_size"),
        vocabulary_size=chat.get("vocab_size"),
        stop_token_ids=stop_ids(chat),
        n_threads=threads,
        settings=settings,
    )
    try:
        decoder = from_mlc(folder)[0].decoder
    except ModelError:
        return known
    tables = sum(nbytes for name, nbytes in sizes.items() if name.startswith("model.embed_tokens."))
    shapes = [*decoder.matrices().values(), *(shape for name, shape in decoder.vectors().items() if name != TABLE)]
    return replace(
        known,
        parameters=sum(map(math.prod, shapes)),
        read_weight_bytes=weight_bytes - (0 if decoder.is_tied else tables),
        kv_bytes_per_token=decoder.kv_bytes_per_token,
    )


def _prepared(folder: Path, model: ResolvedModel, quantisation: str) -> PreparedModel:
    from . import tensor_cache

    return PreparedModel(
        path=folder,
        format="mlc",
        weight_bytes=tensor_cache.weight_bytes(folder),
        bits_per_weight=None,
        source=model,
        quantisation=quantisation,
    )


def _engine_of(options: MlcOptions) -> str:
    """Return the engine that runs: the one asked for, else MLC-LLM where it is installed."""
    if options.engine == "auto":
        return "mlc_llm" if stock.is_installed() else "tvm"
    return options.engine


def _use_threads(options: MlcOptions) -> int:
    """Set what TVM reads once, at its first parallel loop, before it is imported."""
    threads = options.n_threads or default_threads()
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ["TVM_BIND_THREADS"] = "0"  # the runner, not the engine, decides where threads run
    return threads


def _check_device(device: str) -> None:
    if device != "cpu":
        raise BackendError(
            f"device {device!r}: the tvm engine compiles for the CPU alone; see engine=mlc_llm", code="device-missing"
        )
