"""The base of everything that is stored, and a check of what users write: pydantic takes ``true`` for the number 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all records: immutable, closed, self-describing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def refuse_truth_values(model: type[BaseModel], content: object) -> None:
    """Raise ``ValueError`` where content gives a field of numbers ``true`` or ``false``, also in a list or table."""
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if name in model.model_fields and _is_numeric(model, name):
            for key, wrong in _truth_values(name, value):
                raise ValueError(f"{key} = {wrong!r}: must be a number, not a truth value")


def _truth_values(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield each value that is a truth value or a list with one, and its name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _truth_values(str(key), inner)
    elif any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else (value,))):
        yield name, value


@cache
def _is_numeric(model: type[BaseModel], name: str) -> bool:
    kinds = list(_kinds_in(model.model_fields[name].annotation))
    return any(kind is int or kind is float for kind in kinds) and not any(kind is bool for kind in kinds)


def _kinds_in(annotation: Any) -> Iterable[object]:  # noqa: ANN401 - whatever a field is annotated with
    inner = get_args(annotation)
    return [kind for each in inner for kind in _kinds_in(each)] if inner else [annotation]
