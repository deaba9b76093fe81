"""The contract between the host and a decoder backend.

A backend is one class. The host creates one instance in a fresh process, calls ``load`` once, ``generate`` once
per batch, ``close`` at the end, and takes every timestamp itself. A module that defines a backend imports its
engine only inside ``devices``, ``prepare``, ``load`` and what follows ``load``: never at import time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

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


@dataclass(frozen=True, slots=True)
class Quantisation:
    """A weight format that a backend offers, in the backend's own words.

    Attributes:
        name: the backend's name for it, e.g. ``"q4_k_m"``.
        bits_per_weight: nominal bits per quantised weight, scales included; formats of different engines are
            comparable by it.
        summary: what is quantised and how, one line.
    """

    name: str
    bits_per_weight: float
    summary: str


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model as the user named it, found on disk.

    Attributes:
        name: the user's name for it: ``tiny:target``, a Hub id or a path.
        path: a Hugging Face folder, or an engine's own file or folder (such as a ``.gguf``).
        content_hash: SHA-256 over names and contents of the files that define the model, hex.
        architecture: ``architectures[0]`` of ``config.json``; None where there is no such file.
        companions: the model that the cell's backend uses besides, by the backend's name (``{"dflash": ...}``).
    """

    name: str
    path: Path
    content_hash: str
    architecture: str | None = None
    companions: Mapping[str, ResolvedModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """What ``prepare`` leaves for ``load``.

    Attributes:
        path: file or folder that the engine opens.
        format: the file format, e.g. ``"safetensors"`` or ``"gguf"``.
        weight_bytes: bytes of all weights as stored; None where unknown before loading.
        bits_per_weight: measured bits per weight, scales included.
        source: the model it was made from.
        quantisation: the quantisation's name.
        companions: prepared companions, by backend.
        notes: what a reader of the result must know, e.g. a documented fallback of the engine.
    """

    path: Path
    format: str
    weight_bytes: int | None
    bits_per_weight: float | None
    source: ResolvedModel
    quantisation: str
    companions: Mapping[str, PreparedModel] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the engine says of the model that it has loaded.

    Attributes:
        parameters: number of parameters, tied ones counted once.
        weight_bytes: bytes the weights occupy in the engine; 0 where there are none.
        context_length: longest sequence in tokens.
        vocabulary_size: rows of the output layer.
        stop_token_ids: ids that end a generation; empty where the model folder says it.
        settings: what the engine chose by itself and a reader must know (``{"extra_buffers": "off"}``).
        read_weight_bytes: weight bytes that one forward of one token reads: all but tables that are only gathered
            from, such as an input embedding that is not the output layer too, and but idle experts.
        kv_bytes_per_token: bytes that one position occupies in the KV cache over all layers; None where a layer does
            not read every position, as with a sliding window.
    """

    parameters: int
    weight_bytes: int
    context_length: int
    vocabulary_size: int
    stop_token_ids: tuple[int, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    read_weight_bytes: int | None = None
    kv_bytes_per_token: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to continue.

    Attributes:
        prompt_ids: the prompt's token ids, special tokens included.
        max_new_tokens: at most so many tokens are committed.
        temperature: 0 is greedy: the id of the largest logit, the smallest id on a tie. Otherwise logits are divided
            by it first; then ``top_k`` and ``top_p`` are applied in that order.
        top_p: nucleus mass, 1 keeps everything.
        top_k: keep the k most likely ids, 0 keeps all.
        seed: seed of the sampler, for this request alone.
        stop_token_ids: generation ends with the first of these, which is committed itself.
        ignore_eos: go on to ``max_new_tokens`` whatever comes.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False

    def is_stop(self, token_id: int) -> bool:
        """Whether ``token_id`` ends the generation."""
        return not self.ignore_eos and token_id in self.stop_token_ids


@dataclass(slots=True)
class Step:
    """One commit of tokens. Cheap to build; only what applies is set.

    Attributes:
        token_ids: ids committed now, in order of position.
        row: index of the request in the batch.
        block_size: positions that this cycle could commit.
        drafted: draft tokens proposed to the verifier in this cycle.
        accepted: how many of them were accepted.
        discarded: draft tokens that were thrown away without having been verified.
        candidates: alternative continuations verified in this cycle.
        forwards: evaluations of the (target) model behind this step.
        draft_s: the engine's own time for drafting, in seconds.
        verify_s: the engine's own time for verifying, in seconds.
        wire_s: time that a verifier elsewhere was waited for beyond its own ``verify_s``, in seconds.
        enqueue_s: time until the engine's call returned, before the device was synchronised, in seconds.
        engine_s: the engine's own clock for this step, in seconds; recorded beside the runner's, never instead.
        bytes_read: bytes that the engine says it moved for this step.
        positions: where in the output the ids landed, from 0, for a decoder that does not go from left to right. A
            row that gives them may commit beyond its stop token or limit: what lies there is not counted.
        trace: what else a reader of this decoder's log wants to know of the step, by its own names; plain JSON.
    """

    token_ids: Sequence[int]
    row: int = 0
    block_size: int | None = None
    drafted: int | None = None
    accepted: int | None = None
    discarded: int | None = None
    candidates: int | None = None
    forwards: int | None = None
    draft_s: float | None = None
    verify_s: float | None = None
    wire_s: float | None = None
    enqueue_s: float | None = None
    engine_s: float | None = None
    bytes_read: int | None = None
    positions: Sequence[int] | None = None
    trace: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities of a given sequence of T tokens under the model, natural logarithm.

    Attributes:
        logprobs: [T] log-probability of each token given those before it; the first has none and is NaN.
        is_greedy: [T] whether the token was the most likely one; False for the first.
        top_ids: [T][k] the k most likely ids per position, most likely first; empty for the first or at k = 0.
        top_logprobs: [T][k] their log-probabilities.
    """

    logprobs: Sequence[float]
    is_greedy: Sequence[bool]
    top_ids: Sequence[Sequence[int]] = ()
    top_logprobs: Sequence[Sequence[float]] = ()


class Backend(ABC):
    """One inference engine or decoder. Sub-classes state the class variables and implement what is abstract."""

    name: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[Kind]
    supports: ClassVar[frozenset[Capability]] = frozenset()
    max_batch_size: ClassVar[int] = 1
    first_step_is_prefill: ClassVar[bool] = False
    """Whether the first step of a row holds the prefill and one token and nothing more (allows prefill rates)."""
    is_reference: ClassVar[bool] = False
    """Whether other backends with the same weights are held against this one where nothing else is said."""
    companion_option: ClassVar[str | None] = None
    """Name of the option that names a second model, such as a draft; the host resolves it into ``companions``."""
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

    def score_continuation(self, prompt_ids: Sequence[int], continuation_ids: Sequence[int]) -> Scores:
        """Score the ids of a continuation given its prompt, each of which has at least one.

        The default scores the whole sequence. Override it where the prompt's own positions would cost extra, or where
        the decoder's authors score a choice in another way.
        """
        scores = self.score([*prompt_ids, *continuation_ids])
        start = len(prompt_ids)
        return Scores(scores.logprobs[start:], scores.is_greedy[start:])

    def encode(self, text: str) -> list[int]:
        """Tokenise; only called when ``supports`` holds ``"tokenizer"`` and the model folder has none of its own."""
        raise PermissionError(f"backend {self.name!r} does not declare 'tokenizer'")

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text; the inverse of ``encode``."""
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
