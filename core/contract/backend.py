"""The contract between the host and a decoder backend.

A backend is one class. The host creates one instance in a fresh process, calls ``load`` and ``warmup`` once,
``generate`` once per batch, ``close`` at the end, and takes every timestamp itself. A module that defines a backend
imports its engine only inside ``devices``, ``prepare``, ``load`` and what follows ``load``: never at import time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, get_args, get_origin

from ..records.engine_counters import EngineCounters
from .generation import Generated, Request, Scores, Step
from .model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from .options import BackendOptions, O
from .preflight import Capability as Capability
from .preflight import PlannedCell, Preflight
from .requirements import Availability, Requires
from .residence import Residence, RunningServer
from .stream import RequestSource

if TYPE_CHECKING:
    from ..cache import ModelCache

Kind = Literal["autoregressive", "speculative", "diffusion"]


class Backend(ABC, Generic[O]):
    """One inference engine or decoder. Sub-classes set the class variables and implement the abstract methods.

    ``class MyBackend(Backend[MyOptions])`` declares its options: every method gets them typed and validated
    (``O`` below).

    Attributes:
        name: what users type, e.g. ``"my-engine"``.
        summary: one line for listings.
        kind: how it decodes.
        supports: what it can do besides generating greedily.
        residence: where the engine runs, which decides whose memory and load time the host measures.
        max_batch_size: most requests that ``generate``, and ``stream`` if declared, take at once.
        first_step_is_prefill: whether the first step of a row is exactly the prefill and one token (allows prefill
            rates).
        is_reference: whether other backends with the same weights are compared with this one by default.
        companion_option: name of the option that names a second model, such as a draft; the host resolves it into
            ``companions``.
        threads_option: name of the option that says with how many CPU threads the engine computes; if the
            option is None or missing, the host decides, for all engines of an experiment alike.
        score_options: names of the options that ``score`` depends on, directly or through ``load``; the others have no
            effect in multiple-choice tasks. None: all.
        block_size_option: name of the option that sets the positions of a verify cycle (``Step.block_size``); figures
            put it on an axis.
        block_size_choosers: names of options that, away from their defaults, let the decoder choose the block size
            from cycle to cycle, so that a cell has none.
        requires: distributions that must be installed; None: none but the plugin's own.
        checks: name of a module with the author's own checks, made with ``decodebench.testing.check``; the
            conformance kit runs them after its own.
        Options: its options, a sub-class of ``BackendOptions`` with a pydantic field for each: default, limits,
            description. Taken from ``Backend[...]`` by default.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[Kind]
    supports: ClassVar[frozenset[Capability]] = frozenset()
    max_batch_size: ClassVar[int] = 1
    first_step_is_prefill: ClassVar[bool] = False
    is_reference: ClassVar[bool] = False
    companion_option: ClassVar[str | None] = None
    threads_option: ClassVar[str | None] = None
    score_options: ClassVar[frozenset[str] | None] = None
    block_size_option: ClassVar[str | None] = None
    block_size_choosers: ClassVar[frozenset[str]] = frozenset()
    requires: ClassVar[Requires | None] = None
    checks: ClassVar[str | None] = None
    residence: ClassVar[Residence] = "in-process"
    Options: ClassVar[type[BackendOptions]] = BackendOptions
    colour: ClassVar[str | None] = None
    """In figures, as ``#rrggbb``, with a contrast of at least 3 on white and on black; None: by the name's hash."""
    marker: ClassVar[str | None] = None
    """In figures, one of ``o s D ^ v P X``; None: by the name's hash."""

    server: RunningServer | None = None
    """The server that answers. The host sets it before ``load`` to what ``start_server`` returned, in this process or
    another; a remote backend sets it in ``load``."""

    def __init_subclass__(cls, **keywords: Any) -> None:  # noqa: ANN401 - those of other bases
        super().__init_subclass__(**keywords)
        if "Options" not in cls.__dict__ and (stated := _options_stated(cls)) is not None:
            cls.Options = stated

    @classmethod
    def probe(cls) -> Availability:
        """Say whether the engine is installed; reads package metadata, imports no engine, takes milliseconds.

        The default looks ``requires`` up. Override it for what package metadata cannot tell, such as a compiler.
        """
        return Availability(True) if cls.requires is None else cls.requires.availability()

    @classmethod
    @abstractmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """List the available weight formats; the first is the default."""

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List usable devices, best first; called in a throw-away process, so the engine may be imported.

        A device outside the list is refused before the rounds; a kind without a number, such as ``cuda``, stands for
        all of its numbers.
        """
        return ("cpu",)

    @classmethod
    def preflight(cls, cell: PlannedCell[O]) -> Preflight:
        """Look at a cell before anything is measured; reads configuration files, imports no engine.

        Raises:
            ModelError: the model, or its companion, cannot be used; names the file, the field and its value.
        """
        return Preflight()

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: O, cache: ModelCache
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

    def start_server(self, model: PreparedModel, device: str, options: O) -> RunningServer:
        """Start the server with its model and return once it answers; only called where it is an ``owned-server``.

        ``close`` of the same instance ends it with all its children. Another instance, in another process, may
        ``load`` and generate with it meanwhile: a server outlives rounds unless the user asks for fresh ones.

        Raises:
            ModelError: the model cannot be served.
            BackendError: the server ended or did not answer in time; gives its last output.
        """
        raise NotImplementedError(f"backend {self.name!r} declares an owned server and has no start_server")

    @abstractmethod
    def load(self, model: PreparedModel, device: str, options: O) -> ModelFacts:
        """Bring the model into memory, ready to generate.

        Raises:
            ModelError: the files are not what this backend can load.
            OutOfMemoryError: not enough host or device memory.
        """

    def warmup(self) -> Mapping[str, str]:
        """Compile and capture what the first generation would; called once after ``load`` and timed apart from it.

        Returns:
            The part of ``ModelFacts.settings`` that is decided only now.
        """
        return {}

    @abstractmethod
    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request of the batch, each from an empty cache.

        Each row's first step ends its prefill. The device is synchronised before a step is yielded. A row ends
        after its stop token or ``max_new_tokens``. Closing the iterator early leaves a usable backend.
        """

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Generate for requests as they become due; only called when ``supports`` holds ``"continuous"``.

        Rows are as in ``generate``: each from an empty cache, its first step ends its prefill, and it ends after its
        stop token, ``max_new_tokens`` or a step that says ``finish`` or ``failure``. A row that ends makes room for
        the next request at once. The iterator ends when ``source.ended`` and no row runs.

        Args:
            source: is polled for requests, by the rules that it states.
            max_in_flight: most rows that may run together, at most ``max_batch_size``.
        """
        raise NotImplementedError(f"backend {self.name!r} does not declare 'continuous'")

    def score(self, tokens: Sequence[int], top_k: int = 0) -> Scores:
        """Score a sequence; only called when ``supports`` holds ``"score"`` (``"score-top-k"`` for top_k > 0)."""
        raise NotImplementedError(f"backend {self.name!r} does not declare 'score'")

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
        raise NotImplementedError(f"backend {self.name!r} does not declare 'tokenizer'")

    def decode(self, ids: Sequence[int]) -> str:
        """Turn the ids of a text into the text, special tokens left out: the inverse of ``encode``."""
        raise NotImplementedError(f"backend {self.name!r} does not declare 'tokenizer'")

    def counters(self) -> EngineCounters:
        """Return what the engine has counted since the last call; called between batches, never inside one."""
        return EngineCounters()

    def classic_log(self, batch: Sequence[Generated]) -> str:
        """Return the generations in the log format of the engine's own tools.

        It is kept next to the raw log as ``.txt``. Called after a batch that did not fail; empty where there is no such
        format.

        Args:
            batch: what the batch committed, with the host's times; a backend need not keep its steps for it.
        """
        return ""

    def close(self) -> None:
        """Free the model's memory. Called once; nothing is called after it."""


def _options_stated(backend: type[Backend]) -> type[BackendOptions] | None:
    """Return the options that ``class MyBackend(Backend[MyOptions])`` names; None where it names none."""
    for base in backend.__dict__.get("__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Backend):
            (named,) = get_args(base)
            if isinstance(named, type) and issubclass(named, BackendOptions):
                return named
    return None
