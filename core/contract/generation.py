"""What a backend is asked to generate and to score, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from ..records.engine_counters import EngineCounters
from ..records.step_figures import StepFigures


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to continue.

    Attributes:
        prompt_ids: the prompt's token ids, special tokens included.
        max_new_tokens: at most this many tokens are committed.
        temperature: 0 is greedy: the id of the largest logit, the smallest id on a tie. Otherwise logits are divided
            by it first; then ``top_k`` and ``top_p`` are applied in that order.
        top_p: nucleus mass, 1 keeps everything.
        top_k: keep the k most likely ids, 0 keeps all.
        seed: seed of the sampler, for this request alone.
        stop_token_ids: generation ends with the first of these, which is committed itself.
        ignore_eos: continue to ``max_new_tokens`` in any case.
        row: what its steps name it by: its index in the batch, or its number in the stream.
        depth: this many of the first prompt ids are context, evaluated before the clock starts; above 0 only for a
            backend whose ``supports`` holds ``"depth"``, and for a request alone. The backend evaluates them, waits for
            the device and yields ``Step((), is_depth=True)``, at which the host starts its clock.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    row: int = 0
    depth: int = 0

    def is_stop(self, token_id: int) -> bool:
        """Whether ``token_id`` ends the generation."""
        return not self.ignore_eos and token_id in self.stop_token_ids


@dataclass(init=False, repr=False, eq=False, match_args=False)
class StepTokens:
    """What a step committed, and for which request.

    Attributes:
        token_ids: ids committed now, in order of position.
        row: ``Request.row`` of the request that they continue.
    """

    __slots__ = ()  # the values lie in ``Step``

    token_ids: Sequence[int]
    row: int = 0


@dataclass(slots=True)
class Step(StepFigures, StepTokens):
    """One commit of tokens. Cheap to build; only what applies is set.

    Attributes:
        positions: positions of the ids in the output, from 0, for a decoder that does not work from left to right. A
            row that gives them may commit beyond its stop token or limit: those tokens are not counted.
        trace: anything else about the step, under the decoder's own names; plain JSON.
        text: text committed now by an engine that gives no ids; ``token_ids`` is empty then. The host encodes the text
            of the whole row after the measurement, and marks the sample.
        text_tokens: how many tokens ``text`` is, where the engine counts them.
        finish: why the row ends with this step; only needed if its ids do not show it.
        failure: the request failed and why. The row ends; its sample is recorded as failed.
        failure_code: stable code of that reason, as a ``SampleError`` has it; None: ``sample-failed``.
        counters: what the engine counted of this request, on its last step; ``Backend.counters`` has that of the batch.
        is_depth: the context of ``Request.depth`` ids is there and nothing else has happened: the clock starts now.
    """

    positions: Sequence[int] | None = None
    trace: Mapping[str, JsonValue] | None = None
    text: str | None = None
    text_tokens: int | None = None
    finish: Literal["stop", "length"] | None = None
    failure: str | None = None
    failure_code: str | None = None
    counters: EngineCounters | None = None
    is_depth: bool = False


@dataclass(frozen=True, slots=True)
class Generated:
    """What one request produced, as the host has it.

    Attributes:
        number: of the request in this process, from 1; warm-ups count.
        request: the request.
        steps: what was committed, in time order; anything after a stop string is removed.
        duration_s: from the start of the batch to the row's last step, by the host's clock.
    """

    number: int
    request: Request
    steps: Sequence[Step]
    duration_s: float


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
