"""vLLM's ``/v1/completions``: OpenAI's, with token ids both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from .completions import Completions, first_choice
from .dialect import Asked, Event, Part, salt


class Vllm(Completions):
    """A vLLM server, 0.10.2 or later: earlier ones return no token ids."""

    name: ClassVar[str] = "vllm"
    has_ids: ClassVar[bool] = True
    can_avoid_cache: ClassVar[bool] = True
    has_top_k: ClassVar[bool] = True

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return the body: its own end token is ignored, and those of the request end the answer.

        What is not stated comes from the model's ``generation_config.json``.
        """
        request = asked.request
        return {
            **super().body(asked),
            "prompt": list(request.prompt_ids),
            "top_k": request.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "ignore_eos": True,
            "stop_token_ids": [] if request.ignore_eos else list(request.stop_token_ids),
            "return_token_ids": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            **({"cache_salt": salt()} if asked.avoids_cache else {}),
        }

    def part(self, event: Event, before: int) -> Part:
        """Read an event with the ids that are new in it."""
        choice = first_choice(event)
        return self.read(event, choice, choice.get("token_ids") or ())
