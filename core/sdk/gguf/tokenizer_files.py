"""The tokenizer of a GGUF file as the files of a Hugging Face folder: ``tokenizer.json`` and those beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ..special_tokens import ROLES, SpecialTokens
from .sentencepiece import SPACE
from .vocabulary import GgufVocabulary, byte_level

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEMPLATE = "tokenizer.chat_template"


def write_tokenizer(metadata: Mapping[str, Any], name: str, folder: Path) -> None:
    """Write what the key-value pairs of a GGUF file say of its tokenizer.

    Args:
        metadata: the pairs, arrays included.
        name: the file, for messages.
        folder: where ``tokenizer.json`` goes, and what stands beside it: roles, end tokens, chat template.

    Raises:
        ModelError: there is no tokenizer, or one of a kind that cannot be rebuilt; names it.
    """
    vocabulary = GgufVocabulary(metadata, name)
    tokenizer = _scored(vocabulary) if vocabulary.kind is None else byte_level(vocabulary)
    _add_whole_tokens(tokenizer, vocabulary)
    _add_ends(tokenizer, vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = SpecialTokens.of_metadata(metadata)
    roles = {role: special.texts[role] for role in ROLES if role in special.texts}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **roles}
    _write(folder / "tokenizer_config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": list(special.stop_ids())})
    if template := metadata.get(_TEMPLATE):
        if not isinstance(template, str):
            raise ModelError(f"{name}: {_TEMPLATE} = {repr(template)[:80]}; expected a text", code="template-failed")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _scored(vocabulary: GgufVocabulary) -> Tokenizer:
    """Build a tokenizer that merges by rank what SentencePiece merges by score."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {text: number for number, text in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=ids,
            merges=_merges(ids, vocabulary.scores),
            byte_fallback=True,
            unk_token=vocabulary.unknown,
            fuse_unk=True,
        )
    )
    prefix = [normalizers.Prepend(SPACE)] if vocabulary.adds_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if vocabulary.adds_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Return the pairs of pieces that give a piece, those of the highest score first, as they are merged."""
    pairs = []
    for union, number in ids.items():
        for cut in range(1, len(union)):
            if union[:cut] in ids and union[cut:] in ids:
                pairs.append((-scores[number], number, cut, union))
    pairs.sort()
    return [(union[:cut], union[cut:]) for _, _, cut, union in pairs]


def _add_whole_tokens(tokenizer: Tokenizer, vocabulary: GgufVocabulary) -> None:
    """Add the tokens that are found in a text before it is cut, in the order of their ids."""
    from tokenizers import AddedToken

    control = vocabulary.control
    tokens = [
        AddedToken(text, special=text in control, normalized=False, rstrip=text in vocabulary.swallowing)
        for text in vocabulary.whole
    ]
    tokenizer.add_special_tokens([token for token in tokens if token.special])
    tokenizer.add_tokens([token for token in tokens if not token.special])


def _add_ends(tokenizer: Tokenizer, vocabulary: GgufVocabulary) -> None:
    """Have the begin and end token added to every text, where the file says so."""
    from tokenizers import processors

    ends = [*vocabulary.first, *vocabulary.last]
    if not ends:
        return
    tokens = vocabulary.tokens
    single = [*(tokens[i] for i in vocabulary.first), "$A", *(tokens[i] for i in vocabulary.last)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(tokens[number], number) for number in dict.fromkeys(ends)]
    )
