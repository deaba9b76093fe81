"""The tokenizer of a GGUF file, rebuilt from its metadata for engines that bring none of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from .pretokenizer import DEFAULT, KINDS, Kind
from .sentencepiece import SPACE, ScoredPieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# token types of the GGUF specification
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_PREFIX = "tokenizer.ggml."
_IS_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_SPACE_OF_C = " \t\n\v\f\r"


class GgufVocabulary:
    """Text to ids and back, as llama.cpp does it with the same file.

    Args:
        metadata: the file's key-value pairs.
        name: the file, for messages.

    Attributes:
        tokens: text of every id.
        scores: merge priority of every id; SentencePiece only.
        kind: how a byte-level tokenizer cuts texts; None for SentencePiece.
        whole: ids of the tokens that are found in a text before it is cut, by their texts.
        swallowing: those among them that take the white space behind them.
        first: ids that encoding puts first.
        last: ids that it puts last.
        adds_prefix: whether encoding puts a space before a text.

    Raises:
        ModelError: there is no tokenizer, or one of a kind that cannot be rebuilt; names it.
    """

    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self._stated = {key.removeprefix(_PREFIX): value for key, value in metadata.items() if _PREFIX in key}
        self._name = name
        self.tokens: list[str] = self._listed("tokens", str)
        if not self.tokens:
            raise ModelError(f"{name}: has no tokenizer ({_PREFIX}tokens)", code="tokenizer-missing")
        self._types: list[int] = self._of_tokens("token_type", int) or [_NORMAL] * len(self.tokens)
        self.scores: list[float] = self._of_tokens("scores", int | float) or [0.0] * len(self.tokens)
        for text, kind in zip(self.tokens, self._types, strict=True):
            if kind == _BYTE and not _IS_BYTE.fullmatch(text):
                raise self._wrong("tokens", text, "a byte such as <0x0A>")
        self.kind = self._kind(name)
        self._is_scored = self.kind is None
        self.adds_prefix = self._is_scored and bool(self._stated.get("add_space_prefix", True))
        self.first = self._ends("add_bos_token", self.kind is None or self.kind.adds_bos, "bos_token_id", 1)
        self.last = self._ends("add_eos_token", False, "eos_token_id", 2)
        special = (_CONTROL, _USER_DEFINED, _UNKNOWN)
        self.whole = {self.tokens[i]: i for i, kind in enumerate(self._types) if kind in special and self.tokens[i]}
        longest_first = "|".join(map(re.escape, sorted(self.whole, key=len, reverse=True)))
        self._cuts = re.compile(f"({longest_first})") if self.whole else None
        # Phi-3's special tokens swallow the space behind them; files do not say so, llama.cpp goes by the name too
        is_phi3 = any(text in str(metadata.get("general.name", "")).lower() for text in ("phi-3", "phi3"))
        self.swallowing = frozenset(self.whole) - {"<unk>", "<s>", "<|endoftext|>"} if is_phi3 else frozenset()

    def _listed(self, key: str, kind: type | UnionType) -> list[Any]:
        """Return a list that the file may leave out."""
        value = self._stated.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, kind) for each in value)):
            raise self._wrong(key, value, f"a list of {kind.__name__ if isinstance(kind, type) else 'numbers'}")
        return list(value or ())

    def _of_tokens(self, key: str, kind: type | UnionType) -> list[Any]:
        found = self._listed(key, kind)
        if found and len(found) != len(self.tokens):
            raise self._wrong(key, f"{len(found)} values", f"one for each of {len(self.tokens)} tokens")
        return found

    def _wrong(self, key: str, value: object, expected: str) -> ModelError:
        text = f"{self._name}: {_PREFIX}{key} = {repr(value)[:80]}; expected {expected}"
        return ModelError(text, code="tokenizer-damaged")

    def _kind(self, name: str) -> Kind | None:
        model, pre = self._stated.get("model"), self._stated.get("pre") or DEFAULT
        if model == "llama":
            return None
        known = ("gpt2", "llama") if model != "gpt2" else KINDS
        if model == "gpt2" and isinstance(pre, str) and pre in KINDS:
            return KINDS[pre]
        key, value = ("pre", pre) if model == "gpt2" else ("model", model)
        raise ModelError(
            f"{name}: {_PREFIX}{key} = {str(value)[:80]!r} is not supported; known: {', '.join(known)}. An "
            "engine with a tokenizer for it opens the .gguf file as it is; for the others name the Hugging Face folder",
            code="tokenizer-unsupported",
        )

    @property
    def merges(self) -> list[tuple[str, str]]:
        """Pairs of pieces by rank; byte-level only."""
        ids = self._ids
        pairs = (merge.split(" ", 1) for merge in self._listed("merges", str))
        return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and {*pair, "".join(pair)} <= ids.keys()]

    @property
    def control(self) -> frozenset[str]:
        """Texts of the tokens that are no text: those of ``whole`` that mark something."""
        return frozenset(text for text, i in self.whole.items() if self._types[i] in (_CONTROL, _UNKNOWN))

    @property
    def unknown(self) -> str | None:
        """The token for what no other stands for."""
        return next((self.tokens[i] for i, kind in enumerate(self._types) if kind == _UNKNOWN), None)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.tokens)}

    @cached_property
    def _plain(self) -> Callable[[str], list[int]]:
        """What turns text without special tokens into ids."""
        if self.kind is None:
            byte_ids = {int(self.tokens[i][3:5], 16): i for i, kind in enumerate(self._types) if kind == _BYTE}
            return ScoredPieces(self._ids, self.scores, byte_ids).encode
        tokenizer = byte_level(self)
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise; special tokens in the text become their ids, begin and end token come as the file says.

        Args:
            text: to encode.
            adds_special: whether begin and end token may be added.
        """
        ids: list[int] = []
        special: str | None = ""  # the one before; None behind plain text
        for part in self._cuts.split(text) if self._cuts else [text]:
            if part in self.whole:
                ids.append(self.whole[part])
                special = part
            elif plain := part.lstrip(_SPACE_OF_C) if special in self.swallowing else part:
                ids += self._plain(f" {plain}" if self.adds_prefix and special is not None else plain)
                special = None
        return [*self.first, *ids, *self.last] if adds_special else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens left out; bytes that are no UTF-8 become replacement characters."""
        found = b"".join(self._bytes_of(token) for token in ids)
        has_prefix = self.adds_prefix and found.startswith(b" ")
        return found[has_prefix:].decode(errors="replace")

    def _ends(self, flag: str, default: bool, key: str, usual: int) -> list[int]:
        """Return the id that encoding adds at an end, if any; only SentencePiece files may leave it to be guessed."""
        token = self._stated.get(key, usual if self._is_scored else None)
        if token is None or not self._stated.get(flag, default):
            return []
        if type(token) is not int or not 0 <= token < len(self.tokens):
            raise self._wrong(key, token, f"the id of one of {len(self.tokens)} tokens")
        return [token]

    def _bytes_of(self, token: int) -> bytes:
        text, kind = self.tokens[token], self._types[token]
        if kind in (_CONTROL, _UNKNOWN):
            return b""
        if kind == _BYTE:
            return bytes([int(text[3:5], 16)])
        if kind == _USER_DEFINED:
            return text.encode()
        if self._is_scored:
            return text.replace(SPACE, " ").encode()
        return bytes(_BYTES[character] for character in text)


def byte_level(vocabulary: GgufVocabulary) -> Tokenizer:
    """Build a tokenizer of the tokenizers library from a byte-level vocabulary, its special tokens apart."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    kind = vocabulary.kind
    assert kind is not None
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=vocabulary.merges, ignore_merges=kind.ignores_merges))
    steps = [pre_tokenizers.Split(Regex(step), "isolated") for step in kind.steps]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of GPT-2's alphabet stands for."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTES = _byte_alphabet()
