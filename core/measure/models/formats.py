"""The weight format of a cell: the backend's own name, a common one, or that in which the model is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from ...contract.backend import Backend
from ...contract.model import Quantisation, ResolvedModel
from ...errors import UsageError, unknown_name


@dataclass(frozen=True, slots=True)
class ChosenFormat:
    """A weight format as it was asked for.

    Attributes:
        quantisation: what the backend has for it.
        asked: the name that the user gave.
        options: what options it needs besides.
    """

    quantisation: Quantisation
    asked: str
    options: Mapping[str, JsonValue] = field(default_factory=dict)

    def with_options(self, backend: type[Backend], given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return the given options and those of the format.

        Raises:
            UsageError: one of them was given another value.
        """
        for name, value in self.options.items():
            if given.get(name, value) != value:
                raise UsageError(
                    f"{backend.name}: {self.asked} is quantisation {self.quantisation.name!r} with {name} = {value!r}, "
                    f"and {name} = {given[name]!r} was given too: leave out one of them",
                    code="conflicting-flags",
                )
        return {**given, **self.options}


def named_formats(backend: type[Backend]) -> dict[str, ChosenFormat]:
    """Return what a backend offers by every name that may be asked for; its own names come before common ones."""
    offered = list(backend.quantisations())
    own = {each.name: ChosenFormat(each, each.name) for each in offered}
    named = [(each, *common) for each in offered for common in each.common.items()]
    return {str(name): ChosenFormat(each, name, options) for each, name, options in named} | own


def choose_formats(backend: type[Backend], model: ResolvedModel, asked: Sequence[str] | None) -> list[ChosenFormat]:
    """Return the formats that were asked for; of nothing the one that a GGUF model is stored in, else the default.

    Raises:
        UsageError: the backend has none of that name.
    """
    known = named_formats(backend)
    if not asked:
        default = default_format(backend, model)
        return [ChosenFormat(default, default.name)]
    for name in asked:
        if name not in known:
            raise unknown_name(f"quantisation of backend {backend.name!r}", name, known)
    return [known[name] for name in asked]


def default_format(backend: type[Backend], model: ResolvedModel) -> Quantisation:
    """Return the format in which the model is stored, where the backend opens it so, else the backend's default."""
    offered = list(backend.quantisations())
    stored = (each for each in offered if each.name == model.stored_format and model.container in each.reads)
    return next(stored, offered[0])
