"""One answer while it comes: events become steps, and what contradicts itself becomes a failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ... import SampleError
from ...core.contract.generation import Request, Step
from ...core.records.engine_counters import EngineCounters
from .dialects.dialect import Dialect, Event, Finish, Part

Encode = Callable[[str], Sequence[int]]


class Enough(Exception):
    """A server goes on behind the end of an answer: it need not be heard out."""


class Answer:
    """What came of one request so far.

    Args:
        request: what was asked.
        dialect: how the server answers.
        encode: text to ids with the model's own tokenizer; None where the model has none.
    """

    def __init__(self, request: Request, dialect: Dialect, encode: Encode | None) -> None:
        self._request, self._dialect, self._encode = request, dialect, encode
        self._ids = 0
        self._finish: Finish | None = None
        self._figures: dict[str, float] = {}
        self._is_stopped = False  # its stop token has come
        self._pieces: list[Step] = []
        self._half = ""  # of a character
        self._has_text = False
        self._elsewhere: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all tokens have come, so that only the server's figures are missing."""
        return self._is_stopped or self._ids >= self._request.max_new_tokens

    @property
    def is_over(self) -> bool:
        """Whether nothing else comes, by what the server said of the end."""
        return self._finish is not None and self._dialect.finish_is_last

    def take(self, event: Event) -> Step | None:
        """Read one event; return what it commits, if anything.

        Raises:
            SampleError: it reports an error, or contradicts what came before.
        """
        part = self._dialect.part(event, self._ids)
        if part.error is not None:
            raise SampleError(f"the server reports: {part.error}", code="server-error")
        self._figures.update(part.figures)
        if self._is_stopped and part.ids:
            raise Enough
        if self._finish is not None and (part.ids or part.text):
            raise SampleError("the answer goes on behind its end", code="answer-invalid")
        self._finish = part.finish or self._finish
        self._has_text = self._has_text or bool(part.text)
        self._elsewhere = self._elsewhere or part.elsewhere
        return self._step_of_ids(part) if self._dialect.has_ids else self._step_of_text(part)

    def _step_of_ids(self, part: Part) -> Step | None:
        ids = list(part.ids or ())
        if not all(type(token) is int and token >= 0 for token in ids):
            raise SampleError(f"the answer has token ids that are none: {ids!r:.120}", code="answer-invalid")
        if part.tokens is not None and ids:
            ids = self._with_missing(ids, part)
        stop = next((at for at, token in enumerate(ids) if self._request.is_stop(token)), None)
        if stop is not None:
            del ids[stop + 1 :]
            self._is_stopped = True
        if not ids:
            return None
        self._ids += len(ids)
        if self._ids > self._request.max_new_tokens:
            raise SampleError(
                f"{self._ids} tokens came; at most {self._request.max_new_tokens} were asked for",
                code="answer-invalid",
            )
        return Step(ids, row=self._request.row)

    def _with_missing(self, ids: list[int], part: Part) -> list[int]:
        """Return new ids with those before them that the server counts and has not sent.

        A server may hold tokens back until a character is whole, and send the last of them alone, with the text of all.
        """
        assert part.tokens is not None
        missing = part.tokens - self._ids - len(ids)
        if missing == 0:
            return ids
        whole = list(self._encode(part.text)) if missing > 0 and part.text and self._encode else []
        if len(whole) == missing + len(ids) and whole[missing:] == ids:
            return whole
        raise SampleError(
            f"{self._ids + len(ids)} token ids came, where the server counts {part.tokens}",
            code="answer-invalid",
        )

    def _step_of_text(self, part: Part) -> Step | None:
        if (
            not self._dialect.is_event_stream
            and not self._pieces
            and part.finish
            and part.text
            and (part.tokens or 0) > 1
        ):
            raise SampleError(
                f"the answer is not a stream: its {part.tokens} tokens came in one line", code="answer-invalid"
            )
        text = self._whole_characters(part.text)
        if not text:
            return None
        step = Step((), row=self._request.row, text=text)
        self._pieces.append(step)
        return step

    def _whole_characters(self, text: str) -> str:
        """Return new text; the first half of a surrogate pair, at which some servers cut, waits for the other one."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        whole = text.removesuffix(self._half)
        return whole if whole.isascii() else whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def last(self, failed_attempts: int) -> Step:
        """Return the step that ends the row, with the server's figures.

        Raises:
            SampleError: the answer ended before its end, or has other tokens than the server counts.
        """
        if self._finish is None and not self._is_stopped:
            raise SampleError(f"the answer ended after {self._what_came()} and does not say why", code="answer-invalid")
        if self._request.ignore_eos and self._finish == "stop":
            raise SampleError(
                f"the server ended the answer after {self._what_came()}, where ignore_eos asks it to go on: name its "
                "own field for that in extra_body, if it has one",
                code="not-supported",
            )
        counted = self._figures.get("server_output_tokens")
        self._check_tokens(counted)
        if not self._dialect.has_ids:
            self._count_pieces(counted)
        if failed_attempts:
            self._figures["failed_attempts"] = float(failed_attempts)
        try:
            counters = EngineCounters.of(self._figures)
        except ValueError as error:
            raise SampleError(f"the server reports {error}", code="answer-invalid") from error
        finish = "stop" if self._is_stopped or self._finish is None else self._finish
        return Step((), row=self._request.row, finish=finish, counters=counters)

    def _check_tokens(self, counted: float | None) -> None:
        """Raise ``SampleError`` where tokens are missing: by the server's count, or by where their text is."""
        if not self._dialect.has_ids:
            self._check_text(counted)
        elif self._has_text and not self._ids:
            raise SampleError(
                f"the answer has text and no token ids, which {self._dialect.name!r} gives; api = 'completions' reads "
                "text",
                code="answer-invalid",
            )
        elif counted is not None and counted != self._ids and not self._is_stopped:
            raise SampleError(f"{self._ids} token ids came, where the server counts {counted:g}", code="answer-invalid")
        if self._finish == "length" and not self._is_stopped and self._most(counted) < self._request.max_new_tokens:
            raise SampleError(
                f"the server ended the answer after {self._what_came()} at a limit of its own, below the "
                f"{self._request.max_new_tokens} tokens that were asked for",
                code="answer-invalid",
            )

    def _most(self, counted: float | None) -> float:
        """Return how many tokens have come at the most; of text, a count may leave out an end token."""
        if self._dialect.has_ids:
            return self._ids
        return math.inf if counted is None else max(counted + 1, len(self._pieces))

    def _check_text(self, counted: float | None) -> None:
        if self._elsewhere is not None:
            raise SampleError(
                f"the answer has text in {self._elsewhere!r}, not in the field of {self._dialect.name!r}: a chat, or "
                "thoughts that the server sets apart; extra_body may turn that off",
                code="not-supported",
            )
        if not self._pieces and (counted or 0) > 1:
            raise SampleError(f"no text came, where the server counts {counted:g} tokens", code="answer-invalid")

    def _count_pieces(self, counted: float | None) -> None:
        """Count a token for each piece of text, where the server's count of all says that they are that.

        An end token has no text: it may be in that count, and no piece.
        """
        if counted in (len(self._pieces), len(self._pieces) + (self._finish == "stop")):
            for step in self._pieces:
                step.text_tokens = 1

    def _what_came(self) -> str:
        return f"{self._ids} tokens" if self._dialect.has_ids else f"{len(self._pieces)} pieces of text"
