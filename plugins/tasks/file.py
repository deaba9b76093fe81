"""Problems of the user's own: ``file:PATH``, with the names of its columns and its scorer behind a question mark."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl

from ... import UsageError, unknown_name
from ...core.contract.task import Score, Task, TaskSample
from .rows import SUFFIXES, Row, digest, listed, read_rows
from .scoring import equivalence
from .scoring.exact import score_exact
from .scoring.integer import score_integer
from .scoring.number import score_number

_SCORERS: dict[str, Callable[[str, str], Score]] = {
    "number": score_number,
    "integer": score_integer,
    "math": equivalence.score_equivalence,
    "exact": score_exact,
}
_ALL = (*_SCORERS, "choice", "none")
_DEFAULTS = {"prompt": "prompt", "reference": "reference", "choices": "choices", "scorer": "number"}


class FileTask(Task):
    """The rows of a JSONL, Parquet or CSV file.

    ``file:problems.jsonl?prompt=question&reference=answer&scorer=number``: columns are called ``prompt`` and
    ``reference`` where nothing else is said. Scorers: ``number`` (the default), ``integer``, ``math``, ``exact``;
    ``choice`` compares the log-probabilities of the texts in the column ``choices``, and the reference is an index
    from 0 or a letter; ``none`` gives prompts for speed and needs no reference.
    """

    name = "file"
    version = "1"
    summary = "problems of your own: a JSONL, Parquet or CSV file, its columns named behind ?"
    argument = "PATH"
    template = "{prompt}, the column as it stands"
    extraction = f"by scorer: {', '.join(_ALL)}"
    source = "the file; its content is hashed into the version"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        path, settings = _parsed(argument or "")
        self.path, self.scorer = path, settings["scorer"]
        self._prompt, self._reference, self._choices = (settings[key] for key in ("prompt", "reference", "choices"))
        columns = [self._prompt]
        columns += [self._reference] if self.scorer != "none" else []
        columns += [self._choices] if self.scorer == "choice" else []
        self.rows = read_rows(path, columns)
        self.version = f"{type(self).version}+{digest(self.rows, columns)}"

    def check(self) -> None:
        """Need math-verify for ``scorer=math``."""
        if self.scorer == "math":
            equivalence.check()

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` rows in a seeded order, or all where there are fewer; each is called by its line."""
        order = list(range(len(self.rows)))
        random.Random(seed).shuffle(order)
        return (self._sample(at + 1, self.rows[at]) for at in islice(order, n))

    def _sample(self, line: int, row: Row) -> TaskSample:
        prompt = self._text(line, row, self._prompt)
        reference = "" if self.scorer == "none" else self._text(line, row, self._reference)
        if self.scorer == "integer" and not reference.strip().lstrip("-").isdecimal():
            raise UsageError(
                f"{self.path}:{line}: column {self._reference!r} = {reference!r} is not an integer",
                code="file-unreadable",
            )
        choices: tuple[str, ...] = ()
        if self.scorer == "choice":
            choices = self._listed(line, row)
        return TaskSample(f"{self.path.name}/{line}", prompt, reference, (("user", prompt),), choices)

    def _text(self, line: int, row: Row, column: str) -> str:
        value = row[column]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UsageError(
                f"{self.path}:{line}: column {column!r} is not text but {type(value).__name__}", code="file-unreadable"
            )
        text = str(value)
        if not text.strip():
            raise UsageError(f"{self.path}:{line}: column {column!r} is empty", code="file-unreadable")
        return text

    def _listed(self, line: int, row: Row) -> tuple[str, ...]:
        try:
            return tuple(listed(row, self._choices))
        except ValueError as error:
            raise UsageError(
                f"{self.path}:{line}: column {self._choices!r} holds no list of texts", code="file-unreadable"
            ) from error

    def score(self, sample: TaskSample, text: str) -> Score | None:
        """Compare by the named scorer; None where nothing is scored."""
        scorer = _SCORERS.get(self.scorer)
        return scorer(text, sample.reference) if scorer else None


def _parsed(argument: str) -> tuple[Path, dict[str, str]]:
    """Take ``PATH?key=value&...`` apart.

    Raises:
        UsageError: an unknown key or scorer, with the nearest.
    """
    path, _, query = argument.partition("?")
    if not path:
        raise UsageError(
            "task 'file' needs a path: file:PATH?prompt=COLUMN&reference=COLUMN&scorer=NAME", code="bad-value"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise UsageError(
            f"file:{argument}: write {', '.join(f'{key}=...' for key in _DEFAULTS)} with & between", code="bad-value"
        ) from error
    for key, value in pairs:
        if key not in _DEFAULTS:
            raise unknown_name("setting of task 'file'", key, _DEFAULTS)
        if not value:
            raise UsageError(f"file:{argument}: {key} is empty", code="bad-value")
    settings = {**_DEFAULTS, **dict(pairs)}
    if settings["scorer"] not in _ALL:
        raise unknown_name("scorer", settings["scorer"], _ALL)
    found = Path(path).expanduser()
    if not found.is_file():
        raise UsageError(f"task 'file': no file {found}; it may end in {', '.join(SUFFIXES)}", code="file-unreadable")
    return found, settings
