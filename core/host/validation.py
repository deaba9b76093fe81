"""Options and plans checked, with errors worded for people, and what options say of an experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, JsonValue, ValidationError

from ..contract.backend import Backend
from ..contract.options import BackendOptions
from ..errors import UsageError
from ..records.workload import LATER


def validate_options(backend: type[Backend], options: Mapping[str, JsonValue]) -> BackendOptions:
    """Validate options against the backend's model; raises ``UsageError`` naming backend, option and value."""
    try:
        return backend.Options.model_validate(options)
    except ValidationError as error:
        raise refusal(error, f"options of backend {backend.name!r}", backend.Options) from error


def refusal(error: ValidationError, source: str, model: type[BaseModel]) -> UsageError:
    """Return a validation error as one for people, with the key of its first problem among its fields."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    text = describe(error, source, model)
    if first["type"] == "extra_forbidden":
        return UsageError(text, code="unknown-name", kind="key", name=key)
    return UsageError(text, code="bad-value", key=key)


def describe(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """Word the first two problems of a validation error for people, one line each."""
    return "\n".join(f"{source}: {_problem(dict(entry), model)}" for entry in error.errors()[:2])


def _problem(entry: Mapping[str, Any], model: type[BaseModel]) -> str:
    path = entry["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if entry["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        near = get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key!r}; {hint}known: {', '.join(known)}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] in ("missing", "value_error") or not key:
        return f"{key}: {message}" if key else message
    return f"{key} = {entry['input']!r}: {message[0].lower()}{message[1:]}"


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the field names of the model that ``path`` leads to."""
    current = model
    for part in path:
        if isinstance(part, str):
            current = next(_models_in(current.model_fields[part].annotation))
    return sorted(field.alias or name for name, field in current.model_fields.items())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - whatever a field is annotated with
    """Yield the models that an annotation holds, such as the one in ``list[Model]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def options_identity(options: BackendOptions) -> dict[str, JsonValue]:
    """Return options as JSON, those that came later (``LATER``) only where they are not at their default."""
    fields = type(options).model_fields
    changed = options.model_dump(mode="json", exclude_defaults=True)
    return {
        name: value
        for name, value in options.model_dump(mode="json").items()
        if name in changed or fields[name].json_schema_extra != LATER
    }
