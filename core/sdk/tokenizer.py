"""Text to token ids and back with the model's own tokenizer, so that every engine gets the same ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.backend import Backend
from ..errors import ModelError
from .bpe_files import has_bpe_files, read_bpe_files

if TYPE_CHECKING:
    import tokenizers

_SIDE_FILES = ("tokenizer_config.json", "generation_config.json", "config.json")


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
        self._tokenizer = _load_tokenizer(folder)
        if self._tokenizer is None and (backend is None or "tokenizer" not in backend.supports):
            own = f", and backend {backend.name!r} has no tokenizer of its own" if backend else ""
            raise ModelError(f"{folder} has no tokenizer.json, vocab.json and merges.txt{own}")

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
            return self._backend.encode(text)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def begin_id(self) -> int:
        """Return the id that stands where a prompt is empty: the begin token, else the end token.

        The tokenizer's own files come before the model's, whose begin token may be one that no text begins with.

        Raises:
            ModelError: the files name neither.
        """
        for files in (_SIDE_FILES[:1], _SIDE_FILES[1:]):
            for key in ("bos_token", "eos_token"):
                if ids := self._ids_named(key, files):
                    return ids[0]
        raise ModelError(f"{self._folder} names no begin or end token, so that an empty prompt cannot be scored")

    def encode_chat(self, messages: Sequence[tuple[str, str]]) -> tuple[str, list[int]]:
        """Render ``messages`` (role, content) with the model's chat template; return the text and its ids.

        Raises:
            ModelError: the model has no chat template, or it cannot be rendered.
        """
        text = render_chat(self._folder, messages)
        return text, self.encode_behind(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``, special tokens left out."""
        if self._tokenizer is None:
            assert self._backend is not None
            return self._backend.decode(ids)
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def plain_ids(self) -> int | None:
        """Number of ordinary ids (0 up to it), the ones fixed-length prompts are drawn from; None where unknown."""
        return None if self._tokenizer is None else int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def stop_ids(self) -> tuple[int, ...]:
        """Return the ids that end a generation, as the model's folder states them."""
        return tuple(sorted(set(self._ids_named("eos_token"))))

    def _ids_named(self, key: str, files: Sequence[str] = _SIDE_FILES) -> list[int]:
        """Return the ids that the folder's files give for ``bos_token`` or ``eos_token``, in the files' order."""
        found: list[int] = []
        for name in files:
            content = _read_json(self._folder / name) if self._folder.is_dir() else {}
            token = content.get(key)
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str) and self._tokenizer is not None:
                found += _as_ids(self._tokenizer.token_to_id(token))
            found += _as_ids(content.get(f"{key}_id"))
        return found


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
    tokenizer = _load_tokenizer(folder)
    if tokenizer is None:
        raise ModelError(f"{folder} has no tokenizer.json, vocab.json and merges.txt")
    tokens = sorted((index, token) for token, index in tokenizer.get_vocab(with_added_tokens=True).items())
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()


def _load_tokenizer(folder: Path) -> tokenizers.Tokenizer | None:
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
        raise ModelError(f"{name}: not a tokenizer ({error})") from error


def render_chat(folder: Path, messages: Sequence[tuple[str, str]], *, asks_for_answer: bool = True) -> str:
    """Render ``messages`` (role, content) with the chat template of a model's folder.

    Args:
        folder: the model's.
        messages: the turns.
        asks_for_answer: whether the text ends with what begins an answer.

    Raises:
        ModelError: the model has no chat template, or it cannot be rendered.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    config = _read_json(folder / "tokenizer_config.json") if folder.is_dir() else {}
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if not isinstance(template, str):
        raise ModelError(f"{folder} has no chat template; leave --chat out")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    turns = [{"role": role, "content": content} for role, content in messages]
    tokens = {name: config[name] for name in ("bos_token", "eos_token") if isinstance(config.get(name), str)}
    try:
        return environment.from_string(template).render(messages=turns, add_generation_prompt=asks_for_answer, **tokens)
    except TemplateError as error:
        raise ModelError(f"{folder}: its chat template cannot be rendered ({error})") from error


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def _as_ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
