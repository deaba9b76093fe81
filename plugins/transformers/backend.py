"""The backend `transformers`: probe, prepare, load, generate, score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ... import ModelCache, ModelError
from ...core.contract.backend import Availability, Backend, BackendOptions, Capability, Kind, inert_in_scoring
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.sdk.batches import only_request
from ...core.sdk.hugging_face import context_length, count_weights, open_model
from ...core.sdk.packages import probe_packages, torch_fix
from ...core.sdk.scoring import score_behind, score_tensor, score_whole
from ...core.sdk.torch_device import free_device_memory, start_torch, take_peak_bytes, torch_devices
from .decode_bytes import kv_bytes_per_token, read_weight_bytes
from .decoder import Decoder
from .options import TransformersOptions
from .quantise import QUANTISATIONS, check_available, quantise, weight_bytes

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_SCORE_READS = ("dtype", "attention", "n_threads")


class TransformersBackend(Backend):
    """Any Hugging Face causal language model in PyTorch, one token per step."""

    name: ClassVar[str] = "transformers"
    summary: ClassVar[str] = "Hugging Face transformers in PyTorch, own decode loop: the autoregressive baseline"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling"})
    first_step_is_prefill: ClassVar[bool] = True
    is_reference: ClassVar[bool] = True
    Options: ClassVar[type[BackendOptions]] = TransformersOptions
    colour: ClassVar[str | None] = "#0072B2"
    marker: ClassVar[str | None] = "o"

    @classmethod
    def probe(cls) -> Availability:
        """Look the versions up; torch and transformers stay unimported."""
        return probe_packages("{transformers} (torch {torch})", "transformers", "torch", fix=torch_fix("transformers"))

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the formats; float formats are the option ``dtype``."""
        return QUANTISATIONS

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the CPU and what CUDA and Metal offer."""
        import torch

        *cuda, cpu = torch_devices()
        return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), cpu]

    @classmethod
    def why_inexact(cls, quantisation: str, options: BackendOptions) -> str | None:
        """Claim exactness for unquantised weights in float32."""
        assert isinstance(options, TransformersOptions)
        if quantisation != QUANTISATIONS[0].name:
            return "its weights are quantised"
        return None if options.dtype == "float32" else f"dtype = {options.dtype!r} rounds"

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: BackendOptions, cache: ModelCache
    ) -> PreparedModel:
        """Check the folder; quantisation happens at load, so nothing is written.

        Raises:
            ModelError: no Hugging Face folder, or its weights are damaged.
        """
        assert isinstance(options, TransformersOptions)
        if not model.path.is_dir() or model.architecture is None:
            raise ModelError(f"{model.path} is no Hugging Face folder (no config.json with 'architectures')")
        check_available(quantisation)
        return PreparedModel(
            path=model.path,
            format="safetensors",
            weight_bytes=count_weights(model.path) * _DTYPE_BYTES[options.dtype],
            bits_per_weight=None,
            source=model,
            quantisation=quantisation,
        )

    @classmethod
    def inert_options(cls, options: BackendOptions, *, is_scoring: bool = False) -> Mapping[str, str]:
        """Name what scoring, which has a growing cache of its own, does not read."""
        return inert_in_scoring(options, _SCORE_READS) if is_scoring else {}

    def load(self, model: PreparedModel, device: str, options: BackendOptions) -> ModelFacts:
        """Load and quantise the model.

        Raises:
            ModelError: transformers cannot load the folder.
            BackendError: the device does not exist.
        """
        assert isinstance(options, TransformersOptions)
        threads = start_torch(device, options.n_threads, self.devices())
        self._device = device
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
            settings={"n_threads": str(threads)},
            read_weight_bytes=read_weight_bytes(self._model),
            kv_bytes_per_token=kv_bytes_per_token(self._model),
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch."""
        return self._decoder.generate(only_request(self.name, batch))

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence from float32 logits."""
        return score_whole(self._decoder, tokens, top_k, score_tensor)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt, which is evaluated once."""
        return score_behind(self._decoder, prompt_ids, continuations, top_k, score_tensor)

    def counters(self) -> Mapping[str, float]:
        """Return the peak of device memory since the last call, where the device counts it."""
        return take_peak_bytes(self._device)

    def close(self) -> None:
        """Free model and cache."""
        del self._decoder, self._model
        free_device_memory(self._device)


def _stop_ids(*values: int | list[int] | None) -> tuple[int, ...]:
    """Merge end-of-sequence ids, each of which may be one id, a list or absent."""
    found: set[int] = set()
    for value in values:
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return tuple(sorted(found))
