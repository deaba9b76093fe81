"""One request's canvas: the prompt, then masks that turn into tokens in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...core.contract.generation import Request


@dataclass(slots=True)
class Canvas:
    """Tokens by position.

    Attributes:
        request: what was asked for.
        mask_id: stands where nothing is committed yet.
        tokens: prompt and what is behind it so far.
        fresh: positions committed since the last ``take_fresh``, in the order of committing.
    """

    request: Request
    mask_id: int
    tokens: list[int]
    fresh: list[int] = field(default_factory=list)
    _known: int = 0

    @classmethod
    def of(cls, request: Request, mask_id: int) -> Canvas:
        """Begin with the prompt alone."""
        return cls(request, mask_id, list(request.prompt_ids), _known=len(request.prompt_ids))

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt_ids)

    @property
    def limit(self) -> int:
        """First position behind what may be visible."""
        return self.prompt_length + self.request.max_new_tokens

    def extend(self, end: int) -> None:
        """Put masks up to the position ``end``."""
        self.tokens += [self.mask_id] * (end - len(self.tokens))

    def without_prompt(self) -> list[int]:
        """Return the tokens with masks in place of the prompt."""
        return [self.mask_id] * self.prompt_length + self.tokens[self.prompt_length :]

    def masked(self, start: int, end: int) -> list[int]:
        """Return the masked positions from ``start`` to ``end`` - 1."""
        return [at for at in range(start, end) if self.tokens[at] == self.mask_id]

    def is_filled(self, at: int) -> bool:
        """Whether a position holds a token."""
        return self.tokens[at] != self.mask_id

    def put(self, positions: Sequence[int], ids: Sequence[int]) -> None:
        """Commit tokens; a position behind the end is appended."""
        for at, token in zip(positions, ids, strict=True):
            self.extend(at + 1)
            self.tokens[at] = token
        self.fresh += positions

    def take_fresh(self) -> list[int]:
        """Return the positions committed since the last call, in rising order."""
        taken = sorted(self.fresh)
        self.fresh = []
        return taken

    @property
    def is_finished(self) -> bool:
        """Whether the visible text is fixed: up to the first stop token, or to the limit, nothing is masked."""
        while self._known < min(len(self.tokens), self.limit):
            token = self.tokens[self._known]
            if token == self.mask_id:
                return False
            if self.request.is_stop(token):
                return True
            self._known += 1
        return self._known >= self.limit

    @property
    def stop_position(self) -> int | None:
        """Position of the stop token that ended the text, where one did."""
        at = self._known
        return at if at < min(len(self.tokens), self.limit) and self.request.is_stop(self.tokens[at]) else None
