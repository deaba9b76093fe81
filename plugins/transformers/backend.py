"""The backend `transformers`: probe, prepare, load, generate, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ... import ModelCache, ModelError
from ...core.contract.backend import Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.sdk.batches import AllDue, check_prompts
from ...core.sdk.checkpoint import read_json
from ...core.sdk.hugging_face import context_length, count_weights, open_model, refuse_unknown, require_architecture
from ...core.sdk.scoring import score_behind, score_tensor, score_whole
from ...core.sdk.stored_weights import stored_weights
from ...core.sdk.torch_backend import TorchBackend, torch_requires
from .decode_bytes import kv_bytes_per_token, read_weight_bytes
from .decoder import Decoder
from .options import TransformersOptions
from .quantise import QUANTISATIONS, check_available, quantise, weight_bytes

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class TransformersBackend(TorchBackend[TransformersOptions]):
    """Any Hugging Face causal language model in PyTorch, one token per step."""

    name: ClassVar[str] = "transformers"
    summary: ClassVar[str] = "Hugging Face transformers in PyTorch, own decode loop: the autoregressive baseline"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "continuous", "depth"})
    max_batch_size: ClassVar[int] = 64
    first_step_is_prefill: ClassVar[bool] = True
    is_reference: ClassVar[bool] = True
    score_options: ClassVar[frozenset[str] | None] = frozenset({"dtype", "attention", "n_threads"})
    requires: ClassVar[Requires | None] = torch_requires("transformers", "transformers", shown="{1} (torch {0})")
    colour: ClassVar[str | None] = "#0072B2"
    marker: ClassVar[str | None] = "o"

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the formats; float formats are the option ``dtype``."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the CPU and what CUDA and Metal offer."""
        import torch

        *cuda, cpu = super().devices()
        return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), cpu]

    @classmethod
    def preflight(cls, cell: PlannedCell[TransformersOptions]) -> Preflight:
        """Refuse an unknown architecture, and several rows where the cache holds one; claim exactness in float32."""
        refuse_unknown(cell.model)
        workload, cache, dtype = cell.workload, cell.options.cache, cell.options.dtype
        if cache != "dynamic" and (workload.batch_size > 1 or workload.is_stream):
            what = "batch_size" if workload.batch_size > 1 else " and ".join(workload.loads()) or "trace"
            return Preflight(errors=(f"cache = {cache!r} holds one row: {what} needs cache = 'dynamic'",))
        is_stored_so = stored_weights(read_json(cell.model.path / "config.json")) is not None
        if is_stored_so and cell.quantisation != QUANTISATIONS[0].name:
            raise ModelError(
                f"{cell.model.path}: its weights are quantised and would be rounded twice: ask for none",
                code="quantisation-unsupported",
            )
        if is_stored_so or cell.quantisation != QUANTISATIONS[0].name:
            return Preflight(inexact="its weights are quantised")
        return Preflight(inexact=None if dtype == "float32" else f"dtype = {dtype!r} rounds")

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: TransformersOptions, cache: ModelCache
    ) -> PreparedModel:
        """Check the folder; quantisation happens at load, so nothing is written.

        Raises:
            ModelError: no Hugging Face folder, or its weights are damaged.
        """
        require_architecture(model)
        check_available(quantisation)
        return PreparedModel(
            path=model.path,
            format="safetensors",
            weight_bytes=count_weights(model.path) * _DTYPE_BYTES[options.dtype],
            bits_per_weight=None,
            source=model,
            quantisation=quantisation,
        )

    def load(self, model: PreparedModel, device: str, options: TransformersOptions) -> ModelFacts:
        """Load and quantise the model.

        Raises:
            ModelError: transformers cannot load the folder.
            BackendError: the device does not exist.
        """
        threads = self.start(device, options.n_threads)
        self._model = open_model(model.path, options.dtype, device, options.attention)
        parameters = sum(parameter.numel() for parameter in self._model.parameters())
        quantise(self._model, model.quantisation)
        self._decoder = Decoder(self._model, device, is_static=options.cache == "static", is_compiled=options.compile)
        config = self._model.config
        return ModelFacts(
            parameters=parameters,
            weight_bytes=weight_bytes(self._model),
            context_length=context_length(config),
            vocabulary_size=config.get_text_config().vocab_size,
            stop_token_ids=_stop_ids(self._model.generation_config.eos_token_id, config.eos_token_id),
            n_threads=threads,
            read_weight_bytes=read_weight_bytes(self._model),
            kv_bytes_per_token=kv_bytes_per_token(self._model),
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch: one alone, several as rows of one cache."""
        check_prompts(batch)
        if len(batch) == 1:
            return self._decoder.generate(batch[0])
        return self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, in one batch that rows join and leave."""
        from .continuous import ContinuousBatch

        return ContinuousBatch(self._model, self._device).answer(source, max_in_flight)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence from float32 logits."""
        return score_whole(self._decoder, tokens, top_k, score_tensor)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once."""
        return score_behind(self._decoder, prompt_ids, continuations, top_k, score_tensor)

    def close(self) -> None:
        """Free model and cache."""
        del self._decoder, self._model
        self.free()


def _stop_ids(*values: int | list[int] | None) -> tuple[int, ...]:
    """Merge end-of-sequence ids, each of which may be one id, a list or absent."""
    found: set[int] = set()
    for value in values:
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return tuple(sorted(found))
