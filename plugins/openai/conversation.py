"""How one server is asked: its dialect, its name for the model, and text where it takes no ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ... import SampleError
from ...core.contract.generation import Request
from .answer import Answer
from .dialects.dialect import Asked, Dialect
from .extra_fields import merged
from .prompt_texts import PromptTexts


@dataclass(frozen=True, slots=True)
class Conversation:
    """What stays the same from request to request.

    Attributes:
        dialect: the server's family.
        model: the server's name for the model.
        avoids_cache: whether prompts must be computed anew, where the server can be asked for that.
        texts: the model's own tokenizer.
        extra_body: further fields of every request, none of which the dialect states.
    """

    dialect: Dialect
    model: str | None
    avoids_cache: bool
    texts: PromptTexts
    extra_body: Mapping[str, Any]

    def body(self, request: Request) -> dict[str, Any]:
        """Return what is sent for a request.

        Raises:
            SampleError: it asks for what the server's API has no field for.
        """
        if request.top_k and not self.dialect.has_top_k and self.extra_body.get("top_k") != request.top_k:
            raise SampleError(
                f"top_k = {request.top_k}: OpenAI's API has no such field; where the server has one, name it in "
                f'extra_body, as in {{"top_k": {request.top_k}}}',
                code="not-supported",
            )
        text = "" if self.dialect.has_ids else self.texts.text_of(request.prompt_ids)
        asked = Asked(request, text, self.model, self.avoids_cache and self.dialect.can_avoid_cache)
        return merged(self.dialect.body(asked), self.extra_body)

    def answer(self, request: Request) -> Answer:
        """Return what reads the answer to a request."""
        return Answer(request, self.dialect, self.texts.encode if self.texts else None)
