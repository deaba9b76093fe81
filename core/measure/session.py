"""One life of a loaded backend: the job, the model's tokenizer, and the requests that are made of prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..contract.backend import Backend
from ..contract.generation import Generated, Request
from ..contract.model import ModelFacts
from ..errors import ModelError, PluginError
from ..isolation.processes.messages import Text
from ..records.engine_counters import EngineCounters
from ..records.schema import Sampling
from ..records.workload import Workload
from ..sdk.tokenizer import Codec
from .choices import Pair, encode_choices, encode_pair
from .job import ContinuationJob, LoadedJob, PromptJob
from .timed_loop import Batch, measure, measure_with_stop
from .wire import Wire


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as ids.

    Attributes:
        job: what was asked.
        text: of the prompt; None for random ids.
        ids: of the prompt.
        pairs: the prompt with each of its choices, where they are scored instead.
        limit: tokens that were asked for.
    """

    job: PromptJob
    text: str | None
    ids: Sequence[int]
    pairs: Sequence[Pair] = ()
    limit: int = 1


@dataclass(frozen=True)
class Session:
    """A backend with its model in memory.

    Attributes:
        job: what it is to do.
        wire: to the parent.
        backend: the instance.
        facts: what it says of the model.
        codec: the model's tokenizer.
        started_ns: when the process started, on the clock of the timed loop.
    """

    job: LoadedJob
    wire: Wire
    backend: Backend
    facts: ModelFacts
    codec: Codec
    started_ns: int

    @property
    def workload(self) -> Workload:
        """What the cell has to do."""
        return self.job.workload

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end a generation."""
        return tuple(sorted({*self.facts.stop_token_ids, *self.codec.stop_ids()}))

    def prompt(self, job: PromptJob) -> Prompt:
        """Encode a prompt, and its choices where it has some."""
        text, ids = self.encode(job)
        pairs = encode_choices(job, text or "", self.codec, is_rendered=self.workload.chat) if job.choices else ()
        return Prompt(job, text, ids, pairs, self._asked(job))

    def _asked(self, job: PromptJob) -> int:
        """Return the token limit of a prompt: its own, else the workload's, or the length of a text that is shorter."""
        limit = job.max_new_tokens or self.workload.token_limit
        if job.answer_like is None:
            return limit
        return min(limit, max(1, len(self.codec.encode_behind(job.answer_like))))

    def encode(self, prompt: PromptJob) -> tuple[str | None, list[int]]:
        """Return a prompt's text, None for random ids, and its ids."""
        if prompt.random_tokens is not None:
            chooser = random.Random(prompt.random_seed)
            limits = [size for size in (self.codec.plain_ids, self.facts.vocabulary_size) if size]
            if not limits:
                raise ModelError(
                    "random prompts need the size of the vocabulary, which neither engine nor tokenizer states; use "
                    "a task",
                    code="tokenizer-missing",
                )
            limit = min(limits)
            return None, [chooser.randrange(limit) for _ in range(prompt.random_tokens)]
        encode = self.codec.encode_behind if self.workload.chat else self.codec.encode
        return prompt.text, encode(prompt.text or "")

    def encode_continued(self, continuation: ContinuationJob) -> tuple[list[int], int]:
        """Return a prompt's ids with those of its continuation, and the index at which the continuation begins."""
        text, prompt_ids = self.encode(continuation.prompt)
        if continuation.text is None:
            return [*prompt_ids, *continuation.output_ids], len(prompt_ids)
        pair = encode_pair(self.codec, text or "", continuation.text, is_rendered=self.workload.chat)
        return [*pair.prompt_ids, *pair.continuation_ids], len(pair.prompt_ids)

    def check_room(self, prompts: Sequence[Prompt]) -> None:
        """Refuse, before anything is measured, prompts whose outputs may not be as long as was asked for.

        Raises:
            ModelError: a prompt is empty or fills the context, or leaves too little room where that is not allowed.
        """
        held = self.facts.context_length
        for prompt in prompts:
            if not prompt.ids or (held is not None and len(prompt.ids) >= held):
                room = "" if held is None else f"; the context holds {held}"
                raise ModelError(
                    f"{prompt.job.sample_id}: a prompt of {len(prompt.ids)} tokens{room}", code="context-exceeded"
                )
        if held is None:
            return
        clipped = [prompt for prompt in prompts if held - len(prompt.ids) < prompt.limit]
        if clipped and not self.workload.allow_clipped:
            longest = max(clipped, key=lambda prompt: len(prompt.ids) + prompt.limit)
            raise ModelError(
                f"{longest.job.sample_id}: {len(longest.ids)} tokens of prompt and {longest.limit} of output are more "
                f"than the context of {held} tokens holds, as for {len(clipped)} of {len(prompts)} prompts: ask for "
                f"at most {held - len(longest.ids)} new tokens, or allow shorter outputs with --allow-clipped",
                code="context-exceeded",
            )

    def limit(self, prompt: Prompt) -> int:
        """Return the token limit of a prompt's output: what was asked for, no more than the context has room for."""
        held = self.facts.context_length
        return prompt.limit if held is None else min(prompt.limit, held - len(prompt.ids))

    def request(self, prompt: Prompt, index: int) -> Request:
        """Return the request that a sample of the job makes."""
        made = self.sampled(prompt.ids, self.limit(prompt), self.workload.sampling(self.job.seed), index)
        return replace(made, ignore_eos=self.workload.ignore_eos, depth=prompt.job.depth)

    def sampled(self, ids: Sequence[int], max_new_tokens: int, sampling: Sampling, index: int) -> Request:
        """Return a request with a seed of its own, by its index in the round."""
        drawn = {**sampling.model_dump(), "seed": sampling.seed + index}
        return Request(tuple(ids), max_new_tokens, **drawn, stop_token_ids=self.stop_ids)

    def generate(self, requests: Sequence[Request], stop: Sequence[str]) -> Batch:
        """Generate one batch, measured."""
        if stop:
            return measure_with_stop(self.backend, requests, stop, self.codec.decode_behind, codec=self.codec)
        return measure(self.backend, requests, codec=self.codec)

    def engine_figures(self) -> dict[str, float]:
        """Return the engine's counters of the last batch as they are stored.

        Raises:
            PluginError: the backend broke its contract.
        """
        counters = self.backend.counters()
        if not isinstance(counters, EngineCounters):
            raise PluginError(
                f"backend {self.backend.name!r} broke its contract: counters() returned {type(counters).__name__}, "
                "not EngineCounters",
                code="contract-broken",
            )
        return counters.figures()

    def send_classic_log(self, batch: Sequence[Generated]) -> None:
        """Send what the engine's own tools would have logged of a batch."""
        if batch and (text := self.backend.classic_log(batch)):
            self.wire.send(Text.model_construct(text=text))
