"""The backend `draft-target`: probe, check, load, generate, score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ... import BackendError, ModelCache
from ...core.contract.backend import Capability, Kind
from ...core.contract.generation import Generated, Request, Scores, Step
from ...core.contract.model import FLOAT_FORMATS, ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.sdk.batches import AllDue, check_prompts
from ...core.sdk.scoring import score_behind, score_tensor, score_whole
from ...core.sdk.torch_backend import TorchBackend, torch_requires
from .check import NAME, ONE_AT_A_TIME, needs_draft, preflight
from .console import line
from .draft_length import DraftLength
from .options import DraftTargetOptions
from .rules import rule_for
from .scoring import TargetScoring

if TYPE_CHECKING:
    from .decoder import Decoder
    from .drafters import Drafter
    from .models import CausalModel
    from .verifier import Verifier


class DraftTargetBackend(TorchBackend[DraftTargetOptions]):
    """Speculative decoding: a small model drafts, the target verifies a whole draft in one forward."""

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "draft/target speculative decoding, the target in this process or behind serve-target"
    kind: ClassVar[Kind] = "speculative"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling", "continuous", "depth"})
    max_batch_size: ClassVar[int] = 64
    first_step_is_prefill: ClassVar[bool] = True
    companion_option: ClassVar[str | None] = "draft"
    score_options: ClassVar[frozenset[str] | None] = frozenset(
        {"target_backend", "dtype", "compile", "n_threads", "server"}
    )
    block_size_option: ClassVar[str | None] = "num_draft_tokens"
    block_size_choosers: ClassVar[frozenset[str]] = frozenset({"adaptive"})
    requires: ClassVar[Requires | None] = torch_requires(
        "draft-target",
        *("transformers", "grpcio", "grpcio-health-checking"),
        shown="torch {0} (transformers {1})",
    )
    colour: ClassVar[str | None] = "#7A3FC4"
    marker: ClassVar[str | None] = "X"

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one format; float formats are the option ``dtype``."""
        return (
            Quantisation(
                "none",
                32.0,
                "weights of draft and target as the dtype option says (32 bits by default)",
                common=FLOAT_FORMATS,
            ),
        )

    @classmethod
    def preflight(cls, cell: PlannedCell[DraftTargetOptions]) -> Preflight:
        """Hold draft, target, options and sampling against one another."""
        return preflight(cell)

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: DraftTargetOptions, cache: ModelCache
    ) -> PreparedModel:
        """Pair target and draft; nothing is written."""
        draft = model.companions.get(NAME) if needs_draft(options) else None
        companion = {} if draft is None else {NAME: super().prepare(draft, quantisation, device, options, cache)}
        return replace(super().prepare(model, quantisation, device, options, cache), companions=companion)

    def load(self, model: PreparedModel, device: str, options: DraftTargetOptions) -> ModelFacts:
        """Load the draft, and the target or the connection to it.

        Raises:
            ModelError: a checkpoint cannot be opened, or the server has another tokenizer.
            BackendError: the device does not exist, or the server cannot be reached.
        """
        threads = self.start(device, options.n_threads)
        self._options = options
        settings: dict[str, str] = {}
        if options.server == "embedded":
            verifier, facts = self._embedded(model, settings)
        else:
            verifier, facts = self._connected(model, settings)
        self._verifier = verifier
        assert facts.vocabulary_size is not None
        assert facts.parameters is not None
        assert facts.weight_bytes is not None
        self._vocabulary = facts.vocabulary_size
        self._draft = drafted = self._open_draft(model, settings)
        self._decoder = self._decoder_of(self._drafter(drafted), verifier)
        return ModelFacts(
            parameters=facts.parameters + (drafted.parameters if drafted else 0),
            weight_bytes=facts.weight_bytes + (drafted.weight_bytes if drafted else 0),
            context_length=facts.context_length,
            vocabulary_size=facts.vocabulary_size,
            n_threads=threads,
            settings=settings,
            read_weight_bytes=facts.read_weight_bytes,
            kv_bytes_per_token=facts.kv_bytes_per_token,
        )

    def _open(self, model: PreparedModel, engine: str) -> CausalModel:
        from .models.opening import open_model

        options = self._options
        return open_model(
            model.path,
            model.source.architecture,
            engine,  # type: ignore[arg-type]
            options.dtype,
            self._device,
            is_compiled=options.compile,
        )

    def _embedded(self, model: PreparedModel, settings: dict[str, str]) -> tuple[Verifier, ModelFacts]:
        from .verifier import EmbeddedVerifier

        self._target: CausalModel | None = self._open(model, self._options.target_backend)
        target = self._target
        settings["target_parameters"] = str(target.parameters)
        rule = partial(rule_for, self._options.rule)
        self._rule_name = self._options.rule
        verifier = EmbeddedVerifier(target, rule, is_concurrent=self._options.optimistic)
        return verifier, ModelFacts(
            parameters=target.parameters,
            weight_bytes=target.weight_bytes,
            context_length=target.context,
            vocabulary_size=target.vocabulary,
            read_weight_bytes=target.read_weight_bytes,
            kv_bytes_per_token=target.kv_bytes_per_token,
        )

    def _connected(self, model: PreparedModel, settings: dict[str, str]) -> tuple[Verifier, ModelFacts]:
        from .remote_verifier import RemoteVerifier

        verifier = RemoteVerifier(self._options, model.source)
        self._target = None
        info = verifier.info
        self._rule_name = verifier.rule
        settings |= {"server_device": info.device, "server_dtype": info.dtype}
        settings["target_parameters"] = str(info.parameters)
        return verifier, ModelFacts(
            parameters=info.parameters,
            weight_bytes=info.weight_bytes,
            context_length=info.context_length,
            vocabulary_size=info.vocabulary_size,
            read_weight_bytes=info.read_weight_bytes or None,
            kv_bytes_per_token=info.kv_bytes_per_token or None,
        )

    def _open_draft(self, model: PreparedModel, settings: dict[str, str]) -> CausalModel | None:
        """Open the draft model; None where there is none."""
        if not needs_draft(self._options):
            return None
        companion = model.companions[NAME]
        draft = self._open(companion, self._options.draft_backend)
        settings |= {"draft": companion.source.name, "draft_parameters": str(draft.parameters)}
        return draft

    def _drafter(self, draft: CausalModel | None) -> Drafter | None:
        from .drafters.prompt_lookup import PromptLookup
        from .drafters.small_model import SmallModel

        options = self._options
        if options.num_draft_tokens == 0:
            return None
        if draft is None:
            return PromptLookup(options.lookup_longest, options.lookup_shortest)
        return SmallModel(
            draft,
            self._vocabulary,
            candidates=options.num_candidates,
            temperature=options.candidate_temperature,
            top_p=options.candidate_top_p,
            needs_logprobs=self._rule_name == "probabilistic-approx",
        )

    def _decoder_of(self, drafter: Drafter | None, verifier: Verifier) -> Decoder:
        from .decoder import Decoder

        options = self._options
        length = partial(DraftLength, options.num_draft_tokens, options.max_draft_tokens if options.adaptive else None)
        return Decoder(drafter, verifier, length, is_optimistic=options.optimistic)

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue each request; a step for the prefill, then one per round.

        Raises:
            SampleError: the server cannot be reached any more.
        """
        check_prompts(batch)
        return self._decoder.generate(batch[0]) if len(batch) == 1 else self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, their drafts and verifications each in one forward for all rows.

        Raises:
            BackendError: the target is behind a connection, or drafts are made while others are verified.
        """
        from .lockstep import Lockstep
        from .verifier import EmbeddedVerifier

        target, draft = self._target, self._draft
        if target is None or self._options.optimistic:
            raise BackendError(ONE_AT_A_TIME, code="not-supported")

        def loop(lockstep: Lockstep) -> Callable[[Request], Iterator[Step]]:
            drafter = self._drafter(None if draft is None else lockstep.join(draft, 0))
            rule = partial(rule_for, self._options.rule)
            verifier = EmbeddedVerifier(lockstep.join(target, 1), rule, is_concurrent=False)
            return self._decoder_of(drafter, verifier).generate

        models = [model for model in (target, draft) if model is not None]
        return Lockstep(loop, models).answer(source, max_in_flight)

    def classic_log(self, batch: Sequence[Generated]) -> str:
        """Return a line per prompt."""
        return "".join(line(one.number, one.steps, one.duration_s) for one in batch)

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence with an embedded target; raises as ``score_continuations``."""
        with TargetScoring(self._own_target(), len(tokens)) as engine:
            return score_whole(engine, tokens, top_k, score_tensor)

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt with an embedded target, which evaluates the prompt once.

        Raises:
            BackendError: the target is behind a connection.
        """
        with TargetScoring(self._own_target(), len(prompt_ids) + max(map(len, continuations), default=0)) as engine:
            return score_behind(engine, prompt_ids, continuations, top_k, score_tensor)

    def _own_target(self) -> CausalModel:
        if self._target is None:
            raise BackendError("a remote target does not score: use server = 'embedded'", code="not-supported")
        return self._target

    def close(self) -> None:
        """Free networks and caches, close the connection."""
        self._verifier.close()
        del self._decoder, self._verifier, self._target, self._draft
        self.free()
