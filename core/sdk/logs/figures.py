"""A format as a table: what a log calls each figure, in which unit it has it, and which field of a record that is.

::

    FIGURES = form(
        Figure("Benchmark duration (s)", "totals.wall_s"),
        Figure("Mean TTFT (ms)", "published.mean_ttft_s", "ms"),
    )
    record = gather(FIGURES, {"Benchmark duration (s)": "264.25", "Mean TTFT (ms)": "N/A"})

A name is a printed label, the head of a column, or the dotted path of a JSON value. What the table does not name, and
what is no value of its unit (`N/A`, `nan`, a negative time), goes to ``extra`` under the log's own name: nothing is
lost, and nothing is made of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from ...records.schema import Run, Sample
from .fields import plain_number
from .runs import bare_run

_PLAIN_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,30})?")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,5}(?:\.[0-9]{0,30})?")
_RATES = ("tok/s", "t/s", "tokens/s", "tokens-per-sec", "token(s)", "tokens")
_UNITS_BEHIND = re.compile(r"(?<=[0-9.])[ \t]{0,20}([a-zA-Z%/()-]{1,20})$")
_GO_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,12})?)(h|ms|m|s|us|ns|[^\x00-\x7f]{1,3}s)")
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "ns": 1e-9}
_MICRO = 1e-6  # of `us`, and of `µs` in whatever code page it was misread
_SCALES = {
    "number": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "%": 1e-2, "GB": 1e9,
}  # fmt: skip
_NONE_AT_0 = ("samples", "wall_s")
"""Totals that are above 0 wherever anything was measured."""
_GROUPS = ("run", "totals", "sample", "engine", "option", "condition", "published")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a format.

    Attributes:
        name: what the log calls it.
        field: where it belongs: ``run.``, ``totals.`` or ``sample.`` and the name of a field, ``engine.`` and a counter
            of the sample, ``option.`` or ``condition.`` and a name, or ``published.`` and what to keep the printed
            value as.
        unit: ``text``, ``any`` (as it is), ``count``, ``number``, a unit of time, memory or share, or ``go``, a
            duration such as ``2m44.6s``.
    """

    name: str
    field: str
    unit: str = "number"


def form(*figures: Figure) -> Mapping[str, Figure]:
    """Return the figures of a format by their names."""
    assert all(figure.field.partition(".")[0] in _GROUPS for figure in figures), figures
    return {figure.name: figure for figure in figures}


@dataclass(slots=True)
class Gathered:
    """The figures of one run or answer, by the part of a record that they belong to."""

    run: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, Any] = field(default_factory=dict)
    sample: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, float] = field(default_factory=dict)
    option: dict[str, JsonValue] = field(default_factory=dict)
    condition: dict[str, JsonValue] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    extra: dict[str, JsonValue] = field(default_factory=dict)

    def as_run(self, run_id: str, backend: str, **known: Any) -> Run:  # noqa: ANN401 - fields of Run, which checks them
        """Return the run; what the log has counts before what is known besides.

        Args:
            run_id: of the run.
            backend: what ran, where the log does not name it.
            known: further fields of the run.
        """
        groups: dict[str, dict[str, Any]] = {
            "options": self.option,
            "conditions": self.condition,
            "settings": {f"published_{name}": text for name, text in self.published.items()},
            "extra": self.extra,
        }
        for name, own in groups.items():
            told = known.pop(name, None)
            known[name] = {**told, **own} if told else own
        totals = {name: value for name, value in self.totals.items() if value or name not in _NONE_AT_0}
        return bare_run(
            run_id,
            self.run.pop("backend", backend),
            **{
                "kind": "speculative" if self.totals.get("cycles") else None,
                "totals": totals or None,
                **known,
                **self.run,
            },
        )

    def as_sample(self, run_id: str, index: int, **known: Any) -> Sample:  # noqa: ANN401 - fields of Sample
        """Return the answer; what the log has counts before what is known besides."""
        return Sample(
            run_id=run_id, index=index, **{"output_tokens": None, "engine": self.engine, **known, **self.sample}
        )


def gather(figures: Mapping[str, Figure], found: Mapping[str, object]) -> Gathered:
    """Sort what a log has into the parts of a record.

    Args:
        figures: the format.
        found: printed texts or JSON values by name.
    """
    gathered = Gathered()
    for name, value in found.items():
        figure = figures.get(name)
        read = _value(figure.unit, value) if figure else None
        if figure is None or read is None:
            if value is not None:
                gathered.extra[name] = value if type(value) is str else _plain(value)
            continue
        group, _, target = figure.field.partition(".")
        part: dict[str, Any] = getattr(gathered, group)
        part[target] = str(value).strip() if group == "published" else read
    return gathered


def _value(unit: str, value: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return a value in base units; None for what is none of that unit."""
    scale = _SCALES.get(unit)
    if scale is None and unit != "count":
        return _of_no_scale(unit, value)
    if isinstance(value, str):
        amount, _, behind = value.partition(" ")
        is_plain = (not behind or behind == unit or behind in _RATES) and _PLAIN_NUMBER.fullmatch(amount)
        value = float(amount) if is_plain else _number(unit, value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        return None
    if scale is None:
        return int(value) if value == int(value) else None
    return value * scale if scale != 1 else value


def _of_no_scale(unit: str, value: object) -> JsonValue:
    """Return a text, a value as it is, or the seconds of a duration."""
    if unit == "go":
        return _go_seconds(value) if isinstance(value, str) else None
    text = value.strip() if isinstance(value, str) else value
    return _plain(text) if unit == "any" and text != "" else text if isinstance(text, str) and text else None


def _number(unit: str, text: str) -> float | None:
    """Return a printed number, whose unit may stand behind it, with commas between thousands or before its decimals.

    One comma before three digits may be either, and is neither, but in a count.
    """
    text = text.strip()
    found = None if text[-1:].isdigit() else _UNITS_BEHIND.search(text)
    if found and found[1] in (unit, *_RATES):
        text = text[: found.start()]
    is_grouped = _THOUSANDS.fullmatch(text) and (unit == "count" or "." in text or text.count(",") > 1)
    text = text.replace(",", "") if is_grouped else text
    return None if text.startswith("-") else plain_number(text)


def _go_seconds(text: str) -> float | None:
    """Return the seconds of a duration as Go prints it."""
    parts = _GO_PART.findall(text)
    if not parts or len("".join([amount + unit for amount, unit in parts])) != len(text.strip()):
        return None
    return math.fsum([float(amount) * _GO_UNITS.get(unit, _MICRO) for amount, unit in parts])


def _plain(value: object) -> JsonValue:
    """Return a value as JSON can hold it: what is no finite number becomes a text."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
