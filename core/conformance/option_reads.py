"""Options that note which of their fields are read."""

from __future__ import annotations

from typing import TypeVar

from ..contract.options import BackendOptions

O = TypeVar("O", bound=BackendOptions)  # noqa: E741

_WHOLE = frozenset({"model_dump", "model_dump_json", "__dict__", "__iter__"})
"""Ways to hand all options on at once, as to an engine that takes keywords: every field counts as read."""


def recording(options: O) -> tuple[O, set[str]]:
    """Return a copy of ``options`` and the set of field names that fills as the copy is read."""
    kind = type(options)
    fields = frozenset(kind.model_fields)
    read: set[str] = set()
    silent = 0  # depth of calls in which pydantic itself looks at the fields

    class Recorder(kind):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> object:
            if not silent and name in fields:
                read.add(name)
            elif not silent and name in _WHOLE:
                read.update(fields)
            return super().__getattribute__(name)

        def __iter__(self) -> object:
            read.update(fields)
            return super().__iter__()

    def unnoticed(name: str) -> object:
        inherited = getattr(kind, name)

        def quiet(*arguments: object, **keywords: object) -> object:
            nonlocal silent
            silent += 1
            try:
                return inherited(*arguments, **keywords)
            finally:
                silent -= 1

        return quiet

    for name in ("__repr__", "__str__", "__eq__", "__hash__", "model_copy", "__copy__", "__deepcopy__"):
        setattr(Recorder, name, unnoticed(name))
    Recorder.__name__ = Recorder.__qualname__ = kind.__name__
    copy = Recorder.model_construct(options.model_fields_set, **dict(options))
    read.clear()
    return copy, read
