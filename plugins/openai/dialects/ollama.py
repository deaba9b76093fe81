"""Ollama's own ``/api/generate``: text, a line of JSON for each piece, and the engine's own times."""

from __future__ import annotations

from typing import Any, ClassVar

from .completions import count, finish_of
from .dialect import Asked, Dialect, Event, Part, error_of, figures_of, text_elsewhere


class Ollama(Dialect):
    """An Ollama server; ``raw`` leaves the prompt as it is, without the model's template."""

    name: ClassVar[str] = "ollama"
    path: ClassVar[str] = "/api/generate"
    has_ids: ClassVar[bool] = False
    can_avoid_cache: ClassVar[bool] = False
    is_event_stream: ClassVar[bool] = False
    finish_is_last: ClassVar[bool] = True

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return the body."""
        request = asked.request
        return {
            "model": asked.model,
            "prompt": asked.text,
            "raw": True,
            "stream": True,
            "options": {
                "num_predict": request.max_new_tokens,
                "temperature": request.temperature,
                "top_p": request.top_p,
                "top_k": request.top_k,
                "min_p": 0.0,
                "repeat_penalty": 1.0,
                "seed": request.seed,
            },
        }

    def part(self, event: Event, before: int) -> Part:
        """Read a line; the last one has the counts, and times in nanoseconds."""
        nanoseconds = figures_of(
            server_load_s=event.get("load_duration"),
            server_prefill_s=event.get("prompt_eval_duration"),
            server_decode_s=event.get("eval_duration"),
        )
        counts = figures_of(
            server_prompt_tokens=event.get("prompt_eval_count"), server_output_tokens=event.get("eval_count")
        )
        text = str(event.get("response") or "")
        return Part(
            text=text,
            elsewhere=None if text else text_elsewhere(event, event.get("message")),
            tokens=count(event.get("eval_count")),
            finish=finish_of(event.get("done_reason") or "stop") if event.get("done") is True else None,
            figures={**counts, **{name: value / 1e9 for name, value in nanoseconds.items()}},
            error=error_of(event),
        )
