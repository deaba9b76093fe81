"""The contract between the host and a decoder backend.

A backend is one class. The host creates one instance in a fresh process, calls ``load`` once, ``generate`` once
per batch, ``close`` at the end, and takes every timestamp itself. A module that defines a backend imports its
engine only inside ``devices``, ``prepare``, ``load`` and what follows ``load``: never at import time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from .generation import Request, Scores, Step
from .model import ModelFacts, PreparedModel, Quantisation, ResolvedModel

if TYPE_CHECKING:
    from ..cache import ModelCache
    from ..records.workload import Workload

Kind = Literal["autoregressive", "speculative", "diffusion"]
Capability = Literal["score", "score-top-k", "sampling", "tokenizer"]


class BackendOptions(BaseModel):
    """Base of a backend's options: typed, described, validated before anything loads, sweepable by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def inert_in_scoring(options: BackendOptions, read: Collection[str]) -> dict[str, str]:
    """Return every option but those that ``score`` reads, with the reason: what ``inert_options`` says in scoring."""
    others = (name for name in type(options).model_fields if name not in read)
    return dict.fromkeys(others, "where choices are scored: nothing is generated, and scoring does not read it")


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can run here; built without importing its engine.

    Attributes:
        available: whether ``load`` can be expected to work.
        version: the engine's version, from package metadata.
        reason: why it is not available, one sentence.
        fix: the exact command that makes it available.
    """

    available: bool
    version: str | None = None
    reason: str | None = None
    fix: str | None = None


class Backend(ABC):
    """One inference engine or decoder. Sub-classes state the class variables and implement what is abstract.

    Attributes:
        name: what users type, e.g. ``"my-engine"``.
        summary: one line for listings.
        kind: how it decodes.
        supports: what it can do besides generating greedily.
        max_batch_size: most requests that ``generate`` takes at once.
        first_step_is_prefill: whether the first step of a row holds the prefill and one token and nothing more (allows
            prefill rates).
        is_reference: whether other backends with the same weights are held against this one where nothing else is said.
        companion_option: name of the option that names a second model, such as a draft; the host resolves it into
            ``companions``.
        Options: its options, a sub-class with a pydantic field for each: default, limits, description.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[Kind]
    supports: ClassVar[frozenset[Capability]] = frozenset()
    max_batch_size: ClassVar[int] = 1
    first_step_is_prefill: ClassVar[bool] = False
    is_reference: ClassVar[bool] = False
    companion_option: ClassVar[str | None] = None
    Options: ClassVar[type[BackendOptions]] = BackendOptions
    colour: ClassVar[str | None] = None
    """In figures, as ``#rrggbb``, with a contrast of at least 3 on white and on black; None: by the name's hash."""
    marker: ClassVar[str | None] = None
    """In figures, one of ``o s D ^ v P X``; None: by the name's hash."""

    @classmethod
    @abstractmethod
    def probe(cls) -> Availability:
        """Say whether the engine is installed; reads package metadata, imports no engine, takes milliseconds."""

    @classmethod
    @abstractmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """List the weight formats that can be asked for; the first is the default."""

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List usable devices, best first; called in a throw-away process, so the engine may be imported."""
        return ("cpu",)

    @classmethod
    def check(cls, model: ResolvedModel, options: BackendOptions, workload: Workload) -> Sequence[str]:
        """Look at a cell before anything is measured; reads configuration files, imports no engine.

        Returns:
            What will be done in another way than was asked for, one sentence each, such as a value that is clamped.

        Raises:
            UsageError: options that cannot go together with this model or with this workload.
            ModelError: a model, or its companion, cannot be used; names the file, the field and its value.
        """
        return ()

    @classmethod
    def inert_options(cls, options: BackendOptions, *, is_scoring: bool = False) -> Mapping[str, str]:
        """Return the options that have no effect, each with the reason, such as ``"with ..."``.

        The host warns about one that was changed from its default, and refuses a matrix that varies nothing else.

        Args:
            options: of one cell.
            is_scoring: nothing is generated, texts are scored by their log-probability: what only ``generate`` reads
                has no effect.
        """
        return {}

    @classmethod
    def why_inexact(cls, quantisation: str, options: BackendOptions) -> str | None:
        """Say why greedy tokens may differ from those of the reference backend with the same unquantised weights.

        None is a claim: they are the same, but for ties that rounding decides. The conformance kit holds the backend
        to it.
        """
        return "it makes no such claim"

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: BackendOptions, cache: ModelCache
    ) -> PreparedModel:
        """Convert, quantise or compile once; results live in ``cache`` by content hash.

        The default opens the model folder as it is.

        Raises:
            ModelError: the model cannot be used with this backend or quantisation; names the cause.
        """
        return PreparedModel(
            path=model.path,
            format="safetensors",
            weight_bytes=None,
            bits_per_weight=None,
            source=model,
            quantisation=quantisation,
        )

    @abstractmethod
    def load(self, model: PreparedModel, device: str, options: BackendOptions) -> ModelFacts:
        """Bring the model into memory, ready to generate.

        Raises:
            ModelError: the files are not what this backend can load.
            OutOfMemoryError: host or device memory does not suffice.
        """

    @abstractmethod
    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch, each from an empty cache.

        Each row's first step ends its prefill. The device is synchronised before a step is yielded. A row ends
        after its stop token or ``max_new_tokens``. Closing the iterator early leaves a usable backend.
        """

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence; only called when ``supports`` holds ``"score"`` (``"score-top-k"`` for top_k > 0)."""
        raise PermissionError(f"backend {self.name!r} does not declare 'score'")

    def score_continuations(
        self, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]], top_k: int = 0
    ) -> list[Scores]:
        """Score continuations of one prompt; this is what the host calls.

        The default scores every whole sequence. Override it so that the prompt is evaluated once and none of its own
        positions gets logits (``core.sdk.scoring.score_behind`` does the rest), or where the decoder's authors score a
        choice in another way.

        Args:
            prompt_ids: at least one.
            continuations: each of at least one id.
            top_k: how many of the most likely ids to give per position; above 0 only where ``supports`` holds
                ``"score-top-k"``.

        Returns:
            The scores of each continuation's own tokens, in order.
        """
        start = len(prompt_ids)
        whole = (self.score([*prompt_ids, *ids], top_k) for ids in continuations)
        return [
            Scores(one.logprobs[start:], one.is_greedy[start:], one.top_ids[start:], one.top_logprobs[start:])
            for one in whole
        ]

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise; only called when ``supports`` holds ``"tokenizer"`` and the model folder has none of its own.

        Args:
            text: special tokens written in it become their ids.
            adds_special: whether begin and end token come as the model's tokenizer adds them; a rendered chat has its
                own.
        """
        raise PermissionError(f"backend {self.name!r} does not declare 'tokenizer'")

    def decode(self, ids: Sequence[int]) -> str:
        """Turn the ids of a text into the text, special tokens left out: the inverse of ``encode``."""
        raise PermissionError(f"backend {self.name!r} does not declare 'tokenizer'")

    def counters(self) -> Mapping[str, float]:
        """Return the engine's own figures since the last call (such as its perf counters), units in the names."""
        return {}

    def classic_log(self) -> str:
        """Return what happened since the last call in the log format that the engine's own tools are known for.

        It is kept beside the raw log as ``.txt``. Called between samples, never inside one; empty where there is no
        such format.
        """
        return ""

    def close(self) -> None:  # noqa: B027 - nothing to free is a valid answer
        """Free the model's memory. Called once; nothing is called after it."""
