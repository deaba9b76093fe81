"""What is doubtful in finished measurements, and what a check for it is to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import Field

from ..records.schema import Record

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The gravest first."""

CellFacts = Mapping[str, Any]
"""A cell that has a finished round. Its keys are the columns of ``run_metrics`` of the first one (JSON columns as
objects), ``label``, the cell's name in tables, and ``measured``, a row for each measured sample of that round with
``index``, ``sample_id``, ``prompt_tokens``, ``output_tokens``, ``output_ids``, ``text``, ``finish``, ``status``,
``token_limit``, ``duration_s``, ``ttft_s``, ``score``, ``scores``, ``choice_logprobs`` and ``engine``."""


class Place(Record):
    """A row behind a finding."""

    run_id: str = Field(description="the round")
    sample: int | None = Field(default=None, description="index of the sample; None: the whole round")
    step: int | None = Field(default=None, description="index of the step; None: the whole sample")


class Finding(Record):
    """What one check found in one experiment: a line, whatever number of cells is behind it."""

    check: str = Field(description="name of the check that found it")
    severity: Severity = Field(description="error: figures are wrong; warning: they may mislead; note: good to know")
    text: str = Field(description="what, where and with which figures; of several cells the first of the gravest")
    advice: str = Field(default="", description="what to do about it")
    cells: tuple[str, ...] = Field(default=(), description="labels of the cells behind it")
    details: tuple[str, ...] = Field(default=(), description="where the check found several things, each in words")
    rows: tuple[Place, ...] = Field(default=(), description="the rows behind it")

    def __str__(self) -> str:
        return f"{self.text}; {self.advice}" if self.advice else self.text

    @property
    def line(self) -> str:
        """The finding as every list shows it: severity, text and advice, and at the end the check as its code."""
        return f"{self.severity}: {self} [{self.check}]"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One problem that a check found, usually one per cell; those of a check become one ``Finding``.

    Attributes:
        text: the problem, naming the cells and the figures.
        advice: what to do about it; begins in lower case, since it follows a semicolon.
        rows: the rows behind it.
        severity: ``error`` where figures are wrong, ``warning`` where they may mislead, ``note`` otherwise.
    """

    text: str
    advice: str = ""
    rows: Sequence[Place] = ()
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class FindingCheck:
    """A check that a plugin adds to those of ``compare`` and ``findings``.

    Attributes:
        name: of the check.
        summary: one line on what it looks for.
        check: gets the cells of one experiment and yields problems, the worst first.
    """

    name: str
    summary: str
    check: Callable[[Sequence[CellFacts]], Iterable[Doubt]]
