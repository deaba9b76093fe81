"""SGLang's own ``/generate``: token ids both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .completions import count, finish_of
from .dialect import Asked, Dialect, Event, Part, check_is_first, error_of, figures_of, salt

_DRAFTED = ("spec_num_proposed_drafts", "spec_proposed_drafts", "spec_draft_token_num")
_ACCEPTED = ("spec_num_correct_drafts", "spec_accepted_drafts", "spec_accept_token_num")
"""What versions call drafted and accepted tokens, the newest first."""


class Sglang(Dialect):
    """An SGLang server."""

    name: ClassVar[str] = "sglang"
    path: ClassVar[str] = "/generate"
    has_ids: ClassVar[bool] = True
    can_avoid_cache: ClassVar[bool] = True

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return the body: its own end token is ignored, and those of the request end the answer."""
        request = asked.request
        return {
            "input_ids": list(request.prompt_ids),
            "sampling_params": {
                "max_new_tokens": request.max_new_tokens,
                "temperature": request.temperature,
                "top_p": request.top_p,
                "top_k": request.top_k or -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "sampling_seed": request.seed,
                "ignore_eos": True,
                "stop_token_ids": [] if request.ignore_eos else list(request.stop_token_ids),
            },
            "stream": True,
            **({"extra_key": salt()} if asked.avoids_cache else {}),
        }

    def part(self, event: Event, before: int) -> Part:
        """Read an event, whose ids are all of the answer's or, with ``--stream-output``, the new ones."""
        check_is_first(event)
        about = event.get("meta_info")
        about = about if isinstance(about, Mapping) else {}
        found, tokens = event.get("output_ids"), count(about.get("completion_tokens"))
        ids = found if isinstance(found, list) else []
        reason = about.get("finish_reason")
        return Part(
            ids=ids[before:] if len(ids) == tokens else ids,
            tokens=tokens,
            finish=finish_of(reason.get("type") if isinstance(reason, Mapping) else reason),
            figures=figures_of(
                speculation_rounds=count(about.get("spec_verify_ct")),
                draft_tokens=count(_first(about, _DRAFTED)),
                accepted_draft_tokens=count(_first(about, _ACCEPTED)),
                server_prompt_tokens=about.get("prompt_tokens"),
                server_output_tokens=tokens,
                server_cached_tokens=about.get("cached_tokens"),
                server_latency_s=about.get("e2e_latency"),
            ),
            error=error_of(event),
        )


def _first(about: Mapping[str, Any], names: Sequence[str]) -> object:
    """Return the first field that is there."""
    return next((about[name] for name in names if name in about), None)
