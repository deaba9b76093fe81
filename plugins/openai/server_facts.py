"""What a server says of itself: which family it is of, its model, its context and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import BackendError
from .dialects.completions import Completions, count
from .dialects.dialect import Dialect
from .dialects.llama_server import LlamaServer
from .dialects.ollama import Ollama
from .dialects.sglang import Sglang
from .dialects.vllm import Vllm
from .transport import Transport

DIALECTS: Mapping[str, type[Dialect]] = {
    dialect.name: dialect for dialect in (Completions, Vllm, LlamaServer, Sglang, Ollama)
}
_OWNERS = {"vllm": "vllm", "llamacpp": "llama-server", "sglang": "sglang", "library": "ollama"}
"""Families by what ``/v1/models`` says who owns a model."""

_NOT_NOW = (429, 500, 502, 503, 504)
"""Answers from which nothing of a server can be learned; later it may say more."""

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server.

    Attributes:
        api: its family.
        model: its name for the model; None where it lists none and requests need none.
        version: of its engine.
        context_length: longest sequence in tokens.
        vocabulary_size: number of token ids, as llama-server tells it.
    """

    api: str
    model: str | None
    version: str | None
    context_length: int | None
    vocabulary_size: int | None = None


async def look(transport: Transport, api: str, model: str | None) -> ServerFacts:
    """Ask a server what it is.

    Args:
        transport: to it.
        api: its family, or ``"auto"``.
        model: its name for the model, where the user gave one.

    Raises:
        BackendError: there is no answer, access is denied, or it is not clear which of its models is meant.
    """
    status, listed = await transport.get("/v1/models")
    if status in (401, 403):
        raise BackendError(
            f"{transport.url} denies access (HTTP {status}): name the variable with its key in api_key_env",
            code="missing-flag",
        )
    if status in _NOT_NOW and (api == "auto" or model is None):
        raise BackendError(
            f"{transport.url}/v1/models: HTTP {status}{': ' if listed else ''}{transport.clean(str(listed))[:_SHOWN]}; "
            "is the server still loading its model?",
            code="server-error",
        )
    entries = _entries(listed) if status == 200 else []
    owner = str(entries[0].get("owned_by")) if entries else ""
    family = _OWNERS.get(owner, "completions") if api == "auto" else api
    chosen = _chosen(transport, entries, model)
    about = await _details(transport, family)
    held = next((entry for entry in entries if entry.get("id") == chosen), {})
    context = count(held.get("max_model_len")) or about.context_length
    meta = held.get("meta")
    vocabulary_size = count(meta.get("n_vocab")) if isinstance(meta, Mapping) else None
    return ServerFacts(family, chosen, about.version, context, vocabulary_size)


def _entries(listed: object) -> list[Mapping[str, Any]]:
    data = listed.get("data") if isinstance(listed, Mapping) else None
    return [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []


def _chosen(transport: Transport, entries: Sequence[Mapping[str, Any]], model: str | None) -> str | None:
    names = list(dict.fromkeys(str(entry["id"]) for entry in entries if entry.get("id") is not None))
    if model is not None:  # which need not be among those listed: servers have aliases
        return model
    if len(names) > 1:
        raise BackendError(
            f"{transport.url} lists several models: set served_model to one of {', '.join(names)}", code="missing-flag"
        )
    return names[0] if names else None


async def _details(transport: Transport, family: str) -> ServerFacts:
    """Return version and context as far as a family tells them."""
    paths = {"vllm": "/version", "llama-server": "/props", "sglang": "/get_server_info", "ollama": "/api/version"}
    if family not in paths:
        return ServerFacts(family, None, None, None)
    status, found = await transport.get(paths[family])
    found = found if status == 200 and isinstance(found, Mapping) else {}
    version = found.get("build_info") if family == "llama-server" else found.get("version")
    settings = found.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, Mapping) else found.get("context_length")
    return ServerFacts(family, None, None if version is None else str(version), count(context))


async def encode(transport: Transport, facts: ServerFacts, text: str, *, adds_special: bool) -> list[int] | None:
    """Return the ids of a text by the server's tokenizer; None where it does not offer that."""
    if facts.api == "vllm":
        body = {"model": facts.model, "prompt": text, "add_special_tokens": adds_special}
    elif facts.api == "llama-server":
        body = {"content": text, "add_special": adds_special, "parse_special": True}
    else:
        return None
    status, found = await transport.post("/tokenize", body)
    ids = found.get("tokens") if status == 200 and isinstance(found, Mapping) else None
    return [int(token) for token in ids] if isinstance(ids, list) else None


async def decode(transport: Transport, facts: ServerFacts, ids: Sequence[int]) -> str | None:
    """Return the text of ids by the server's tokenizer; None where it does not offer that."""
    if facts.api not in ("vllm", "llama-server"):
        return None
    body: dict[str, Any] = {"tokens": list(ids), **({"model": facts.model} if facts.api == "vllm" else {})}
    status, found = await transport.post("/detokenize", body)
    text = found.get("prompt" if facts.api == "vllm" else "content") if isinstance(found, Mapping) else None
    return str(text) if status == 200 and text is not None else None
