"""A byte-level BPE tokenizer from the files that older Hugging Face folders have instead of ``tokenizer.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .checkpoint import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer splits text, and those of models made from it."""
_KNOWN = ("Qwen2Tokenizer", "Qwen2TokenizerFast", "DreamTokenizer", "DreamTokenizerFast")


def has_bpe_files(folder: Path) -> bool:
    """Say whether a folder has a vocabulary and merges."""
    return (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()


def read_bpe_files(folder: Path) -> Tokenizer:
    """Build Qwen2's tokenizer from ``vocab.json``, ``merges.txt`` and the added tokens.

    Raises:
        ModelError: a file is no JSON object, the tokenizer is of another kind, or ids are left out.
        Exception: what the tokenizers library says of inconsistent files.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    file = folder / "tokenizer_config.json"
    kind = read_json(file).get("tokenizer_class") if file.is_file() else None
    if kind not in _KNOWN:
        raise ModelError(
            f"{folder}: tokenizer_class = {kind!r} is not supported without tokenizer.json; known: {', '.join(_KNOWN)}",
            code="tokenizer-unsupported",
        )
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for number, text, is_special in sorted(_added(folder)):
        tokenizer.add_tokens([AddedToken(text, special=is_special, normalized=False)])
        got = tokenizer.token_to_id(text)
        if got != number:
            raise ModelError(
                f"{folder}: added token {text!r} has id {number}, but {got} is next", code="tokenizer-damaged"
            )
    return tokenizer


def _added(folder: Path) -> list[tuple[int, str, bool]]:
    """Return id, text and whether it is special of each added token."""
    found: dict[str, tuple[int, str, bool]] = {}
    for name, part in (("added_tokens.json", None), ("tokenizer_config.json", "added_tokens_decoder")):
        if not (folder / name).is_file():
            continue
        content: Any = read_json(folder / name)
        if part is None:
            found |= {text: (number, text, True) for text, number in content.items()}
        else:
            for number, token in (content.get(part) or {}).items():
                found[token["content"]] = (int(number), token["content"], bool(token.get("special")))
    return list(found.values())
