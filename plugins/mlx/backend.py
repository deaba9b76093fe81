"""The backend ``mlx``: probe, prepare (quantise), load, generate, score."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from ... import BackendError, ModelCache, ModelError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import AllDue, check_prompts
from ...core.sdk.hugging_face import count_weights, require_architecture
from ...core.sdk.models import files_hash
from ...core.sdk.scoring import score_behind, score_whole
from .options import MlxOptions
from .quantise import (
    CONVERTER_VERSION,
    QUANTISATIONS,
    left_as_they_are,
    nominal_bytes,
    open_weights,
    refuse_unknown,
    stored_as,
    weight_bytes,
    write_quantised,
)
from .scoring import Scoring, fill, rows_of

_RUNTIME = ("mlx-metal",) if sys.platform == "darwin" else ("mlx-cuda-13", "mlx-cuda-12", "mlx-cpu")
"""The library of this platform, which plain ``mlx`` does not bring on Linux."""
_ROUNDED = ("Gemma2ForCausalLM", "Gemma3ForCausalLM")


class MlxBackend(Backend[MlxOptions]):
    """A model of mlx-lm, one token per step, by its own loop, which begins a token before the last one is given out."""

    name: ClassVar[str] = "mlx"
    summary: ClassVar[str] = "Apple's MLX: mlx-lm's models and its own generation loop"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "continuous", "depth"})
    max_batch_size: ClassVar[int] = 64
    first_step_is_prefill: ClassVar[bool] = True
    score_options: ClassVar[frozenset[str] | None] = frozenset({"dtype", "prefill_chunk"})
    requires: ClassVar[Requires | None] = Requires(
        ("mlx-lm", _RUNTIME), fix='pip install "decodebench[mlx]"', shown="mlx-lm {0} ({1})"
    )

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the formats; float formats are the option ``dtype``."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the GPU, where MLX has one, and the CPU."""
        import mlx.core as mx

        gpu = "metal" if mx.metal.is_available() else "cuda" if mx.cuda.is_available() else None
        return ("cpu",) if gpu is None else (gpu, "cpu")

    @classmethod
    def preflight(cls, cell: PlannedCell[MlxOptions]) -> Preflight:
        """Refuse what mlx-lm has no model for; claim exactness for unquantised weights in float32."""
        require_architecture(cell.model)
        refuse_unknown(cell.model)
        if stored_as(cell.model, cell.quantisation) is not None or cell.quantisation != QUANTISATIONS[0].name:
            return Preflight(inexact="its weights are quantised")
        if cell.model.architecture in _ROUNDED:
            return Preflight(inexact="mlx-lm rounds the scale of its embeddings to bfloat16")
        dtype = cell.options.dtype
        return Preflight(inexact=None if dtype == "float32" else f"dtype = {dtype!r} rounds")

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: MlxOptions, cache: ModelCache
    ) -> PreparedModel:
        """Quantise once; unquantised weights are opened where they lie.

        Raises:
            ModelError: no Hugging Face folder, its weights are damaged, or mlx-lm does not know it.
        """
        require_architecture(model)
        count = count_weights(model.path)
        if quantisation == "none":
            return PreparedModel(model.path, "safetensors", None, None, model, quantisation)
        from mlx_lm import __version__
        from mlx_lm.utils import compute_bits_per_weight

        folder = model.path
        is_stored_so = stored_as(model, quantisation) is not None
        if not is_stored_so:
            folder = cache.entry(
                f"mlx-{model.path.name}-{quantisation}",
                *("mlx", quantisation, options.dtype, files_hash(model, cache), __version__, CONVERTER_VERSION),
                build=partial(write_quantised, model.path, quantisation, options.dtype),
                peak_bytes=nominal_bytes(quantisation, count),
            )
        weights, _ = open_weights(folder, options.dtype)
        note = None if is_stored_so else left_as_they_are(weights, options.dtype)
        return PreparedModel(
            path=folder,
            format="mlx",
            weight_bytes=weight_bytes(weights),
            bits_per_weight=compute_bits_per_weight(weights),
            source=model,
            quantisation=quantisation,
            notes=() if note is None else (note,),
        )

    def load(self, model: PreparedModel, device: str, options: MlxOptions) -> ModelFacts:
        """Load the weights onto the device.

        Raises:
            ModelError: mlx-lm cannot load the folder.
            BackendError: the device does not exist.
        """
        import mlx.core as mx

        if device not in self.devices():
            raise BackendError(
                f"device {device!r} is not there; MLX sees {', '.join(self.devices())}", code="device-missing"
            )
        # before mlx_lm is imported, which makes the stream that it generates on
        mx.set_default_device(mx.cpu if device == "cpu" else mx.gpu)
        from mlx_lm.utils import get_total_parameters

        self._has_own_memory, self._chunk = device != "cpu", options.prefill_chunk
        self._model, config = open_weights(model.path, options.dtype)
        mx.eval(self._model.parameters())
        text = {**config, **config.get("text_config", {})}
        return ModelFacts(
            parameters=get_total_parameters(self._model),
            weight_bytes=weight_bytes(self._model),
            context_length=_integer(text, "max_position_embeddings", model),
            vocabulary_size=_integer(text, "vocab_size", model),
            n_threads=1 if device == "cpu" else None,  # MLX's CPU runs a stream's work on one thread
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch: one alone by mlx-lm's own loop, several by its batches."""
        check_prompts(batch)
        return self._steps(batch[0]) if len(batch) == 1 else self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, in one batch that rows join and leave."""
        from .batches import answer

        return answer(self._model, source, max_in_flight, self._chunk, _sampler)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence, a chunk of it at a time; log-probabilities in float64."""
        return score_whole(Scoring(self._model, self._chunk), tokens, top_k)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once."""
        return score_behind(Scoring(self._model, self._chunk), prompt_ids, continuations, top_k)

    def counters(self) -> EngineCounters:
        """Return the peak of device memory since the last call; a CPU has none of its own."""
        import mlx.core as mx

        if not self._has_own_memory:
            return EngineCounters()
        peak = int(mx.get_peak_memory())
        mx.reset_peak_memory()
        return EngineCounters(peak_device_bytes=peak)

    def close(self) -> None:
        """Free the weights and what MLX keeps for the next array."""
        import mlx.core as mx

        del self._model
        mx.clear_cache()

    def _steps(self, request: Request) -> Iterator[Step]:
        import mlx.core as mx
        from mlx_lm.generate import generate_step, generation_stream
        from mlx_lm.models.cache import make_prompt_cache

        cache = make_prompt_cache(self._model)
        if request.depth:
            fill(self._model, request.prompt_ids[: request.depth], cache, self._chunk)
            yield Step((), is_depth=True)
        tokens = generate_step(
            mx.array(request.prompt_ids[request.depth :]),
            self._model,
            max_tokens=request.max_new_tokens,
            sampler=_sampler(request),
            prompt_cache=cache,
            prefill_step_size=self._chunk,
        )
        try:
            for token, _ in tokens:
                yield Step((int(token),), forwards=1)
                if request.is_stop(int(token)):
                    return
        finally:
            tokens.close()
            mx.synchronize(generation_stream)  # the token after the last one has been begun


def _sampler(request: Request) -> Any:  # noqa: ANN401 - mlx-lm's own type is a callable from its arrays to its arrays
    """Return what chooses a token from log-probabilities [1, V]; None: the largest, which mlx-lm takes by itself."""
    if request.temperature == 0:
        return None
    import mlx.core as mx

    from ...core.sdk.sampling import chooser

    choose = chooser(request)
    return lambda logprobs: mx.array([choose(rows_of(logprobs[None])[0])])


def _integer(config: Mapping[str, Any], name: str, model: PreparedModel) -> int:
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        raise ModelError(
            f"{model.path / 'config.json'}: {name} = {value!r}; expected a positive integer",
            code="model-config-invalid",
        )
    return value
