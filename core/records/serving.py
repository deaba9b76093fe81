"""What a backend that is open for requests is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .schema import Record, Sampling


class ServeRequest(Record):
    """What a serving worker is asked, a line each; it answers with one value for each prompt."""

    kind: Literal["score", "rolling", "generate"] = Field(
        description="score: (log-probability, is greedy) of each continuation behind its prompt; rolling: "
        "log-probability of each whole text; generate: the text that follows each prompt, all in one batch"
    )
    prompts: tuple[str, ...]
    continuations: tuple[str, ...] = ()
    is_rendered: bool = Field(False, description="prompts have their special tokens already, as rendered chats")
    max_new_tokens: int = Field(1, ge=1)
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
