"""Fields of numbers, which take no truth value: ``true`` is 1 to pydantic, and a misplaced one would be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel


def refuse_truth_values(model: type[BaseModel], content: object) -> None:
    """Raise ``ValueError`` where content gives a field of numbers ``true`` or ``false``, also within a list."""
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if name in model.model_fields and _has_truth_value(value) and _is_numeric(model, name):
            raise ValueError(f"{name} = {value!r}: must be a number, not a truth value")


def _has_truth_value(value: object) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return any(map(_has_truth_value, value))
    return isinstance(value, bool)


@cache
def _is_numeric(model: type[BaseModel], name: str) -> bool:
    kinds = list(_kinds_in(model.model_fields[name].annotation))
    return any(kind is int or kind is float for kind in kinds) and not any(kind is bool for kind in kinds)


def _kinds_in(annotation: Any) -> Iterable[object]:  # noqa: ANN401 - whatever a field is annotated with
    inner = get_args(annotation)
    return [kind for each in inner for kind in _kinds_in(each)] if inner else [annotation]
