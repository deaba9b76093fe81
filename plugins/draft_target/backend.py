"""The backend `draft-target`: probe, check, load, generate, score."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ... import BackendError, ModelCache
from ...core.contract.backend import Availability, Backend, BackendOptions, Capability, Kind, inert_in_scoring
from ...core.contract.generation import Request, Scores, Step
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.sdk.batches import only_request
from ...core.sdk.packages import probe_packages, torch_fix
from ...core.sdk.scoring import score_behind, score_tensor, score_whole
from ...core.sdk.torch_device import free_device_memory, start_torch, take_peak_bytes, torch_devices
from .check import NAME, check_cell, inert_options, needs_draft
from .console import line
from .draft_length import DraftLength
from .options import DraftTargetOptions
from .scoring import TargetScoring

if TYPE_CHECKING:
    from ...core.records.workload import Workload
    from .drafters import Drafter
    from .models import CausalModel
    from .verifier import Verifier

_NEEDED = ("torch", "transformers", "grpcio", "grpcio-health-checking")

_SCORE_READS = ("target_backend", "dtype", "compile", "n_threads", "server")


class DraftTargetBackend(Backend):
    """Speculative decoding: a small model drafts, the target verifies a whole draft in one forward."""

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "draft/target speculative decoding, the target in this process or behind serve-target"
    kind: ClassVar[Kind] = "speculative"
    supports: ClassVar[frozenset[Capability]] = frozenset({"score", "score-top-k", "sampling"})
    first_step_is_prefill: ClassVar[bool] = True
    companion_option: ClassVar[str | None] = "draft"
    Options: ClassVar[type[BackendOptions]] = DraftTargetOptions
    colour: ClassVar[str | None] = "#7A3FC4"
    marker: ClassVar[str | None] = "X"

    @classmethod
    def probe(cls) -> Availability:
        """Look the versions up; nothing is imported."""
        return probe_packages("torch {torch} (transformers {transformers})", *_NEEDED, fix=torch_fix("draft-target"))

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one format; float formats are the option ``dtype``."""
        return (
            Quantisation("none", 32.0, "weights of draft and target as the dtype option says (32 bits by default)"),
        )

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the CPU and what CUDA offers."""
        return torch_devices()

    @classmethod
    def check(cls, model: ResolvedModel, options: BackendOptions, workload: Workload) -> Sequence[str]:
        """Hold draft, target, options and sampling against one another."""
        assert isinstance(options, DraftTargetOptions)
        return check_cell(model, options, workload)

    @classmethod
    def inert_options(cls, options: BackendOptions, *, is_scoring: bool = False) -> Mapping[str, str]:
        """Return the options that have no effect: beside the others, or because the target alone scores."""
        assert isinstance(options, DraftTargetOptions)
        return inert_in_scoring(options, _SCORE_READS) if is_scoring else inert_options(options)

    @classmethod
    def why_inexact(cls, quantisation: str, options: BackendOptions) -> str | None:
        """Claim exactness in float32 with an exact rule and a target of our own."""
        assert isinstance(options, DraftTargetOptions)
        if options.server != "embedded":
            return "the server chooses the target's number format"
        if options.dtype not in ("float32", "float64"):
            return f"dtype = {options.dtype!r} rounds"
        return None if options.rule in (None, "deterministic") else f"rule = {options.rule!r} is not exact"

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: BackendOptions, cache: ModelCache
    ) -> PreparedModel:
        """Pair target and draft; nothing is written."""
        assert isinstance(options, DraftTargetOptions)
        draft = model.companions.get(NAME) if needs_draft(options) else None
        companion = {} if draft is None else {NAME: super().prepare(draft, quantisation, device, options, cache)}
        return replace(super().prepare(model, quantisation, device, options, cache), companions=companion)

    def load(self, model: PreparedModel, device: str, options: BackendOptions) -> ModelFacts:
        """Load the draft, and the target or the connection to it.

        Raises:
            ModelError: a checkpoint cannot be opened, or the server has another tokenizer.
            BackendError: the device does not exist, or the server cannot be reached.
        """
        assert isinstance(options, DraftTargetOptions)
        threads = start_torch(device, options.n_threads, self.devices())
        self._device, self._options = device, options
        self._told: list[tuple[list[Step], float]] = []
        self._prompts = 0
        settings = {"n_threads": str(threads)}
        if options.server == "embedded":
            verifier, facts = self._embedded(model, settings)
        else:
            verifier, facts = self._connected(model, settings)
        self._verifier = verifier
        drafter, drafted = self._drafter(model, facts.vocabulary_size, settings)
        self._start_decoder(drafter)
        return ModelFacts(
            parameters=facts.parameters + (drafted.parameters if drafted else 0),
            weight_bytes=facts.weight_bytes + (drafted.weight_bytes if drafted else 0),
            context_length=facts.context_length,
            vocabulary_size=facts.vocabulary_size,
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
        from .rules import rule_for
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

    def _drafter(
        self, model: PreparedModel, vocabulary: int, settings: dict[str, str]
    ) -> tuple[Drafter | None, CausalModel | None]:
        from .drafters.prompt_lookup import PromptLookup
        from .drafters.small_model import SmallModel

        options = self._options
        if options.num_draft_tokens == 0:
            return None, None
        if options.drafter == "prompt-lookup":
            return PromptLookup(options.lookup_longest, options.lookup_shortest), None
        companion = model.companions[NAME]
        draft = self._open(companion, options.draft_backend)
        settings |= {"draft": companion.source.name, "draft_parameters": str(draft.parameters)}
        drafter = SmallModel(
            draft,
            vocabulary,
            candidates=options.num_candidates,
            temperature=options.candidate_temperature,
            top_p=options.candidate_top_p,
            needs_logprobs=self._rule_name == "probabilistic-approx",
        )
        return drafter, draft

    def _start_decoder(self, drafter: Drafter | None) -> None:
        from .decoder import Decoder

        options = self._options
        length = partial(DraftLength, options.num_draft_tokens, options.max_draft_tokens if options.adaptive else None)
        self._decoder = Decoder(drafter, self._verifier, length, is_optimistic=options.optimistic)

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch; a step for the prefill, then one per round.

        Raises:
            SampleError: the server cannot be reached any more.
        """
        return self._followed(only_request(self.name, batch))

    def _followed(self, request: Request) -> Iterator[Step]:
        """Generate, and remember what the line of the classic log needs."""
        steps: list[Step] = []
        began = time.perf_counter()
        for step in self._decoder.generate(request):
            steps.append(step)
            yield step
        self._told.append((steps, time.perf_counter() - began))

    def classic_log(self) -> str:
        """Return a line per prompt since the last call."""
        told, self._told = self._told, []
        first = self._prompts + 1
        self._prompts += len(told)
        return "".join(line(number, steps, seconds) for number, (steps, seconds) in enumerate(told, first))

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
            raise BackendError("a remote target does not score: use server = 'embedded'")
        return self._target

    def counters(self) -> Mapping[str, float]:
        """Return the peak of device memory since the last call, where the device counts it."""
        return take_peak_bytes(self._device)

    def close(self) -> None:
        """Free networks and caches, close the connection."""
        self._verifier.close()
        del self._decoder, self._verifier, self._target
        free_device_memory(self._device)
