"""What another tool's log is to the host: how it is recognised and read into the shared record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ..records.schema import THREADS, RecordedStep, Run, Sample

HEAD_BYTES = 64 * 1024
"""How much of a file ``matches`` gets to see."""

THREAD_OPTIONS = (THREADS, "threads", "num_threads")
"""Options by which logs have the CPU threads that an engine computed with; comparisons warn of cells that differ."""

DRAFT_LENGTH_OPTIONS = (
    "num_draft_tokens",
    "num_speculative_tokens",
    "draft_tokens",
    "draft_length",
    "block_size",
    "block_tokens",
)
"""Options by which logs have the length of a draft. A parser that gives ``Run.options`` one of these names has findings
compare runs that differ in it alone."""


class LogParser(ABC):
    """One log format. ``collate --import`` asks every parser and copies a file that one of them recognises.

    Attributes:
        name: the format, as ``--format`` takes it and ``Run.source_format`` records it, e.g. ``"tinygrad"``.
        summary: one line on what writes such logs.
        version: of the parser; a new one makes ``collate`` read the files again.
        within_pages: whether it is found within pages of text, which may hold other formats besides: such a page is
            read by each parser that recognises it, so that the ids of its runs must hold the parser's name.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[str]
    within_pages: ClassVar[bool] = False

    @abstractmethod
    def matches(self, path: Path, head: bytes) -> bool:
        """Say whether this is a log of this format, by content; must not raise.

        Args:
            path: the file; its name alone does not decide.
            head: its first ``HEAD_BYTES`` bytes; ``decodebench.core.sdk.logs.text.head_text`` decodes them. What may
                lie beyond them is asked of ``decodebench.core.sdk.logs.structure``.
        """

    @abstractmethod
    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each run of the file, followed by its samples and steps.

        The host fills ``experiment``, ``cell_id``, ``round`` and the provenance of each run: give ``""``, ``""``, 0 and
        nothing. What the log does not have is None, never a default; ``Run.notes`` says what was inferred. What it has
        and no field is for goes to ``extra``, and to ``conditions`` where it says how the run was run: runs that agree
        in all of that are rounds of one cell. ``Run.derived`` names sizes that follow from rounded figures. ``run_id``
        must depend on nothing but the file's name and content, so that a second import is seen as the same run.

        Raises:
            RawLogError: the file cannot be read as this format; ``decodebench.core.sdk.logs.text.malformed`` makes one
                of file, line, field and what is wrong.
        """
