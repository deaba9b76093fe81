"""Text to token ids and back with the model's own tokenizer, so that every engine gets the same ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.backend import Backend
from ..errors import ModelError
from .bpe_files import has_bpe_files, read_bpe_files
from .special_tokens import SpecialTokens, named_tokens, text_of, tokenizer_config

if TYPE_CHECKING:
    import tokenizers


class Codec:
    """Encodes prompts and decodes outputs of one model.

    Args:
        folder: the model's folder, whose tokenizer is used; without one the backend's own tokenizer is.
        backend: a loaded backend, asked only when the folder has no tokenizer; None: there is none to ask.

    Raises:
        ModelError: neither the folder nor the backend has a tokenizer.
    """

    def __init__(self, folder: Path, backend: Backend | None) -> None:
        self._backend = backend
        self._folder = folder
        self._tokenizer = load_tokenizer(folder)
        if self._tokenizer is None and (backend is None or "tokenizer" not in backend.supports):
            own = f", and backend {backend.name!r} has no tokenizer of its own" if backend else ""
            raise ModelError(
                f"{folder} has no tokenizer.json, vocab.json and merges.txt{own}", code="tokenizer-missing"
            )

    def encode(self, text: str) -> list[int]:
        """Return the ids of a plain prompt, with the special tokens that the tokenizer adds by itself."""
        if self._tokenizer is None:
            assert self._backend is not None
            return self._backend.encode(text)
        return list(self._tokenizer.encode(text).ids)

    def encode_behind(self, text: str) -> list[int]:
        """Return the ids of a text that has its special tokens already, such as a rendered chat."""
        if self._tokenizer is None:
            assert self._backend is not None
            return self._backend.encode(text, adds_special=False)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def begin_id(self) -> int:
        """Return the id that stands where a prompt is empty: the begin token, else the end token.

        Raises:
            ModelError: the files name neither.
        """
        found = self._special.begin_id()
        if found is None:
            raise ModelError(
                f"{self._folder} has no begin-of-sequence or end-of-sequence token: an empty prompt cannot be scored",
                code="cannot-score",
            )
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ``encode`` turns into ``ids``, special tokens left out."""
        if self._tokenizer is None:
            assert self._backend is not None
            return self._backend.decode(ids)
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def decode_behind(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids`` that follow others, as an answer follows its prompt, special tokens left out.

        ``decode`` takes off what ``encode`` puts before a text, with SentencePiece a space; behind a prompt that space
        is the model's own, such as the indentation of a line of code.
        """
        before, text = self._before
        return self.decode([*before, *ids])[len(text) :]

    @cached_property
    def _before(self) -> tuple[list[int], str]:
        """Ids that outputs are decoded behind, and their text: a letter, or what else the vocabulary has."""
        for text in ("a", "1", "."):
            ids = self.encode_behind(text)
            if self.decode(ids) == text:
                return ids, text
        return [], ""

    @property
    def plain_ids(self) -> int | None:
        """Number of ordinary ids (0 up to it), the ones fixed-length prompts are drawn from; None where unknown."""
        return None if self._tokenizer is None else int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def stop_ids(self) -> tuple[int, ...]:
        """Return the ids that end a generation, the same ones whichever container the model comes in."""
        return self._special.stop_ids()

    @cached_property
    def _special(self) -> SpecialTokens:
        return SpecialTokens.read(self._folder, control_tokens(self._tokenizer))


def pieces(decode: Callable[[Sequence[int]], str], steps: Iterable[Sequence[int]]) -> Iterator[str]:
    """Split the decoded text into each step's own piece, as the steps come; joined they give the whole text.

    A character whose bytes span several tokens belongs to the step that completes it. Decodes a short window per
    step instead of the whole prefix.
    """
    window: list[int] = []
    shown = ""
    for ids in steps:
        window.extend(ids)
        text = decode(window)
        if text.endswith("\ufffd"):
            yield ""
            continue
        yield text[len(shown) :]
        # The last ids stay as context: a decoder may join or strip spaces between neighbours.
        window = window[-4:]
        shown = decode(window)


def ids_hash(ids: Sequence[int]) -> str:
    """Return 16 hex digits that stand for a sequence of ids."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


def vocabulary_hash(folder: Path) -> str:
    """Return the SHA-256 over ids and tokens of a folder's tokenizer, hex: equal where the same ids mean the same.

    Raises:
        ModelError: the folder has no tokenizer, or a damaged one.
    """
    tokenizer = _read_tokenizer(folder)
    if tokenizer is None:
        raise ModelError(f"{folder} has no tokenizer.json, vocab.json and merges.txt", code="tokenizer-missing")
    tokens = sorted((index, token) for token, index in tokenizer.get_vocab(with_added_tokens=True).items())
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()


def load_tokenizer(folder: Path) -> tokenizers.Tokenizer | None:
    """Return the tokenizer of a folder as transformers would use it; None where the folder has none.

    Lengths to cut or to pad to, which some files store from training, are left out: a prompt is taken as it is. Tokens
    to which ``tokenizer_config.json`` gives a role are special, also where ``tokenizer.json`` has them as plain ones.

    Raises:
        ModelError: a file is damaged; names it.
    """
    tokenizer = _read_tokenizer(folder)
    if tokenizer is not None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _add_named(tokenizer, folder)
    return tokenizer


def _add_named(tokenizer: tokenizers.Tokenizer, folder: Path) -> None:
    """Make the tokens special to which the configuration gives a role; one that the vocabulary lacks gets the next id.

    Those that are only listed, without a role, stay plain where ``tokenizer.json`` has added them as such.
    """
    from tokenizers import AddedToken

    config = tokenizer_config(folder)
    listed = config.get("extra_special_tokens") or config.get("additional_special_tokens")
    further = [text for token in listed if (text := text_of(token))] if isinstance(listed, list) else []
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    named = [*named_tokens(folder).values(), *(text for text in further if text not in added)]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in named])


def control_tokens(tokenizer: tokenizers.Tokenizer | None) -> dict[str, int]:
    """Return the id of every special token by its text."""
    added = tokenizer.get_added_tokens_decoder() if tokenizer is not None else {}
    return {token.content: number for number, token in added.items() if token.special}


def _read_tokenizer(folder: Path) -> tokenizers.Tokenizer | None:
    file = folder / "tokenizer.json"
    if not folder.is_dir() or not (file.is_file() or has_bpe_files(folder)):
        return None
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file)) if file.is_file() else read_bpe_files(folder)
    except ModelError:
        raise
    except Exception as error:
        name = file if file.is_file() else folder / "vocab.json"
        raise ModelError(f"{name}: not a tokenizer ({error})", code="tokenizer-damaged") from error
