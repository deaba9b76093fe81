"""The special tokens of a model: what its files call them, and which of them end a generation.

One rule for every container, so that the same model stops at the same tokens as a Hugging Face folder and as a GGUF
file: what the files declare, and every control token whose text is known to end a turn or a text. A GGUF file has room
for one end token where ``generation_config.json`` lists several, and many a folder declares none but the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .gguf.metadata import read_metadata
from .gguf.parts import find_gguf

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""What ``tokenizer_config.json`` calls the tokens with a role; chat templates know them by the same names."""

TOKENIZER_CONFIG = "tokenizer_config.json"
_MODEL_FILES = ("generation_config.json", "config.json")
_GGUF_ROLES = {
    "bos": "bos_token",
    "eos": "eos_token",
    "unknown": "unk_token",
    "seperator": "sep_token",  # as the specification spells it
    "padding": "pad_token",
    "cls": "cls_token",
    "mask": "mask_token",
}
_BEGINS = ("bos_token", "eos_token")
_GGUF_ENDS = ("eos", "eot", "eom")
_GGUF_CONTROL = 3
_SENTENCEPIECE = {"bos": 1, "eos": 2, "unknown": 0}  # where a file of that kind does not say

_ENDS = frozenset(
    {
        "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "<|end|>", "<|return|>",
        "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<turn|>", "<eos>", "</s>", "<EOT>", "_<EOT>", "[EOT]",
        "[EOS]", "<end_of_utterance>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
    }
)  # fmt: skip
"""Texts of control tokens that end a turn or a text: those of llama.cpp (src/llama-vocab.cpp)."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What a model's files say of its special tokens.

    Attributes:
        texts: text of each token that has a name, those of ``ROLES`` and what else the files name.
        ids: ids of those roles, as the files state them; several where a file lists several.
        control: id of every control token, by its text.
        ends: further ids that the files declare to end a generation.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    control: Mapping[str, int] = field(default_factory=dict)
    ends: tuple[int, ...] = ()

    @classmethod
    def read(cls, path: Path, control: Mapping[str, int]) -> SpecialTokens:
        """Read the files of a model.

        Args:
            path: a Hugging Face folder, a GGUF file, or a folder with one.
            control: id of every special token of the folder's tokenizer, by its text; a GGUF file has its own.

        Raises:
            ModelError: a file is damaged; names it.
        """
        if path.is_dir() and (control or (path / TOKENIZER_CONFIG).is_file()):
            return _of_folder(path, control)
        if path.is_file() and path.suffix != ".gguf":
            return cls()  # an engine's own format
        file = find_gguf(path)
        return _of_folder(path, control) if file is None else cls.of_metadata(read_metadata(file))

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> SpecialTokens:
        """Return what the key-value pairs of a GGUF file say."""
        tokens = _texts(metadata.get("tokenizer.ggml.tokens"))
        usual = _SENTENCEPIECE if metadata.get("tokenizer.ggml.model") == "llama" else {}

        def stated(name: str) -> Iterator[int]:
            token = metadata.get(f"tokenizer.ggml.{name}_token_id", usual.get(name))
            if isinstance(token, int) and 0 <= token < len(tokens):
                yield token

        ids = {role: tuple(stated(name)) for name, role in _GGUF_ROLES.items()}
        kinds = metadata.get("tokenizer.ggml.token_type")
        kinds = kinds if isinstance(kinds, list | tuple) else []
        control = {text: i for i, (text, kind) in enumerate(zip(tokens, kinds, strict=False)) if kind == _GGUF_CONTROL}
        texts = {role: tokens[found[0]] for role, found in ids.items() if found}
        return cls(texts, ids, control, tuple(token for name in _GGUF_ENDS for token in stated(name)))

    def begin_id(self) -> int | None:
        """Return the id that stands where a prompt is empty: the begin token, else the end token."""
        named = [self.control[text] for role in _BEGINS if (text := self.texts.get(role, "")) in self.control]
        # the tokenizer's word comes before the model's, whose begin token may be one that no text begins with
        return next(iter([*named, *(token for role in _BEGINS for token in self.ids.get(role, ()))]), None)

    def stop_ids(self) -> tuple[int, ...]:
        """Return the ids that end a generation, in their order."""
        known = _ENDS & self.control.keys()
        if known & {"<|call|>", "<|calls|>"} and known & {"<|return|>", "<|flush|>"}:
            known -= {"<|end|>"}  # there it ends a channel, not the answer
        if "<|tool_response>" in known:
            known -= {"</s>"}  # there it is a word
        return tuple(sorted({*self.ids.get("eos_token", ()), *self.ends, *(self.control[text] for text in known)}))


def _of_folder(folder: Path, control: Mapping[str, int]) -> SpecialTokens:
    texts = named_tokens(folder)
    ids = {role: (control[text],) for role, text in texts.items() if text in control}
    contents = [_read(folder / name) for name in (TOKENIZER_CONFIG, *_MODEL_FILES)]
    for role in _BEGINS:
        stated = [token for content in contents for token in _ids(content.get(f"{role}_id"))]
        ids[role] = tuple(dict.fromkeys([*ids.get(role, ()), *stated]))
    return SpecialTokens(texts, ids, control)


def named_tokens(folder: Path) -> dict[str, str]:
    """Return the text of every token that has a name, by it: the common roles first, then those of one model alone."""
    config = tokenizer_config(folder)
    extra = config.get("extra_special_tokens")
    named = {key: value for key, value in config.items() if key.endswith("_token")}
    named |= extra if isinstance(extra, dict) else {}
    texts = {key: text for key in (*ROLES, *named) if (text := text_of(named.get(key))) is not None}
    return {key: text for key, text in texts.items() if text}


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """Return ``tokenizer_config.json``; an older one, without its added tokens, is overruled by another file.

    Raises:
        ModelError: one of the two is damaged.
    """
    config = _read(folder / TOKENIZER_CONFIG)
    return config if "added_tokens_decoder" in config else config | _read(folder / "special_tokens_map.json")


def text_of(token: object) -> str | None:
    """Return the text of a token as the files write it: itself, or an object with its ``content``."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _texts(value: object) -> list[str]:
    return list(value) if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value) else []


def _ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool)]


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not JSON ({error})", code="tokenizer-damaged") from error
    return content if isinstance(content, dict) else {}
