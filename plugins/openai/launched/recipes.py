"""How servers are started: what is known of some of them, and what the user's config file says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Formatter
from typing import Any, Literal, get_args

from .... import UsageError, unknown_name, user_table
from ....core.sdk.secrets import first_secret
from ..options import ApiName

TABLE = "servers"
PLACES = ("python", "model", "name", "host", "port", "threads")
"""What a command may have in braces: this interpreter, the model's path, its name, where to listen, threads."""

WeightFormat = Literal["safetensors", "gguf"]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TAKEN = ("openai",)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of server is started.

    Attributes:
        name: of the backend.
        command: program and arguments, as a shell has them, with ``PLACES`` in braces.
        ready: path that answers with status 200 once requests can come.
        api: how it is asked.
        weights: the format of model that it opens.
        served_model: its name for the model; None: the only one that it lists.
        float_args: arguments with which it takes weights in a float format, which stands at {dtype}; None: unknown.
    """

    name: str
    command: str
    ready: str = "/health"
    api: ApiName = "completions"
    weights: WeightFormat = "safetensors"
    served_model: str | None = None
    float_args: str | None = None


KNOWN = (
    Recipe(
        "vllm",
        "vllm serve {model} --served-model-name {name} --host {host} --port {port} --enable-prompt-tokens-details",
        api="vllm",
        float_args="--dtype {dtype}",
    ),
    Recipe(
        "llama-server",
        "llama-server --model {model} --alias {name} --host {host} --port {port} --threads {threads}",
        api="llama-server",
        weights="gguf",
    ),
    Recipe(
        "mlx-server",
        "{python} -m mlx_lm.server --model {model} --host {host} --port {port}",
        served_model="default_model",
    ),
)


def recipes() -> Sequence[Recipe]:
    """Return the known servers as the user's config file changes them, and the user's own.

    Raises:
        UsageError: a table ``[servers.NAME]`` is not as it should be; names the key.
    """
    found = {recipe.name: recipe for recipe in KNOWN}
    for name, table in user_table(TABLE).items():
        found[name] = _configured(name, table, found.get(name))
    return list(found.values())


def _configured(name: str, table: object, known: Recipe | None) -> Recipe:
    where = f"[{TABLE}.{name}] of the config file"
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise UsageError(
            f"{where}: {name!r} must be of small letters, digits, - and _, and not {' or '.join(_TAKEN)}",
            code="bad-value",
        )
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: must be a table with a command", code="bad-value")
    changes = dict(_checked(where, table))
    if known is not None:
        return replace(known, **changes)
    if "command" not in changes:
        raise UsageError(
            f'{where}: command is missing, such as "my-server --model {{model}} --port {{port}}"', code="bad-value"
        )
    return Recipe(name, **changes)


def _checked(where: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    keys = ("command", "ready", "api", "weights", "served_model")
    choices = {"api": get_args(ApiName), "weights": get_args(WeightFormat)}
    for key, value in table.items():
        if key not in keys:
            raise UsageError(f"{where}: {unknown_name('key', key, keys)}", code="unknown-name")
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{where}: {key} = {value!r}: must be a text", code="bad-value")
        if value not in choices.get(key, (value,)):
            raise UsageError(f"{where}: {unknown_name(key, value, choices[key])}", code="unknown-name")
        if key == "ready" and not value.startswith("/"):
            raise UsageError(f'{where}: ready = {value!r}: must be a path, such as "/health"', code="bad-value")
        if key == "command" and (fault := fault_of(value)):
            raise UsageError(f"{where}: command: {fault}", code="bad-value")
        yield key, value


def fault_of(command: str) -> str | None:
    """Say why a command cannot be used; None where it can."""
    import shlex

    try:
        words, places = shlex.split(command), [place for _, place, _, _ in Formatter().parse(command)]
    except ValueError as error:
        return str(error)
    unknown = [place for place in places if place is not None and place not in PLACES]
    if unknown:
        return f"{{{unknown[0]}}} is not known; known: {', '.join(f'{{{place}}}' for place in PLACES)}"
    if not words:
        return "it is empty"
    if "port" not in places:
        return "it must have {port}, where the server listens"
    secret = first_secret([*words, "what args begin with"])
    return f"{secret} would be recorded: give secrets to the server by its environment" if secret else None
