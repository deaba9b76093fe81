"""Files that could not be read, or not whole."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.contract.finding import Doubt
from ..parsers.foreign import IMPORTED
from .subject import Subject


def incomplete_files(subject: Subject) -> Iterator[Doubt]:
    """Logs of this experiment that are truncated, damaged or refused; unreadable logs of ours count for all."""
    rows = subject.store.dicts(
        """
        SELECT s.path, s.problem FROM sources s
        WHERE s.problem IS NOT NULL AND (
            s.path IN (SELECT source_file FROM runs WHERE experiment = $experiment)
            OR starts_with(s.path, $imported)
            OR (s.run_id IS NULL AND NOT starts_with(s.path, $foreign))
        ) ORDER BY s.path
        """,
        {
            "experiment": subject.experiment,
            "imported": f"raw/{IMPORTED}/{subject.experiment}/",
            "foreign": f"raw/{IMPORTED}/",
        },
    )
    for row in rows:
        yield Doubt(f"{row['path']}: {row['problem']}", "missing data is excluded from all figures")
