"""How texts are cut before their pieces are merged: by the engine's name for it, and as a ``tokenizer.json`` says it.

The expressions of a name are those of llama.cpp (src/llama-vocab.cpp) in the form that the models' own files have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from .sentencepiece import SPACE

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
_QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# llama.cpp's own, where a file names no kind: four cuts one after another
_DEFAULT = (
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
)
_DIGITS = r"\p{N}"
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


@dataclass(frozen=True, slots=True)
class Kind:
    """A byte-level kind of tokenizer.

    Attributes:
        steps: the expressions by which a text is cut, one after another.
        ignores_merges: whether a piece that is a token is taken whole, whatever the merges.
        adds_bos: whether the begin token comes first where a file does not say so.
    """

    steps: tuple[str, ...]
    ignores_merges: bool = False
    adds_bos: bool = False


_BY_KIND: dict[Kind, str] = {
    Kind((_GPT2,)): "gpt-2 phi-2 gigachat a.x-4.0 mellum mpt olmo jais trillion granite-docling exaone4",
    Kind((_DIGITS, _GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    Kind((_LLAMA3,), ignores_merges=True, adds_bos=True): "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral "
    "midm-2.0 lfm2",
    Kind((_LLAMA3,), ignores_merges=True): "glm4 glm5",
    Kind((_LLAMA3,)): "smaug-bpe dbrx chatglm-bpe",
    Kind((_QWEN2,)): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    Kind((_QWEN35,)): "qwen35",
    Kind(_DEFAULT): "default",
    Kind(("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")): "deepseek-coder",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _BY_KIND.items() for name in names.split()}
"""The kinds that can be rebuilt exactly, by the value of ``tokenizer.ggml.pre``."""

DEFAULT = "default"
"""The kind that llama.cpp takes where a file names none."""


def assumed_kind(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where a file does not state how its tokenizer cuts texts; nothing where it does."""
    if metadata.get("tokenizer.ggml.model") != "gpt2" or metadata.get("tokenizer.ggml.pre"):
        return ()
    return (
        "tokenizer.ggml.pre is missing: texts are cut by llama.cpp's default, perhaps not as the model was trained",
    )


# the steps of the pre-tokenizer, by the name that the engine has for them; llama's has two
_NAMED = {kind.steps: names.split()[0] for kind, names in _BY_KIND.items() if kind.steps != (_LLAMA3,)}


def engine_name(path: Path, source: dict[str, Any]) -> str:
    """Return the value for ``tokenizer.ggml.pre``.

    Args:
        path: the ``tokenizer.json``, for messages.
        source: its content.

    Raises:
        ModelError: the engine has no such pre-tokenizer; the message holds the expression.
    """
    for part in _flat(source.get("normalizer"), "normalizers"):
        if part["type"] != "NFC":  # the engine has none; composed text, which is nearly all text, is not changed
            raise ModelError(
                f"{path}: normalizer {part['type']!r} is not supported by llama.cpp", code="tokenizer-unsupported"
            )
    steps = tuple(_steps(path, source.get("pre_tokenizer")))
    if steps == (_LLAMA3,):
        # the same expression under two names; only the first looks whole words up before merging
        return "llama-bpe" if source["model"].get("ignore_merges") else "smaug-bpe"
    if steps not in _NAMED:
        raise ModelError(
            f"{path}: pre_tokenizer {list(steps)} is not supported by llama.cpp", code="tokenizer-unsupported"
        )
    return _NAMED[steps]


def adds_space_prefix(path: Path, source: dict[str, Any]) -> bool:
    """Say whether a SentencePiece-style tokenizer puts a space before the text.

    Raises:
        ModelError: the text is changed in other ways than SentencePiece would.
    """
    prefix = False
    for part in _flat(source.get("normalizer"), "normalizers"):
        if part["type"] == "Prepend" and part.get("prepend") == SPACE:
            prefix = True
        elif part["type"] != "Replace" or part.get("content") != SPACE:
            raise ModelError(
                f"{path}: normalizer {part['type']!r} is not supported by llama.cpp", code="tokenizer-unsupported"
            )
    for part in _flat(source.get("pre_tokenizer"), "pretokenizers"):
        if part["type"] != "Metaspace":
            raise ModelError(
                f"{path}: pre_tokenizer {part['type']!r} with byte_fallback is not supported",
                code="tokenizer-unsupported",
            )
        prefix = prefix or part.get("prepend_scheme", "always") != "never"
    return prefix


def _flat(part: dict[str, Any] | None, children: str) -> list[dict[str, Any]]:
    if not part:
        return []
    if part["type"] == "Sequence":
        return [leaf for child in part[children] for leaf in _flat(child, children)]
    return [part]


def _steps(path: Path, pre_tokenizer: dict[str, Any] | None) -> list[str]:
    """Return the regular expressions by which the text is cut, in order."""
    steps = []
    for part in _flat(pre_tokenizer, "pretokenizers"):
        kind = part["type"]
        if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
            pattern = part["pattern"]
            steps.append(pattern.get("Regex", pattern.get("String")))
        elif kind == "Digits" and part.get("individual_digits"):
            steps.append(_DIGITS)
        elif kind == "ByteLevel" and not part.get("add_prefix_space"):
            if part.get("use_regex", True):
                steps.append(_GPT2)
        else:
            raise ModelError(
                f"{path}: pre_tokenizer step {part} is not supported by llama.cpp", code="tokenizer-unsupported"
            )
    return steps
