"""What tasks over a data set of the Hub share: a seeded order, ids that stay, and the data's hash in the version."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

from ... import UsageError
from ...core.contract.task import Task, TaskSample
from .hub import HubData
from .rows import Row, digest


class HubTask(Task):
    """A task whose problems are the rows of one split.

    The version of an instance is that of the task, ``+`` and a hash of the columns that it reads, examples included:
    two records of one version had the same problems, wherever the file came from.

    Attributes:
        data: the data set.
        split: the split that gives the problems.
        example_split: the split that gives worked examples; None where the prompt has none.
        columns: what is read of each row.
    """

    data: ClassVar[HubData]
    split: ClassVar[str] = "test"
    example_split: ClassVar[str | None] = None
    columns: ClassVar[tuple[str, ...]]

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.rows = self.data.rows(self.split, self.columns)
        self.examples = self.data.rows(self.example_split, self.columns) if self.example_split else ()
        self.version = f"{type(self).version}+{digest((*self.rows, *self.examples), self.columns)}"

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` problems in a seeded order, or all where there are fewer."""
        order = list(range(len(self.rows)))
        random.Random(seed).shuffle(order)
        return (self._sample(at) for at in islice(order, n))

    def _sample(self, at: int) -> TaskSample:
        try:
            return self.sample(f"{self.name}/{self.identity(at)}", self.rows[at])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"task {self.name!r}: row {at + 1} of {self.data.folder}/{self.split} is not what {self.data.dataset} "
                f"has there ({type(error).__name__}: {error})",
                code="file-unreadable",
            ) from error

    def identity(self, at: int) -> str:
        """Return what a row is called within its split: its index, unless the data name it."""
        return str(at)

    @abstractmethod
    def sample(self, name: str, row: Row) -> TaskSample:
        """Turn a row into a problem called ``name``."""
