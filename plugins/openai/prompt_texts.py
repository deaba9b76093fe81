"""Token ids as text and back, for servers that take no ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.sdk.tokenizer import load_tokenizer


class PromptTexts:
    """The tokenizer of a model's folder; without one there are no texts.

    Args:
        folder: of the model.

    Raises:
        ModelError: the tokenizer's file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)
        added = [] if self._tokenizer is None else list(self._tokenizer.encode("").ids)
        self._begin = added[:1]  # a server puts it there by itself, as this tokenizer does

    def __bool__(self) -> bool:
        return self._tokenizer is not None

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text that a server turns into ``ids`` again, special tokens written out."""
        assert self._tokenizer is not None
        own = list(ids)
        if self._begin and own[:1] == self._begin:
            del own[0]
        return str(self._tokenizer.decode(own, skip_special_tokens=False))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without those that begin or end one."""
        assert self._tokenizer is not None
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
