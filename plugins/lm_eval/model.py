"""The harness's model `decodebench`: one backend, in a process of its own."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from ... import UsageError, open_backend
from ...core.records.schema import Sampling
from ...core.records.serving import ServeRequest
from ...core.sdk.chat.template import ChatTemplate

NAME = "decodebench"
_LOG = logging.getLogger("lm_eval")  # whose lines the harness shows
_SCORED_TOGETHER = 16  # requests between two entries of the cache and two steps of the progress bar


class DecodebenchLM(LM):  # type: ignore[misc]  # the harness states no types
    """Any backend of decodebench as a model of the harness.

    Args:
        backend: its name.
        model: a named model, a path or a Hub id.
        quantisation: weight format in the backend's words; its first one by default.
        device: ``cpu``, ``cuda:0``, ...
        batch_size: texts generated together.
        options: every other model argument is an option of the backend.

    Raises:
        UsageError: a name or an option is wrong.
        BackendError: the model cannot be prepared or loaded.
    """

    def __init__(
        self,
        backend: str = "",
        model: str = "",
        quantisation: str | None = None,
        device: str | None = None,
        batch_size: int | str | None = None,
        **options: Any,  # noqa: ANN401 - typed by the backend's own options
    ) -> None:
        super().__init__()
        if not backend or not model:
            raise UsageError(
                "--model_args: write backend=NAME,model=NAME, and options of the backend behind them", code="bad-value"
            )
        size = 1 if batch_size is None else batch_size
        if not str(size).isdecimal():
            raise UsageError(f"--batch_size {size}: give a number", code="bad-value")
        self._batch_size = int(size)
        self._opened = open_backend(
            backend, model, quantisation=quantisation, device=device, batch_size=int(size), options=options
        )
        self._is_chat = False
        self._seeds = itertools.count()  # each batch draws anew, also where one context is asked for again

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> DecodebenchLM:
        """Open the model that ``--model_args`` names.

        Of the harness's own flags ``--batch_size`` counts; ``--device`` has a GPU for its default, so that the device
        stands among the model arguments.
        """
        size = (additional_config or {}).get("batch_size")
        arguments: dict[str, Any] = {"batch_size": size} | arg_dict
        return cls(**arguments)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return log-probability and whether greedy decoding gives it, for each (context, continuation)."""
        self._needs_scores()

        def ask(batch: Sequence[Instance]) -> list[Any]:
            contexts, continuations = zip(*(request.args for request in batch), strict=True)
            asked = {"prompts": contexts, "continuations": continuations, "is_rendered": self._is_chat}
            return [(float(value), bool(greedy)) for value, greedy in self._ask("score", **asked)]

        return list(
            self._answers("loglikelihood", _together(requests, _SCORED_TOGETHER), ask, len(requests), disable_tqdm)
        )

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each whole text; one longer than the context is scored in windows."""
        self._needs_scores()

        def ask(batch: Sequence[Instance]) -> list[Any]:
            return [float(value) for value in self._ask("rolling", prompts=tuple(request.args[0] for request in batch))]

        return list(self._answers("loglikelihood_rolling", _together(requests, 1), ask, len(requests), disable_tqdm))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the text that follows each context, up to its first stop string or its limit."""
        size = min(self._batch_size, self._opened.backend.max_batch_size)

        def ask(batch: Sequence[Instance]) -> list[Any]:
            settings = normalize_gen_kwargs(batch[0].args[1])
            prompts = tuple(request.args[0] for request in batch)
            temperature = settings["temperature"] if settings["do_sample"] else 0.0
            return self._ask(
                "generate",
                prompts=prompts,
                is_rendered=self._is_chat,
                max_new_tokens=settings["max_gen_toks"],
                stop=tuple(text for text in settings["until"] if text),
                sampling=Sampling(
                    temperature=temperature,
                    top_p=settings.get("top_p", 1.0),
                    top_k=settings.get("top_k", 0),
                    seed=next(self._seeds) * size,
                ),
            )

        alike = itertools.groupby(requests, key=lambda request: request.args[1])  # a batch has one limit
        batches = itertools.chain.from_iterable(_together(list(group), size) for _, group in alike)
        return list(self._answers("generate_until", batches, ask, len(requests), disable_tqdm))

    def _answers(
        self,
        kind: str,
        batches: Iterable[Sequence[Instance]],
        ask: Callable[[Sequence[Instance]], list[Any]],
        total: int,
        disable_tqdm: bool,
    ) -> Iterator[Any]:
        """Ask batch by batch; what is answered is cached at once, so that an interrupted run loses no more than one."""
        with tqdm(total=total, disable=disable_tqdm, desc=f"{self._opened.backend.name}: {kind}") as bar:
            for batch in batches:
                for request, answer in zip(batch, ask(batch), strict=True):
                    self.cache_hook.add_partial(kind, request.args, answer)
                    yield answer
                bar.update(len(batch))

    def _ask(self, kind: Literal["score", "rolling", "generate"], **asked: Any) -> list[Any]:  # noqa: ANN401
        before = self._opened.clipped
        values = self._opened.ask(ServeRequest(kind=kind, **asked))
        if self._opened.clipped > before:
            held = self._opened.context_length
            _LOG.warning("%d prompts so far lost their beginning: the context holds %d", self._opened.clipped, held)
        return values

    def _needs_scores(self) -> None:
        if "score" not in self._opened.backend.supports:
            raise UsageError(
                f"backend {self._opened.backend.name!r} gives no log-probabilities, which this task compares",
                code="not-supported",
            )

    def close(self) -> None:
        """End the backend's process; it ends by itself with this one."""
        self._opened.close()

    @property
    def tokenizer_name(self) -> str:
        """What stands for tokenizer and template in the harness's request cache."""
        return f"{NAME}-{self._opened.model.content_hash[:16]}"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render turns with the model's own template."""
        turns = [(turn["role"], turn["content"]) for turn in chat_history]
        return self._template.render(turns, asks_for_answer=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the model's template where one is to be applied; texts are then encoded as they are."""
        self._is_chat = bool(chat_template)
        return self._template.source if self._is_chat else ""

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate.read(self._opened.model.path)

    def get_model_info(self) -> Mapping[str, Any]:
        """Return what the harness's result file tells of the model."""
        return {
            "decodebench_backend": self._opened.backend.name,
            "prompts_clipped": self._opened.clipped,
            "backend_version": self._opened.backend.probe().version,
            "model_dtype": self._opened.quantisation,
            "model_sha": self._opened.model.content_hash,
        }


def _together(requests: Sequence[Instance], size: int) -> Iterator[Sequence[Instance]]:
    return (requests[start : start + size] for start in range(0, len(requests), size))
