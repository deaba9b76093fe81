"""What installed backends declare for figures: how they look, and which options set the size of their blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from ...core.contract.figure import Row

if TYPE_CHECKING:
    from ...core.contract.backend import Backend

BLOCK_SIZE = "block_size"
"""The figure of a step; an option of that name sets it where a backend declares no other."""

_NONE: Mapping[str, type[Backend]] = {}
_backends: ContextVar[Mapping[str, type[Backend]]] = ContextVar("backends", default=_NONE)


@contextmanager
def declared(backends: Mapping[str, type[Backend]]) -> Iterator[None]:
    """Let figures go by what backends declare; without it, and for others, their names decide how they look."""
    token = _backends.set(backends)
    try:
        yield
    finally:
        _backends.reset(token)


def declaration(backend: str) -> type[Backend] | None:
    """Return the class of a backend; None where it is not installed."""
    return _backends.get().get(backend)


def block_size_option(backend: str) -> str:
    """Return the name of the option that sets a backend's block size."""
    known = declaration(backend)
    return (known and known.block_size_option) or BLOCK_SIZE


def has_block_size(row: Row) -> bool:
    """Whether the options of a row leave the decoder no choice of the block size."""
    known = declaration(row["backend"])
    if known is None:
        return True
    options = _object(row.get("options"))
    defaults = {name: known.Options.model_fields[name].default for name in known.block_size_choosers}
    return all(options.get(name, default) == default for name, default in to_jsonable_python(defaults).items())


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON column, as text or read
    found: dict[str, Any] = (json.loads(value) if isinstance(value, str) else value) or {}
    return found
