"""The backend `fast-dllm`: probe, check, load, generate, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from ... import ModelError
from ...core.contract.backend import Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import check_prompts
from ...core.sdk.scoring import score_rows
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
        return (Quantisation("none", 32.0, "weights as the dtype option says (32 bits by default)"),)

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
                raise ModelError(f"the prompt holds the mask token, id {self._network.mask_id}")
        return self._decoder.generate(batch)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence in reading order: every token given those before it, what follows masked."""
        from .likelihood import reading_order_logits

        rows = reading_order_logits(self._network, self._variant, tokens, self._block)
        return score_rows(tokens, (logits.float().cpu().numpy() for logits in rows), top_k)

    def score_continuation(self, prompt_ids: Sequence[int], continuation_ids: Sequence[int]) -> Scores:
        """Score a continuation as the option ``scoring`` says; the prompt costs no evaluations of its own.

        Raises:
            ModelError: published scoring of a model that has no end token.
        """
        from .likelihood import published_log_likelihood, reading_order_logits

        if self._scoring == "published":
            value = published_log_likelihood(
                self._network, prompt_ids, continuation_ids, self._variant.end_id(self._folder), self._block
            )
            # The rest of the choice is given, not asked for; and the published harness calls no choice greedy.
            return Scores([value, *[0.0] * (len(continuation_ids) - 1)], [False] * len(continuation_ids))
        tokens, start = [*prompt_ids, *continuation_ids], len(prompt_ids)
        rows = reading_order_logits(self._network, self._variant, tokens, self._block, start)
        scores = score_rows(tokens[start - 1 :], (logits.float().cpu().numpy() for logits in rows), 0)
        return Scores(scores.logprobs[1:], scores.is_greedy[1:])

    def counters(self) -> EngineCounters:
        """Return what is counted beside the steps of a single prompt, and peak device memory."""
        return replace(super().counters(), own=self._decoder.accounts.figures())

    def close(self) -> None:
        """Free network and cache."""
        del self._decoder, self._network
        self.free()
