"""What a backend is asked to generate and to score, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from ..records.step_figures import StepFigures


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
class Step(StepFigures):
    """One commit of tokens. Cheap to build; only what applies is set.

    Attributes:
        token_ids: ids committed now, in order of position.
        row: index of the request in the batch.
        positions: where in the output the ids landed, from 0, for a decoder that does not go from left to right. A
            row that gives them may commit beyond its stop token or limit: what lies there is not counted.
        trace: what else a reader of this decoder's log wants to know of the step, by its own names; plain JSON.
    """

    token_ids: Sequence[int]
    row: int = 0
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
