"""Printed tables checked against themselves: does each ratio follow from the figures printed beside it?

A figure that was printed with few digits stands for an interval. A claim is ``exact`` when the printed inputs, taken
as they stand, round to every printed digit of the result; ``rounding`` when only some inputs that round to the printed
ones do; ``no`` when none does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ... import UsageError
from .expression import evaluate
from .intervals import Interval, Printed
from .table_file import Claim, Table, TableFile, read

Verdict = Literal["exact", "rounding", "no"]
_NEARLY_WHOLE = 1e-3


class Finding(BaseModel):
    """One claim about one figure."""

    model_config = ConfigDict(frozen=True)

    claim: str
    table: str
    row: str | None
    printed: str | None = Field(description="as the table has it")
    recomputed: float = Field(description="from the printed inputs")
    low: float = Field(description="least that the inputs' rounding allows")
    high: float = Field(description="most that it allows")
    verdict: Verdict
    note: str


class Report(BaseModel):
    """All claims of a file."""

    model_config = ConfigDict(frozen=True)

    file: str
    findings: list[Finding]
    totals: dict[Verdict, int]


def check(file: Path) -> Report:
    """Check every claim of a table file.

    Raises:
        UsageError: the file or a claim is malformed; names file, claim and what is wrong.
    """
    content = read(file)
    findings: list[Finding] = []
    for claim in content.claims:
        try:
            findings += _findings(content, claim)
        except ValueError as error:
            raise UsageError(
                f"{file}: claim {claim.name!r} on table {claim.table!r}: {error}", code="file-unreadable"
            ) from error
    counts = Counter(finding.verdict for finding in findings)
    totals: dict[Verdict, int] = {"exact": counts["exact"], "rounding": counts["rounding"], "no": counts["no"]}
    return Report(file=str(file), findings=findings, totals=totals)


def _findings(content: TableFile, claim: Claim) -> Iterator[Finding]:
    table = content.tables.get(claim.table)
    if table is None:
        raise ValueError(f"there is no such table; the file has {', '.join(content.tables)}")
    if claim.kind == "equals":
        yield from _equals(content, table, claim)
    elif claim.kind == "same":
        yield _same(content, table, claim)
    else:
        judge = _integer if claim.kind == "integer" else _not_positive
        for row in claim.rows or table.rows:
            yield judge(claim, row, _evaluated(content, claim, row))


def _equals(content: TableFile, table: Table, claim: Claim) -> Iterator[Finding]:
    for row, column in _places(table, claim):
        printed = Printed.read(table.rows[row][column])
        value = _evaluated(content, claim, row)
        verdict: Verdict = "exact" if printed.is_rounded_from(value.value) else "no"
        if verdict == "no" and value.overlaps(printed.interval):
            verdict = "rounding"
        yield _finding(claim, row, printed.text, value, verdict)


def _places(table: Table, claim: Claim) -> list[tuple[str, str]]:
    """Return the (row, column) of every figure that a claim is about."""
    assert claim.printed is not None
    row, _, column = claim.printed.rpartition(".")
    if row:
        places = [(row, column)]
    else:
        places = [(name, column) for name in claim.rows or table.rows if column in table.rows.get(name, {})]
    missing = [name for name, _ in places if name not in table.rows or column not in table.rows[name]]
    if missing or not places or any(name not in table.rows for name in claim.rows or ()):
        raise ValueError(f"the table has no figure {claim.printed!r}{f' in row {missing[0]!r}' if missing else ''}")
    return places


def _figure(content: TableFile, table: str, row: str, name: str) -> Interval:
    """Find ``column``, ``row.column`` or ``table.row.column``."""
    parts = name.split(".")
    places = {1: (table, row, *parts), 2: (table, *parts), 3: tuple(parts)}
    place = places.get(len(parts))
    if place is not None:
        found = content.tables.get(place[0])
        text = found.rows.get(place[1], {}).get(place[2]) if found else None
        if text is not None:
            return Printed.read(text).interval
    raise ValueError(f"figure {name!r} is not in the tables (row at hand: {row!r})")


def _evaluated(content: TableFile, claim: Claim, row: str) -> Interval:
    assert claim.expression is not None
    return evaluate(claim.expression, lambda name: _figure(content, claim.table, row, name))


def _integer(claim: Claim, row: str, value: Interval) -> Finding:
    nearest = round(value.value)
    verdict: Verdict = "exact" if abs(value.value - nearest) <= (claim.limit or _NEARLY_WHOLE) else "no"
    if verdict == "no" and value.low <= nearest <= value.high:
        verdict = "rounding"
    return _finding(claim, row, None, value, verdict)


def _not_positive(claim: Claim, row: str, value: Interval) -> Finding:
    verdict: Verdict = "exact" if value.value <= 0 else "rounding" if value.low <= 0 else "no"
    return _finding(claim, row, None, value, verdict)


def _same(content: TableFile, table: Table, claim: Claim) -> Finding:
    if claim.expression is not None:
        figures = [_evaluated(content, claim, row) for row in claim.rows or table.rows]
    else:
        figures = [Printed.read(table.rows[row][column]).interval for row, column in _places(table, claim)]
    values = [figure.value for figure in figures]
    spread = max(values) / min(values) - 1 if min(values) > 0 else float("inf")
    least = max(0.0, max(f.low for f in figures) / min(f.high for f in figures) - 1)
    verdict: Verdict = "exact" if spread <= claim.limit else "rounding" if least <= claim.limit else "no"
    return _finding(claim, None, None, Interval(spread, least, spread), verdict)


def _finding(claim: Claim, row: str | None, printed: str | None, value: Interval, verdict: Verdict) -> Finding:
    return Finding(
        claim=claim.name,
        table=claim.table,
        row=row,
        printed=printed,
        recomputed=value.value,
        low=value.low,
        high=value.high,
        verdict=verdict,
        note=claim.note,
    )
