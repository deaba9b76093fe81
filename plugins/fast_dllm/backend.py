"""The backend `fast-dllm`: probe, check, load, generate, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from ... import ModelError
from ...core.contract.backend import Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import FLOAT_FORMATS, ModelFacts, PreparedModel, Quantisation
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import check_prompts
from ...core.sdk.scoring import score_behind, score_given, score_rows, score_tensor, score_whole
from ...core.sdk.torch_backend import TorchBackend, torch_requires
from .check import preflight
from .options import FastDllmOptions
from .variant import Variant


class FastDllmBackend(TorchBackend[FastDllmOptions]):
    """Diffusion language models: many masks of a block become tokens in one forward."""

    name: ClassVar[str] = "fast-dllm"
    summary: ClassVar[str] = "Fast-dLLM in PyTorch: parallel decoding of LLaDA, Dream and Fast-dLLM v2 models"
    kind: ClassVar[Kind] = "diffusion"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling"})
    max_batch_size: ClassVar[int] = 64
    score_options: ClassVar[frozenset[str] | None] = frozenset(
        {"dtype", "compile", "n_threads", "block_length", "mask_id", "scoring"}
    )
    requires: ClassVar[Requires | None] = torch_requires("fast-dllm")
    colour: ClassVar[str | None] = "#4F93C8"
    marker: ClassVar[str | None] = "P"

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one format; float formats are the option ``dtype``."""
        return (
            Quantisation("none", 32.0, "weights as the dtype option says (32 bits by default)", common=FLOAT_FORMATS),
        )

    @classmethod
    def preflight(cls, cell: PlannedCell[FastDllmOptions]) -> Preflight:
        """Hold checkpoint, options and workload against one another."""
        return preflight(cell)

    def load(self, model: PreparedModel, device: str, options: FastDllmOptions) -> ModelFacts:
        """Load the network.

        Raises:
            ModelError: the checkpoint is damaged or of another shape than its configuration says.
            BackendError: the device does not exist.
        """
        import torch

        from .decoder import Decoder
        from .network import Network

        threads = self.start(device, options.n_threads)
        self._variant = variant = Variant.read(model.path)
        mask_id = variant.mask(options.mask_id, model.path)
        dtype = getattr(torch, options.dtype)
        self._network = Network(model.path, variant, mask_id, dtype, device, is_packed=not options.compile)
        if options.compile:
            self._network.stack.compile()
        self._block = options.block_length or variant.block_length
        self._scoring, self._folder = options.scoring, model.path
        needs_ends = options.logits_eos_inf or options.confidence_eos_eot_inf
        end_ids = (variant.end_id(model.path), *variant.stop_ids) if needs_ends else ()
        self._decoder = Decoder(self._network, variant, options, self._block, end_ids)
        return self._facts(threads)

    def _facts(self, threads: int) -> ModelFacts:
        network, config = self._network, self._network.config
        item = network.dtype.itemsize
        tables = 0 if config.tied else config.vocab * config.width  # an untied input table is only gathered from
        settings = {"variant": self._variant.name, "mask_id": str(network.mask_id)}
        if self._decoder.memory is not None:
            settings["reused_layers"] = f"{self._decoder.memory.subset[0]}-{self._decoder.memory.subset[-1]}"
        return ModelFacts(
            parameters=network.parameters,
            weight_bytes=network.parameters * item,
            context_length=config.context,
            vocabulary_size=config.vocab,
            n_threads=threads,
            settings=settings | {"block_length": str(self._block)},
            read_weight_bytes=(network.parameters - tables) * item,
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch; a step per forward and row that commits tokens."""
        check_prompts(batch)
        for request in batch:
            if self._network.mask_id in request.prompt_ids:
                raise ModelError(
                    f"the prompt contains the mask token, id {self._network.mask_id}", code="prompt-refused"
                )
        return self._decoder.generate(batch)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence in reading order: every token given those before it, what follows masked."""
        from .likelihood import BlockReading, window_logits

        if self._variant.name == "v2":
            return score_whole(BlockReading(self._network, self._block), tokens, top_k, score_tensor)
        rows = window_logits(self._network, self._variant, tokens)
        return score_rows(tokens, rows, top_k, score_tensor)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt as the option ``scoring`` says; where likely ids are wanted, by reading.

        Raises:
            ModelError: published scoring of a model that has no end token.
        """
        from .likelihood import BlockReading

        if self._scoring == "published" and not top_k:
            return [self._published(prompt_ids, ids) for ids in continuations]
        if self._variant.name == "v2":
            return score_behind(
                BlockReading(self._network, self._block), prompt_ids, continuations, top_k, score_tensor
            )
        return [self._windowed(prompt_ids, ids, top_k) for ids in continuations]

    def _published(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> Scores:
        from .likelihood import published_log_likelihood

        end_id = self._variant.end_id(self._folder)
        value = published_log_likelihood(self._network, prompt_ids, ids, end_id, self._block)
        # The rest of the choice is given, not asked for; and the published harness calls no choice greedy.
        return Scores([value, *[0.0] * (len(ids) - 1)], [False] * len(ids))

    def _windowed(self, prompt_ids: Sequence[int], ids: Sequence[int], top_k: int) -> Scores:
        from .likelihood import window_logits

        rows = window_logits(self._network, self._variant, [*prompt_ids, *ids], len(prompt_ids))
        return score_given(ids, rows, top_k, score_tensor)

    def counters(self) -> EngineCounters:
        """Return what is counted beside the steps of a single prompt, and peak device memory."""
        return replace(super().counters(), own=self._decoder.accounts.figures())

    def close(self) -> None:
        """Free network and cache."""
        del self._decoder, self._network
        self.free()
