"""One test of llama-bench, as any of its forms has it, and all tests of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....core.records.raw_log import RawLogError
from ....core.sdk.logs.text import malformed

PUBLISHED = "published_"
"""Begins the names of values that are neither an option nor a figure of the tool: they are kept as printed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One test.

    Attributes:
        path: the file.
        line: where it stands, from 1.
        values: text by the tool's field name; true and false are 1 and 0, as its CSV has them.
        samples_ns: time of each repetition; None where only their average is told.
        samples_ts: tokens per second of each.
        is_cut: whether the file ends inside it.
    """

    path: Path
    line: int
    values: Mapping[str, str]
    samples_ns: Sequence[int] | None = None
    samples_ts: Sequence[float] | None = None
    is_cut: bool = False

    @property
    def is_printed(self) -> bool:
        """Whether it is of a table for people: a mean rate without its time."""
        return self.samples_ns is None and "avg_ns" not in self.values and not self.is_cut

    def fail(self, name: str, text: str) -> RawLogError:
        """Build the error for one field."""
        return malformed(self.path, self.line, name, text)


@dataclass(slots=True)
class Tests:
    """What a file holds.

    Attributes:
        forms: those of json, csv, sql and md that have tests; those that say most come first.
        rows: the tests.
        odd: the rows that are left out, each with its line and why.
        cut: what is missing at the end; None for a whole file.
        errors: the last line of the error output, where the file keeps one.
    """

    forms: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    odd: list[RawLogError] = field(default_factory=list)
    cut: str | None = None
    errors: str | None = None
