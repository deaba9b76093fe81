"""The tokenizer of a GGUF file, rebuilt from its metadata for engines that bring none of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import ModelError
from .pretokenizer import KINDS, Kind
from .sentencepiece import SPACE, ScoredPieces

# token types of the GGUF specification
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_PREFIX = "tokenizer.ggml."
_SPACE_OF_C = " \t\n\v\f\r"


class GgufVocabulary:
    """Text to ids and back, as llama.cpp does it with the same file.

    Args:
        metadata: the file's key-value pairs.
        name: the file, for messages.

    Raises:
        ModelError: there is no tokenizer, or one of a kind that cannot be rebuilt; names it.
    """

    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self._stated = {key.removeprefix(_PREFIX): value for key, value in metadata.items() if _PREFIX in key}
        self._tokens: list[str] = list(self._stated.get("tokens") or ())
        if not self._tokens:
            raise ModelError(f"{name}: has no tokenizer ({_PREFIX}tokens)")
        self._types: list[int] = list(self._stated.get("token_type") or [_NORMAL] * len(self._tokens))
        model, pre = self._stated.get("model"), self._stated.get("pre")
        self._is_scored = model == "llama"
        if self._is_scored:
            self._plain = self._scored()
            adds_bos = True
        elif model == "gpt2" and pre in KINDS:
            self._plain = self._merged(KINDS[pre])
            adds_bos = KINDS[pre].adds_bos
        elif model == "gpt2":
            raise ModelError(f"{name}: {_PREFIX}pre = {pre!r} is not a kind that is known; known: {', '.join(KINDS)}")
        else:
            raise ModelError(f"{name}: {_PREFIX}model = {model!r} is not supported; known: 'gpt2', 'llama'")
        self._adds_prefix = self._is_scored and bool(self._stated.get("add_space_prefix", True))
        self._first = self._ends("add_bos_token", adds_bos, "bos_token_id", 1)
        self._last = self._ends("add_eos_token", False, "eos_token_id", 2)
        special = (_CONTROL, _USER_DEFINED, _UNKNOWN)
        whole = {self._tokens[i]: i for i, kind in enumerate(self._types) if kind in special and self._tokens[i]}
        self._whole = whole
        longest_first = "|".join(map(re.escape, sorted(whole, key=len, reverse=True)))
        self._cuts = re.compile(f"({longest_first})") if whole else None
        # Phi-3's special tokens swallow the space behind them; files do not say so, llama.cpp goes by the name too
        is_phi3 = any(text in str(metadata.get("general.name", "")).lower() for text in ("phi-3", "phi3"))
        self._swallowing = frozenset(whole) - {"<unk>", "<s>", "<|endoftext|>"} if is_phi3 else frozenset()

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise; special tokens in the text become their ids, begin and end token come as the file says.

        Args:
            text: to encode.
            adds_special: whether begin and end token may be added.
        """
        ids: list[int] = []
        special: str | None = ""  # the one before; None behind plain text
        for part in self._cuts.split(text) if self._cuts else [text]:
            if part in self._whole:
                ids.append(self._whole[part])
                special = part
            elif plain := part.lstrip(_SPACE_OF_C) if special in self._swallowing else part:
                ids += self._plain(f" {plain}" if self._adds_prefix and special is not None else plain)
                special = None
        return [*self._first, *ids, *self._last] if adds_special else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens left out; bytes that are no UTF-8 become replacement characters."""
        found = b"".join(self._bytes_of(token) for token in ids)
        has_prefix = self._adds_prefix and found.startswith(b" ")
        return found[has_prefix:].decode(errors="replace")

    def _ends(self, flag: str, default: bool, key: str, usual: int) -> list[int]:
        """Return the id that encoding adds at an end, if any; only SentencePiece files may leave it to be guessed."""
        token = self._stated.get(key, usual if self._is_scored else None)
        return [token] if self._stated.get(flag, default) and token is not None else []

    def _bytes_of(self, token: int) -> bytes:
        text, kind = self._tokens[token], self._types[token]
        if kind in (_CONTROL, _UNKNOWN):
            return b""
        if kind == _BYTE:
            return bytes([int(text[3:5], 16)])
        if kind == _USER_DEFINED:
            return text.encode()
        if self._is_scored:
            return text.replace(SPACE, " ").encode()
        return bytes(_BYTES[character] for character in text)

    def _scored(self) -> Callable[[str], list[int]]:
        ids = {text: i for i, text in enumerate(self._tokens)}
        byte_ids = {int(self._tokens[i][3:5], 16): i for i, kind in enumerate(self._types) if kind == _BYTE}
        return ScoredPieces(ids, self._stated.get("scores") or [0.0] * len(self._tokens), byte_ids).encode

    def _merged(self, kind: Kind) -> Callable[[str], list[int]]:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers

        ids = {text: i for i, text in enumerate(self._tokens)}
        pairs = (merge.split(" ", 1) for merge in self._stated.get("merges") or ())
        merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and {*pair, "".join(pair)} <= ids.keys()]
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=kind.ignores_merges))
        steps = [pre_tokenizers.Split(Regex(step), "isolated") for step in kind.steps]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of GPT-2's alphabet stands for."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTES = _byte_alphabet()
