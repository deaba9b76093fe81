"""The tokenizer of a GGUF file, by tinygrad's own reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import BackendError


class Vocabulary:
    """Text to ids and back.

    Args:
        metadata: the file's key-value pairs.

    Raises:
        BackendError: a kind of tokenizer that tinygrad does not know.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        from tinygrad.llm.cli import SimpleTokenizer

        try:
            self._tokenizer = SimpleTokenizer.from_gguf_kv(dict(metadata))
        except (KeyError, ValueError) as error:
            kind = metadata.get("tokenizer.ggml.pre", metadata.get("tokenizer.ggml.model"))
            raise BackendError(f"tinygrad cannot read the .gguf file's tokenizer of kind {kind!r}") from error

    def encode(self, text: str) -> list[int]:
        """Tokenise; a beginning-of-sequence id comes first where the file says so."""
        return [*self._tokenizer.prefix(), *self._tokenizer.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text; bytes that are no UTF-8 become replacement characters."""
        return str(self._tokenizer.decode(list(ids)))


def stop_ids(metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids that the file declares to end a sequence or a turn."""
    names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return tuple(sorted({int(metadata[name]) for name in names if name in metadata}))
