"""OpenAI's ``/v1/completions`` as every compatible server has it: text in, text out.

Only fields of OpenAI's own are sent, since some servers refuse others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .... import SampleError
from .dialect import Asked, Dialect, Event, Finish, Part, check_is_first, error_of, figures_of, text_elsewhere

_FINISH: Mapping[str, Finish] = {"stop": "stop", "length": "length", "eos": "stop"}


class Completions(Dialect):
    """A server of which nothing more is known."""

    name: ClassVar[str] = "completions"
    path: ClassVar[str] = "/v1/completions"
    has_ids: ClassVar[bool] = False
    can_avoid_cache: ClassVar[bool] = False
    has_top_k: ClassVar[bool] = False

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return OpenAI's fields; a server that knows no ``stream_options`` ignores them."""
        request = asked.request
        return {
            "model": asked.model,
            "prompt": asked.text,
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def part(self, event: Event, before: int) -> Part:
        """Read text, the reason of the end, and usage."""
        return self.read(event, first_choice(event), None)

    def read(self, event: Event, choice: Mapping[str, Any], ids: Sequence[int] | None) -> Part:
        """Return an event as a part, with the ids that a family of servers has in its choice."""
        usage = event.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        text = str(choice.get("text") or "")
        return Part(
            ids=ids,
            text=text,
            elsewhere=None if text else text_elsewhere(choice, choice.get("delta"), choice.get("message")),
            tokens=count(usage.get("completion_tokens")),
            finish=finish_of(choice.get("finish_reason")),
            figures=usage_figures(usage),
            error=error_of(event),
        )


def first_choice(event: Event) -> Mapping[str, Any]:
    """Return the one choice that was asked for; empty in an event that has none, such as that with the usage.

    Raises:
        SampleError: there is another one.
    """
    choices = event.get("choices")
    found = [one for one in choices if isinstance(one, Mapping)] if isinstance(choices, list) else []
    for choice in found:
        check_is_first(choice)
    if len(found) > 1:
        raise SampleError(f"an event has {len(found)} choices: one answer was asked for", code="answer-invalid")
    return found[0] if found else {}


def finish_of(reason: object) -> Finish | None:
    """Return why an answer ended; an unknown reason counts as a stop, since the server wanted no more.

    TGI gives an empty text while an answer goes on.
    """
    return _FINISH.get(str(reason), "stop") if reason else None


def count(value: object) -> int | None:
    """Return a count as it came; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage_figures(usage: Mapping[str, Any]) -> dict[str, float]:
    """Return what the field ``usage`` says, in our names."""
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return figures_of(
        server_prompt_tokens=usage.get("prompt_tokens"),
        server_output_tokens=usage.get("completion_tokens"),
        server_cached_tokens=cached,
    )
