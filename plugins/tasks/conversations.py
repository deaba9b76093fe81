"""Recorded conversations as prompts for speed: ``conversations:PATH?turns=N``, in the shapes that are about."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ... import UsageError
from ...core.contract.task import Task, TaskSample

Turn = tuple[str, str]
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_LISTS = ("conversations", "messages", "conversation")
_DIGITS = 8


class Conversations(Task):
    """The turns of a file of conversations: JSON or JSON lines, as ShareGPT or OpenAI's API write them.

    Each turn is a request whose prompt is all that was said before, with the recorded answers and not the model's own,
    so that every cell is asked the same. In a stream it waits for the end of the turn before. An answer may become as
    long as the recorded one.
    """

    name = "conversations"
    version = "1"
    summary = "conversations of your own: a ShareGPT-like JSON or JSONL file; speed only"
    argument = "PATH"
    metric = None
    template = "everything said before, a paragraph each; with --chat the model's template"
    extraction = "none: answers are not scored"
    source = "the file; its content is hashed into the version"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.path, self.turns = _parsed(argument or "")
        self._talks, digest = _read(self.path)
        self.version = f"{type(self).version}+{digest}"

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` requests: the first turns of conversations in a seeded order, each followed by its next ones."""
        order = list(range(len(self._talks)))
        random.Random(seed).shuffle(order)
        left = n
        for at in order:
            for sample in self._of(at):
                if left == 0:
                    return
                left -= 1
                yield sample

    def _of(self, at: int) -> Iterator[TaskSample]:
        talk = self._talks[at]
        before = None
        asked = [
            place for place, (role, _) in enumerate(talk[:-1]) if role == "user" and talk[place + 1][0] == "assistant"
        ]
        for number, place in enumerate(asked[: self.turns], 1):
            said = talk[: place + 1]
            name = f"{self.path.name}/{at + 1}/{number}"
            text = "\n\n".join(content for _, content in said) + "\n\n"
            answer = talk[place + 1][1]
            yield TaskSample(name, text, answer, tuple(said), after=before, answer_like=answer)
            before = name


def _parsed(argument: str) -> tuple[Path, int]:
    path, _, query = argument.partition("?")
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    turns = pairs.pop("turns", "1")
    if not path or pairs or not turns.isdecimal() or int(turns) < 1:
        raise UsageError(
            f"task 'conversations:{argument}': write conversations:PATH or conversations:PATH?turns=3", code="bad-value"
        )
    return Path(path).expanduser(), int(turns)


def _read(path: Path) -> tuple[Sequence[Sequence[Turn]], str]:
    """Return the conversations that a user begins and somebody answers, and a digest of the file."""
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise UsageError(
            f"task 'conversations': cannot read {path}: {error.strerror}", code="file-unreadable"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error
    talks = [turns for number, entry in _entries(path, text) if (turns := _turns(path, number, entry))]
    if not talks:
        raise UsageError(
            f"{path}: no conversation in it that a user begins and an assistant answers", code="file-unreadable"
        )
    return talks, hashlib.sha256(data).hexdigest()[:_DIGITS]


def _entries(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of one JSON list, or of JSON lines, with their number from 1."""
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: not JSON: {error}", code="file-unreadable") from error
        yield from enumerate(entries, 1)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: not JSON: {error}", code="file-unreadable") from error


def _turns(path: Path, number: int, entry: object) -> list[Turn]:
    """Return who said what; a conversation that no user begins, or nobody answers, is left out."""
    listed = entry if isinstance(entry, list) else _listed(path, number, entry)
    turns: list[Turn] = []
    for turn in listed:
        role = _ROLES.get(str(turn.get("from", turn.get("role")))) if isinstance(turn, Mapping) else None
        content = turn.get("value", turn.get("content")) if isinstance(turn, Mapping) else None
        if role is None or not isinstance(content, str):
            break  # what follows, such as a picture or a tool's answer, is no text of a conversation
        turns.append((role, content))
    spoken = [role for role, content in turns if content.strip()]
    starts = next((at for at, role in enumerate(spoken) if role != "system"), len(spoken))
    return turns if spoken[starts : starts + 2] == ["user", "assistant"] else []


def _listed(path: Path, number: int, entry: object) -> Sequence[Any]:
    if isinstance(entry, Mapping):
        for name in _LISTS:
            if isinstance(found := entry.get(name), list):
                return found
    raise UsageError(f"{path}: entry {number} has no list called {' or '.join(_LISTS)}", code="file-unreadable")
