"""The engine's own tokenizer, for files that carry no other."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ... import BackendError


def encode(vocab: Any, text: str) -> list[int]:  # noqa: ANN401 - a C pointer
    """Tokenise ``text``; special tokens written in it become their ids, bos and eos come as the file says."""
    import llama_cpp

    _require_tokens(vocab)
    raw = text.encode()
    size = len(raw) + 2  # no token is shorter than a byte; bos and eos
    while True:
        ids = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), ids, size, True, True)
        if count >= 0:
            return list(ids[:count])
        if -count <= size:
            raise BackendError(f"llama.cpp could not tokenise a text of {len(raw)} bytes (status {count})")
        size = -count


def decode(vocab: Any, ids: Sequence[int]) -> str:  # noqa: ANN401 - a C pointer
    """Turn ids into text, special tokens written out; bytes that are no UTF-8 become replacement characters."""
    import llama_cpp

    _require_tokens(vocab)
    strip = 0
    if llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_SPM:
        strip = 1  # the space that encoding put before the text
    pieces = []
    for token_id in ids:
        pieces.append(_piece(vocab, token_id, strip))
        if not llama_cpp.llama_vocab_is_control(vocab, token_id):
            strip = 0
    return b"".join(pieces).decode(errors="replace")


def _require_tokens(vocab: Any) -> None:  # noqa: ANN401 - a C pointer
    import llama_cpp

    if llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:  # the engine would abort
        raise BackendError("the .gguf file has no tokenizer")


def _piece(vocab: Any, token_id: int, strip: int) -> bytes:  # noqa: ANN401 - a C pointer
    import llama_cpp

    size = 64
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = llama_cpp.llama_token_to_piece(vocab, token_id, buffer, size, strip, True)
        if length >= 0:
            return buffer.raw[:length]
        size = -length


def stop_ids(vocab: Any) -> tuple[int, ...]:  # noqa: ANN401 - a C pointer
    """Return every id that the file declares, or the engine knows, to end a generation or a turn."""
    import llama_cpp

    count = llama_cpp.llama_vocab_n_tokens(vocab)
    return tuple(i for i in range(count) if llama_cpp.llama_vocab_is_eog(vocab, i))
