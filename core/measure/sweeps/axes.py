"""The points of a part of a plan's matrix: axes crossed or zipped, conditional values, exclusions and further points.

::

    [[cells]]
    backend = "llama-cpp"
    quantisation = ["q8_0", "q4_k_m"]
    options = { n_batch = { from = 64, to = 1024, factor = 2 }, n_ubatch = [64, 256], n_threads = [1, 2] }
    zip = [["quantisation", "n_threads"]]                       # advance together
    when = [{ if = { quantisation = "q8_0" }, set = { mmap = [true, false] } }]
    exclude = [{ n_batch = 64, n_ubatch = 256 }]
    include = [{ n_batch = 32, n_ubatch = 32 }]

An axis is ``model``, ``quantisation``, ``device``, an option, or one of the workload (``workloads.py``), which has the
plan's values where the part has none of its own (``workload = { depth = [0, 4096] }``). First all combinations are
made, then ``when`` changes or sweeps values where its condition holds, then what ``exclude`` names is left out, then
``include`` adds points, whose axes that it does not name are at their first value. A condition holds where each axis
has the value, or one of the values, that it names (``conditions.py``); an option that nobody set has its default.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import JsonValue

from ...contract.backend import Backend
from ...errors import UsageError, unknown_name
from ...records.cell_names import TEMPLATE
from ..plan import Case, CellSpec
from .conditions import is_same, test_of
from .ranges import is_range, values_of_range
from .workloads import NAMES, WorkloadAxes, is_workload_axis, values_of

OWN = ("model", "quantisation", "device")
"""Axes that are neither options nor of the workload."""

_OF_WORKLOAD = (*NAMES, f"{TEMPLATE}NAME")
_MOST_POINTS = 100_000  # of one part; each takes some 4 KB and a third of a millisecond before anything is said of it

Point = Mapping[str, JsonValue]
"""A value of each axis, by its name."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of one part of a plan.

    Attributes:
        spec: the part.
        backend: its backend.
        own: values of ``model``, ``quantisation`` and ``device``; a quantisation of None is the default one.
        default_format: returns the default quantisation of a model, by its name.
        workloads: the workload of the plan over its axes.
    """

    spec: CellSpec
    backend: type[Backend]
    own: Mapping[str, Sequence[str | None]]
    default_format: Callable[[str], str]
    workloads: WorkloadAxes

    def points(self) -> Iterator[Point]:
        """Yield every point, in the order of the plan: the model varies slowest, the workload fastest.

        Raises:
            UsageError: an unknown axis, zipped axes of different lengths, a condition that holds nowhere, or no point.
        """
        axes = self._axes()
        found = [dict(point) for point in self._combined(axes)]
        for at, case in enumerate(self.spec.when):
            found = self._changed(f"when[{at}]", case, found)
        for at, condition in enumerate(self.spec.exclude):
            holds = self._holding(f"exclude[{at}]", condition, found)
            found = [point for point, is_meant in zip(found, holds, strict=True) if not is_meant]
        first = {name: values[0] for name, values in axes.items()}
        for further in self.spec.include:
            self._check_names(further, "include")
            named = {name: self._values(name, value) for name, value in further.items()}
            self._check_count(len(found) + math.prod(map(len, named.values())))
            found += [{**first, **point} for point in _product(named)]
        if not found:
            raise UsageError(
                f"cells of backend {self.backend.name!r}: exclude leaves nothing to measure", code="bad-value"
            )
        yield from found

    def is_of_workload(self, name: str) -> bool:
        """Say whether an axis is one of the workload; an option of that name comes first."""
        return name not in self.backend.Options.model_fields and is_workload_axis(name)

    def _axes(self) -> dict[str, list[JsonValue]]:
        """Return the values of each axis: the part's, and of the workload the plan's where the part has none."""
        known = self.backend.Options.model_fields
        for name in self.spec.options:
            if name not in known:
                raise unknown_name(f"option of backend {self.backend.name!r}", name, known)
        for name in self.spec.workload:
            if not is_workload_axis(name):
                raise unknown_name(f"axis in workload of backend {self.backend.name!r}", name, _OF_WORKLOAD)
        own: dict[str, list[JsonValue]] = {name: list(values) for name, values in self.own.items()}
        options = {name: self._values(name, value) for name, value in self.spec.options.items()}
        workload = dict(self.workloads.axes())
        workload |= {name: values_of(name, value) for name, value in self.spec.workload.items()}
        both = options.keys() & workload.keys()
        if both:
            raise UsageError(
                f"{min(both)} is an axis of the workload and an option of backend {self.backend.name!r}: "
                "one plan cannot set both",
                code="conflicting-flags",
            )
        return {"model": own.pop("model"), **options, **own, **workload}

    def _combined(self, axes: Mapping[str, list[JsonValue]]) -> Iterator[Point]:
        """Yield all combinations; axes that are zipped take the place of the first of them."""
        groups: list[list[str]] = [[name] for name in axes]
        for at, together in enumerate(self.spec.zip):
            self._check_names(together, "zip")
            if len(set(together)) < max(2, len(together)):
                raise UsageError(f"zip[{at}]: name two axes or more, each once", code="bad-value")
            if twice := [name for name in together if any(name in other for other in self.spec.zip[:at])]:
                raise UsageError(f"zip[{at}]: {twice[0]} is in another group already", code="bad-value")
            missing = [name for name in together if name not in axes]
            if missing:
                raise UsageError(f"zip: {missing[0]} has no values to advance through; list them", code="bad-value")
            lengths = {name: len(axes[name]) for name in together}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                raise UsageError(f"zip: axes that advance together need as many values each: {shown}", code="bad-value")
            first = min(groups.index([name]) for name in together)
            groups = [group for group in groups if group[0] not in together]
            groups.insert(first, list(together))
        self._check_count(math.prod(len(axes[group[0]]) for group in groups))
        columns = [list(zip(*(axes[name] for name in group), strict=True)) for group in groups]
        for combination in itertools.product(*columns):
            values: dict[str, JsonValue] = {}
            for group, row in zip(groups, combination, strict=True):
                values |= dict(zip(group, row, strict=True))
            yield {name: values[name] for name in axes}

    def _check_count(self, count: int) -> None:
        if count > _MOST_POINTS:
            raise UsageError(
                f"cells of backend {self.backend.name!r}: {count:,} combinations; at most {_MOST_POINTS:,}",
                code="bad-value",
            )

    def _changed(self, where: str, case: Case, points: Sequence[Point]) -> list[dict[str, JsonValue]]:
        """Return the points with the values that a case sets; one that changes none of them is refused."""
        self._check_names(case.set, f"{where}: set")
        holds = self._holding(where, case.condition, points)
        values = {name: self._values(name, value) for name, value in case.set.items()}
        meant = [point for point, is_meant in zip(points, holds, strict=True) if is_meant]
        if all(
            len(given) == 1
            and all(is_same(self._at(name, {**point, name: given[0]}), self._at(name, point)) for point in meant)
            for name, given in values.items()
        ):
            shown = ", ".join(f"{name} = {value!r}" for name, value in case.set.items()) or "nothing"
            raise UsageError(
                f"{where}: set changes no cell of backend {self.backend.name!r}: it gives {shown}", code="bad-value"
            )
        self._check_count(len(points) + len(meant) * (math.prod(map(len, values.values())) - 1))
        combinations = list(_product(values))
        return [
            {**point, **new}
            for point, is_meant in zip(points, holds, strict=True)
            for new in (combinations if is_meant else ({},))
        ]

    def _holding(self, where: str, condition: Point, points: Sequence[Point]) -> list[bool]:
        """Say of each point whether a condition holds there.

        One that holds nowhere is refused: a misspelt value would change nothing, and nobody would see it.
        """
        self._check_names(condition, where)
        tests = {
            name: test_of(name, self._alternatives(name, value), has_ranges=self._kind(name) is not dict)
            for name, value in condition.items()
        }
        holds = [all(test(self._at(name, point)) for name, test in tests.items()) for point in points]
        if not any(holds):
            shown = ", ".join(f"{name} = {value!r}" for name, value in condition.items())
            raise UsageError(f"{where}: no cell of backend {self.backend.name!r} has {shown}", code="bad-value")
        return holds

    def _at(self, name: str, point: Point) -> Any:  # noqa: ANN401 - a JSON value or an option's default
        if name == "quantisation" and point[name] is None:
            return self.default_format(str(point["model"]))
        if name in point:
            return point[name]
        if name not in self.backend.Options.model_fields:
            return self.workloads.default(name)
        return self.backend.Options.model_fields[name].get_default(call_default_factory=True)

    def _check_names(self, names: Iterable[str], where: str) -> None:
        known = [*OWN, *self.backend.Options.model_fields, *_OF_WORKLOAD]
        for name in names:
            if name not in known and not is_workload_axis(name):
                raise unknown_name(f"axis in {where} of backend {self.backend.name!r}", name, known)

    def _values(self, name: str, value: JsonValue) -> list[JsonValue]:
        """Return the values that an axis is given: of a list each, of a range those in it, else the one."""
        if name in OWN:
            if value == []:
                raise UsageError(f"{name}: an empty list sweeps nothing", code="bad-value")
            return _listed(value)
        if name not in self.backend.Options.model_fields:
            return values_of(name, value)
        if is_range(value) and self._kind(name) is not dict:
            return values_of_range(f"{self.backend.name}.{name}", value)
        values = self._alternatives(name, value)
        if not values:
            raise UsageError(f"option {self.backend.name}.{name}: an empty list sweeps nothing", code="bad-value")
        return values

    def _alternatives(self, name: str, value: JsonValue) -> list[JsonValue]:
        """Return the values of a list; a list that is the value of an option of lists is one."""
        is_one = self._kind(name) in (list, tuple) and isinstance(value, list)
        return [value] if is_one and not any(isinstance(one, list) for one in _listed(value)) else _listed(value)

    def _kind(self, name: str) -> object:
        """Return what an option's type is built of, such as ``list``; None for a plain type, and for other axes."""
        known = self.backend.Options.model_fields
        return get_origin(known[name].annotation) if name in known else None


def _product(axes: Mapping[str, Sequence[JsonValue]]) -> Iterator[Point]:
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]
