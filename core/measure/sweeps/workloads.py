"""Axes of a plan's workload: lengths, loads and arguments of the chat template, and the workload at a point of them.

They have the names of the settings (``prompt_tokens``, ``depth``, ``concurrency``, ...), and ``template.NAME`` for an
argument of the chat template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from ...errors import UsageError
from ...host.validation import describe
from ...records.cell_names import TEMPLATE
from ...records.workload import Workload
from .ranges import is_range, values_of_range

NAMES = tuple(name for name, setting in Workload.settings().items() if setting.is_axis or setting.is_swept)
"""Settings that are axes."""


def is_workload_axis(name: str) -> bool:
    """Say whether an axis is one of the workload."""
    return name in NAMES or (name.startswith(TEMPLATE) and name != TEMPLATE)


def values_of(name: str, value: JsonValue) -> list[JsonValue]:
    """Return the values that an axis of the workload is given: of a list each, of a range those in it, else the one.

    Raises:
        UsageError: a list without values, or an impossible range.
    """
    if is_range(value):
        return values_of_range(name, value)
    values: list[JsonValue] = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError(f"{name}: an empty list sweeps nothing", code="bad-value")
    return values


class WorkloadAxes:
    """The workload of a plan at any point of its axes.

    Args:
        workload: of the plan, with the first value of each length.
        lengths: settings that have several values in the plan.
    """

    def __init__(self, workload: Workload, lengths: Mapping[str, Sequence[int]]) -> None:
        self._workload = workload
        self._lengths = lengths
        self._made: dict[str, Workload] = {}

    def axes(self) -> Iterator[tuple[str, list[JsonValue]]]:
        """Yield the axes that the plan's workload has, and their values: the first varies slowest."""
        for name, values in self._lengths.items():
            yield name, list(values)
        for name, value in self._workload.template_args.items():
            yield TEMPLATE + name, values_of(TEMPLATE + name, value)
        for name, setting in Workload.settings().items():
            if setting.is_swept and (found := getattr(self._workload, name)):
                yield name, list(found)

    def default(self, name: str) -> JsonValue:
        """Return the value of an axis where a point has none."""
        if name.startswith(TEMPLATE):
            return None
        value: JsonValue = getattr(self._workload, name)
        return None if isinstance(value, tuple) else value

    def at(self, point: Mapping[str, JsonValue]) -> Workload:
        """Return the workload at a point.

        Args:
            point: values of axes of the workload, by their names.

        Raises:
            UsageError: a value is out of range, or does not go with the others.
        """
        key = repr(point)
        if key not in self._made:
            self._made[key] = self._with(point)
        return self._made[key]

    def _with(self, named: Mapping[str, JsonValue]) -> Workload:
        settings = Workload.settings()
        content: dict[str, Any] = self._workload.model_dump(exclude_unset=True)
        content["template_args"] = {
            name.removeprefix(TEMPLATE): value for name, value in named.items() if name.startswith(TEMPLATE)
        }
        for name, setting in settings.items():
            if setting.is_swept:
                content[name] = () if named.get(name) is None else (named[name],)
            elif setting.is_axis and name in named:
                content[name] = named[name]
        try:
            return Workload.model_validate(content)
        except ValidationError as error:
            shown = ", ".join(f"{name} = {value!r}" for name, value in named.items())
            raise UsageError(
                describe(error, f"workload with {shown}" if shown else "workload", Workload), code="bad-value"
            ) from error
