"""The backend `dflash`: probe, check, load, generate, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ... import ModelCache
from ...core.contract.backend import Capability, Kind
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import FLOAT_FORMATS, ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import check_prompts
from ...core.sdk.scoring import score_behind, score_tensor, score_whole
from ...core.sdk.torch_backend import TorchBackend, torch_requires
from .candidates import clamped_options
from .check import preflight
from .options import DFlashOptions

if TYPE_CHECKING:
    from .drafters import Drafter
    from .target import TargetScoring

_NAME = "dflash"
_PUBLISHED = {"published": "AtharvRN/dflash, 2026-02", "published-original": "z-lab/dflash, 2026-04"}
"""Whose loop a value of ``compat`` is."""


class DFlashBackend(TorchBackend[DFlashOptions]):
    """Block-diffusion speculative decoding: a small network drafts a whole block in one forward."""

    name: ClassVar[str] = _NAME
    summary: ClassVar[str] = (
        "DFlash in PyTorch: block-diffusion drafts, verified by the target, and variants of the loop"
    )
    kind: ClassVar[Kind] = "speculative"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "depth"})
    max_batch_size: ClassVar[int] = 64
    first_step_is_prefill: ClassVar[bool] = True
    companion_option: ClassVar[str | None] = "draft"
    score_options: ClassVar[frozenset[str] | None] = frozenset({"dtype", "compile", "n_threads"})
    block_size_option: ClassVar[str | None] = "block_size"
    block_size_choosers: ClassVar[frozenset[str]] = frozenset({"scheduler", "round_block_sizes"})
    requires: ClassVar[Requires | None] = torch_requires(_NAME)
    colour: ClassVar[str | None] = "#7A5C10"
    marker: ClassVar[str | None] = "v"

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one format; float formats are the option ``dtype``."""
        return (
            Quantisation(
                "none",
                32.0,
                "weights of target and draft as the dtype option says (32 bits by default)",
                common=FLOAT_FORMATS,
            ),
        )

    @classmethod
    def preflight(cls, cell: PlannedCell[DFlashOptions]) -> Preflight:
        """Hold draft, target, options and sampling against one another; claim exactness in float32."""
        return preflight(cell)

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: DFlashOptions, cache: ModelCache
    ) -> PreparedModel:
        """Pair target and draft; nothing is written."""
        draft = model.companions.get(_NAME)
        companion = {} if draft is None else {_NAME: super().prepare(draft, quantisation, device, options, cache)}
        return PreparedModel(
            path=model.path,
            format="safetensors",
            weight_bytes=None,
            bits_per_weight=None,
            source=model,
            quantisation=quantisation,
            companions=companion,
            notes=tuple(clamped_options(options)),
        )

    def load(self, model: PreparedModel, device: str, options: DFlashOptions) -> ModelFacts:
        """Load target and draft.

        Raises:
            ModelError: a checkpoint is damaged or of another shape than its configuration says.
            BackendError: the device does not exist.
        """
        import torch

        from .draft import Draft
        from .drafters.block_diffusion import BlockDiffusionDrafter
        from .loops import make_loop
        from .target import Target

        threads = self.start(device, options.n_threads)
        dtype = getattr(torch, options.dtype)
        self._target = target = Target(model.path, dtype, device, is_packed=not options.compile)
        drafter: Drafter | None = None
        drafted = 0
        companion = model.companions.get(_NAME)
        if companion is not None and options.block_size != 1:
            draft = Draft(companion.path, dtype, device, is_packed=not options.compile)
            draft.config.check_target(target.config, model.path / "config.json")
            drafter, drafted = BlockDiffusionDrafter(draft, target), draft.parameters
            if options.compile:
                draft.compile()
        if options.compile:
            target.compile()
        self._published = _PUBLISHED.get(options.compat)
        self._loop = make_loop(target, drafter, options)
        return self._facts(threads, drafted, companion, drafter)

    def _facts(
        self, threads: int, drafted: int, companion: PreparedModel | None, drafter: Drafter | None
    ) -> ModelFacts:
        target, config = self._target, self._target.config
        settings = {"target_parameters": str(target.parameters)}
        if companion is not None and drafter is not None:
            settings |= {"draft": companion.source.name, "draft_parameters": str(drafted)}
            settings["draft_block_size"] = str(drafter.block_size)
        if self._published is not None:
            settings["published_loop"] = self._published
        return ModelFacts(
            parameters=target.parameters + drafted,
            weight_bytes=(target.parameters + drafted) * target.dtype.itemsize,
            context_length=config.context,
            vocabulary_size=config.vocab,
            n_threads=threads,
            settings=settings,
            read_weight_bytes=target.read_weight_bytes,
            kv_bytes_per_token=target.kv_bytes_per_token,
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch; a step per prefill, then one per row and cycle."""
        check_prompts(batch)
        self._is_single = len(batch) == 1
        return self._loop.generate(batch)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence with the target."""
        return score_whole(self._scoring(), tokens, top_k, score_tensor)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt with the target, which evaluates the prompt once."""
        return score_behind(self._scoring(), prompt_ids, continuations, top_k, score_tensor)

    def _scoring(self) -> TargetScoring:
        from .target import TargetScoring

        return TargetScoring(self._target)

    def counters(self) -> EngineCounters:
        """Return the figures of the published rules, and the peak of device memory where the device counts it.

        A batch of several prompts has no published figures: the published scripts decode one at a time.
        """
        times = self._loop.times
        own = times.take() if times and self._is_single else {}
        return replace(super().counters(), own=own)

    def close(self) -> None:
        """Free networks and caches."""
        del self._loop, self._target
        self.free()
