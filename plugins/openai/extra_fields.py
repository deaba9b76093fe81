"""Fields of the user's own in a request's body, beside those that the workload and the dialect state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ...core.contract.generation import Request
from .dialects.dialect import Asked, Dialect

_OF_THE_HOST = frozenset(
    "model prompt prompts prompt_token_ids prompt_embeds input inputs input_ids input_embeds input_extra text messages "
    "system template context images suffix raw echo stream stream_options temperature top_p seed sampling_seed "
    "random_seed max_tokens max_completion_tokens max_new_tokens max_length n_predict num_predict stop stop_token_ids "
    "stop_sequences stop_strings stop_regex n n_cmpl best_of num_return_sequences num_beams beam_width use_beam_search "
    "parallel_sample_num".split()
)
"""What a cell's workload says, by the names of all families: a server may know some that its dialect does not send."""
_OBJECTS = ("options", "sampling_params", "parameters", "generation_config")
"""Where families have them, in an object of their own."""


def fault_of(extra: Mapping[str, Any], dialect: Dialect | None, *, avoids_cache: bool) -> str | None:
    """Say which fields would change what a cell is recorded as; None where there are none.

    Args:
        extra: the user's fields.
        dialect: the server's family; None where it is not known yet.
        avoids_cache: whether prompts must be computed anew.
    """
    stated: Mapping[str, Any] = {}
    if dialect is not None:
        avoids = avoids_cache and dialect.can_avoid_cache
        stated = dialect.body(Asked(Request((0,), 1), "", None, avoids))
    owned = list(_owned(extra, stated, _OF_THE_HOST | set(_names(stated))))
    if not owned:
        return None
    return (
        f"extra_body may not have {', '.join(owned)}: each request states that already, as the workload says "
        "(--temperature, --max-new-tokens, ...)"
    )


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with further fields, those of an object in it beside its own."""
    return {
        **body,
        **{name: merged(body[name], value) if _is_both(body, name, value) else value for name, value in extra.items()},
    }


def _owned(extra: Mapping[str, Any], stated: Mapping[str, Any], owned: Collection[str]) -> Iterator[str]:
    for name, value in extra.items():
        if isinstance(value, Mapping) and (name.lower() in _OBJECTS or _is_both(stated, name, value)):
            inner = stated.get(name)
            yield from (f"{name}.{one}" for one in _owned(value, inner if isinstance(inner, Mapping) else {}, owned))
        elif name.lower() in owned:  # Ollama reads names in any case
            yield name


def _names(body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        yield name
        if isinstance(value, Mapping):
            yield from _names(value)


def _is_both(body: Mapping[str, Any], name: str, value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(body.get(name), Mapping)
