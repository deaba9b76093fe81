"""The engine's own tokenizer, for files that carry no other."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ... import BackendError
from .engine import stated


class Vocabulary:
    """Text to ids and back with a file's own vocabulary.

    Args:
        model: the engine's handle.

    Raises:
        BackendError: the file has no tokenizer, or does not say how it cuts texts.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - a C pointer
        import llama_cpp

        self._vocab = llama_cpp.llama_model_get_vocab(model)
        kind = llama_cpp.llama_vocab_type(self._vocab)
        if kind == llama_cpp.LLAMA_VOCAB_TYPE_NONE:  # the engine would abort
            raise BackendError("the .gguf file has no tokenizer", code="tokenizer-missing")
        if kind == llama_cpp.LLAMA_VOCAB_TYPE_BPE and stated(model, "tokenizer.ggml.model") == "gpt2":
            pre = stated(model, "tokenizer.ggml.pre")
            if pre in (None, "default"):  # the engine would guess, and warn in its log that it does
                raise BackendError(
                    f"the .gguf file does not say how its tokenizer cuts texts: tokenizer.ggml.pre = {pre!r}; "
                    "convert the model again",
                    code="tokenizer-unsupported",
                )
        is_scored = kind == llama_cpp.LLAMA_VOCAB_TYPE_SPM
        self._adds_prefix = is_scored and stated(model, "tokenizer.ggml.add_space_prefix") != "false"

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise ``text``; special tokens written in it become their ids.

        Args:
            text: to encode.
            adds_special: whether begin and end token come as the file says, or not at all.
        """
        import llama_cpp

        raw = text.encode()
        size = len(raw) + 2  # no token is shorter than a byte; bos and eos
        while True:
            ids = (llama_cpp.llama_token * size)()
            count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), ids, size, adds_special, True)
            if count >= 0:
                return list(ids[:count])
            if -count <= size:
                raise BackendError(f"llama.cpp could not tokenise a text of {len(raw)} bytes (status {count})")
            size = -count

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens left out; bytes that are no UTF-8 become replacement characters."""
        found = b"".join(self._piece(token) for token in ids)
        # the space that encoding put before the text
        return found[self._adds_prefix and found.startswith(b" ") :].decode(errors="replace")

    def _piece(self, token: int) -> bytes:
        import llama_cpp

        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length
