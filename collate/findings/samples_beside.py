"""Samples that a tool wrote into a file of their own, beside the file of its totals."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ..comparison.observations import Row
from .subject import Subject

_DATE = re.compile(r"\d{4}-\d\d-\d\dT[\d.:-]+\d")
_ZONES = timedelta(minutes=15)
"""Local times of the world lie apart by a multiple of this."""

_SpanOfRecords = tuple[datetime, timedelta, list[Row]]


class SamplesBeside:
    """Finds them by what both files have in common; where several files would do, none is taken.

    lm-evaluation-harness puts one date into both files' names. AIPerf's sums have the benchmark's begin and end, in the
    local time of a zone that they do not name, and the records the times of each request.
    """

    def __init__(self, subject: Subject) -> None:
        runs = [r for cell in subject.finished for r in cell.rounds if r.samples]
        self._scored = {
            key: r.samples
            for r in runs
            if not r.run["totals"] and all(s["score"] is not None for s in r.samples) and (key := _dated(r.run))
        }
        self._records: list[_SpanOfRecords] = [
            (began, timedelta(seconds=r.run["wall_s"]), r.samples)
            for r in runs
            if r.run["source_format"] == "aiperf-records" and (began := _time(r.run["started_at"])) and r.run["wall_s"]
        ]

    def scored(self, run: Row) -> list[Row]:
        """Return the scored samples behind an accuracy."""
        key = _dated(run)
        return self._scored.get(key, []) if key else []

    def timed(self, run: Row) -> list[Row]:
        """Return the requests behind sums and means."""
        began, ended = _time(run["started_at"]), _time((run["extra"] or {}).get("end_time"))
        if run["source_format"] != "aiperf" or began is None or ended is None:
            return []
        found = [samples for first, span, samples in self._records if _lies_within(first, span, began, ended)]
        return found[0] if len(found) == 1 else []


def _lies_within(first: datetime, span: timedelta, began: datetime, ended: datetime) -> bool:
    """Whether requests lie within a benchmark; a benchmark without a zone is moved by whole quarters of an hour."""
    if began.tzinfo is not None:
        return ended.tzinfo is not None and began <= first and first + span <= ended
    late = first.replace(tzinfo=None) - began
    return abs(late) < timedelta(hours=15) and late % _ZONES + span <= ended.replace(tzinfo=None) - began


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _dated(run: Row) -> tuple[object, ...] | None:
    """Return task, metric and the date in the file's name; None where there is none."""
    found = _DATE.search(str(run["source_file"]).rpartition("/")[2])
    metric = (run["settings"] or {}).get("published_metric")
    return (run["task"], metric, found[0].rstrip(".")) if found and metric else None
