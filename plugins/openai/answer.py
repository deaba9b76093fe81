"""One answer while it comes: events become steps, and what contradicts itself becomes a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ... import SampleError
from ...core.contract.generation import Request, Step
from .dialects.dialect import Dialect, Event, Finish, Part

Encode = Callable[[str], Sequence[int]]


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
        self._tokens = 0  # of the text so far, by the server's count
        self._is_counted = True
        self._finish: Finish | None = None
        self._figures: dict[str, float] = {}
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """Whether the row has ended here, whatever the server still sends: its stop token has come."""
        return self._is_cut

    def take(self, event: Event) -> Step | None:
        """Read one event; return what it commits, if anything.

        Raises:
            SampleError: it reports an error, or contradicts what came before.
        """
        part = self._dialect.part(event, self._ids)
        if part.error is not None:
            raise SampleError(f"the server reports: {part.error}")
        self._figures.update(part.figures)
        self._finish = part.finish or self._finish
        if self._is_cut:
            return None
        return self._step_of_ids(part) if self._dialect.has_ids else self._step_of_text(part)

    def _step_of_ids(self, part: Part) -> Step | None:
        ids = list(part.ids or ())
        if part.tokens is not None and ids:
            ids = self._with_missing(ids, part)
        stop = next((at for at, token in enumerate(ids) if self._request.is_stop(token)), None)
        if stop is not None:
            del ids[stop + 1 :]
            self._is_cut = True
        if not ids:
            return None
        self._ids += len(ids)
        if self._ids > self._request.max_new_tokens:
            raise SampleError(f"{self._ids} tokens came; at most {self._request.max_new_tokens} were asked for")
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
        raise SampleError(f"{self._ids + len(ids)} token ids came, where the server counts {part.tokens}")

    def _step_of_text(self, part: Part) -> Step | None:
        if not part.text:
            return None
        if part.tokens is None:  # one count behind several pieces says nothing of each
            self._is_counted = False
        if not self._is_counted:
            return Step((), row=self._request.row, text=part.text)
        assert part.tokens is not None
        new, self._tokens = part.tokens - self._tokens, part.tokens
        if new < 0:
            raise SampleError(f"the server counts {part.tokens} tokens after {part.tokens - new}")
        return Step((), row=self._request.row, text=part.text, text_tokens=new)

    def last(self, failed_attempts: int) -> Step:
        """Return the step that ends the row, with the server's figures.

        Raises:
            SampleError: the answer ended before its end, or has other tokens than the server counts.
        """
        if self._finish is None and not self._is_cut:
            raise SampleError(f"the answer ended after {self._what_came()} and does not say why")
        counted = self._figures.get("server_output_tokens")
        if self._dialect.has_ids and not self._is_cut and counted is not None and counted != self._ids:
            raise SampleError(f"{self._ids} token ids came, where the server counts {counted:g}")
        figures = {**self._figures, **({"failed_attempts": float(failed_attempts)} if failed_attempts else {})}
        return Step((), row=self._request.row, finish=self._finish or "stop", figures=figures)

    def _what_came(self) -> str:
        return f"{self._ids} tokens" if self._dialect.has_ids else "a part of the text"
