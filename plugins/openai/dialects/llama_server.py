"""llama.cpp's own ``/completion``: token ids both ways, and the engine's own times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .completions import count
from .dialect import Asked, Dialect, Event, Finish, Part, check_is_first, error_of, figures_of

_FINISH: Mapping[str, Finish] = {"eos": "stop", "word": "stop", "limit": "length"}


class LlamaServer(Dialect):
    """A ``llama-server``."""

    name: ClassVar[str] = "llama-server"
    path: ClassVar[str] = "/completion"
    has_ids: ClassVar[bool] = True
    can_avoid_cache: ClassVar[bool] = True
    finish_is_last: ClassVar[bool] = True

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return the body: samplers in the order that ``Request`` states, and none of the others."""
        request = asked.request
        return {
            "prompt": list(request.prompt_ids),
            "n_predict": request.max_new_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "samplers": ["temperature", "top_k", "top_p"],
            "seed": request.seed,
            "ignore_eos": request.ignore_eos,
            "return_tokens": True,
            "cache_prompt": not asked.avoids_cache,
            "stream": True,
        }

    def part(self, event: Event, before: int) -> Part:
        """Read an event; the last one has no tokens, and the times of all of them."""
        check_is_first(event)
        ids = event.get("tokens")
        return Part(
            ids=ids if isinstance(ids, list) else (),
            text=str(event.get("content") or ""),
            tokens=count(event.get("tokens_predicted")),
            finish=_FINISH.get(str(event.get("stop_type")), "stop") if event.get("stop") is True else None,
            figures=_figures(event),
            error=error_of(event),
        )


def _figures(event: Event) -> dict[str, float]:
    timings = event.get("timings")
    timings = timings if isinstance(timings, Mapping) else {}
    counts = figures_of(
        server_prompt_tokens=event.get("tokens_evaluated"),
        server_output_tokens=event.get("tokens_predicted"),
        server_cached_tokens=timings.get("cache_n"),
        draft_tokens=count(timings.get("draft_n")),
        accepted_draft_tokens=count(timings.get("draft_n_accepted")),
    )
    milliseconds = figures_of(server_prefill_s=timings.get("prompt_ms"), server_decode_s=timings.get("predicted_ms"))
    return {**counts, **{name: value / 1e3 for name, value in milliseconds.items()}}
