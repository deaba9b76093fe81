"""From ``tokenizer.json`` to the tokenizer metadata of a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ..checkpoint import Checkpoint, read_json
from .pretokenizer import adds_space_prefix, engine_name

if TYPE_CHECKING:
    from gguf import GGUFWriter

# token types of the GGUF specification
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6


@dataclass(slots=True)
class Vocabulary:
    """A tokenizer as GGUF describes it.

    Attributes:
        model: ``"gpt2"`` (byte-level BPE) or ``"llama"`` (SentencePiece BPE with byte fallback).
        pre: the engine's name of the pre-tokenizer; empty for ``"llama"``.
        tokens: text of every id, padded up to the rows of the embedding.
        types: GGUF token type of every id.
        merges: ``"left right"`` by rank; ``"gpt2"`` only.
        scores: merge priority of every id; ``"llama"`` only.
        special: ids by role: bos, eos, pad, unk.
        add_bos: whether encoding puts the bos token first.
        add_eos: whether encoding puts the eos token last.
        add_space_prefix: whether encoding puts a space before the text; ``"llama"`` only.
        chat_template: Jinja source, if any.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = False
    chat_template: str | None = None

    @classmethod
    def read(cls, checkpoint: Checkpoint, rows: int) -> Vocabulary:
        """Read the folder's tokenizer.

        Args:
            checkpoint: an opened folder.
            rows: rows of the embedding; ids beyond the tokenizer become unused tokens.

        Raises:
            ModelError: a kind of tokenizer that the engine cannot reproduce; names what.
        """
        path = checkpoint.folder / "tokenizer.json"
        source = read_json(path)
        model = source.get("model") or {}
        if model.get("type", "BPE") != "BPE" or "merges" not in model:
            raise ModelError(
                f"{path}: model.type = {model.get('type')!r} is not supported; known: 'BPE'",
                code="tokenizer-unsupported",
            )
        tokens, types = _tokens(path, source, rows)
        merges = [m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"]]
        if model.get("byte_fallback"):
            found = cls("llama", "", tokens, types, scores=_scores(tokens, merges))
            found.add_space_prefix = adds_space_prefix(path, source)
            _mark_bytes(found, model.get("unk_token"))
        else:
            pre = engine_name(path, source)
            found = cls("gpt2", pre, tokens, types, merges=[" ".join(pair) for pair in merges])
        _read_specials(found, checkpoint, source)
        found.chat_template = _chat_template(checkpoint.folder)
        return found

    def write(self, writer: GGUFWriter) -> None:
        """Add the tokenizer's metadata to the file."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre or "default")
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.model == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.add_space_prefix)
        for role, token_id in self.special.items():
            getattr(writer, f"add_{role}_token_id")(token_id)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def _tokens(path: Path, source: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return text and type of every id; ids without a token become unused ones."""
    by_id = {int(i): (text, _NORMAL) for text, i in source["model"]["vocab"].items()}
    for added in source.get("added_tokens", []):
        by_id[added["id"]] = (added["content"], _CONTROL if added.get("special") else _USER_DEFINED)
    largest = max(by_id, default=-1)
    if largest >= rows:
        raise ModelError(
            f"{path}: token id {largest} lies beyond the model's vocab_size = {rows}", code="tokenizer-damaged"
        )
    table = [by_id.get(i, (f"[PAD{i}]", _UNUSED)) for i in range(rows)]
    return [text for text, _ in table], [kind for _, kind in table]


def _scores(tokens: list[str], merges: list[list[str]]) -> list[float]:
    """Turn merge ranks into the scores by which SentencePiece merges: the earlier a merge, the higher."""
    rank: dict[str, int] = {}
    for i, (left, right) in enumerate(merges):
        rank.setdefault(left + right, i)
    return [-float(rank.get(text, len(merges))) for text in tokens]


def _mark_bytes(vocabulary: Vocabulary, unknown: str | None) -> None:
    for i, text in enumerate(vocabulary.tokens):
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            vocabulary.types[i] = _BYTE
        elif text == unknown:
            vocabulary.types[i] = _UNKNOWN
            vocabulary.special["unk"] = i


def _read_specials(vocabulary: Vocabulary, checkpoint: Checkpoint, source: dict[str, Any]) -> None:
    """Find the special ids: what encoding really adds, then tokenizer_config.json, then config.json."""
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    first, last = _template_ends(source.get("post_processor"))
    named = _tokenizer_config(checkpoint.folder)
    texts = {role: _text_of(named.get(f"{role}_token")) for role in ("bos", "eos", "pad")}
    texts["bos"] = first or texts["bos"]
    texts["eos"] = last or texts["eos"]
    for role, text in texts.items():
        token_id = ids.get(text) if text else _first(checkpoint.config.get(f"{role}_token_id"))
        if token_id is not None and 0 <= token_id < len(vocabulary.tokens):
            vocabulary.special[role] = token_id
    vocabulary.add_bos = first is not None
    vocabulary.add_eos = last is not None


def _template_ends(processor: dict[str, Any] | None) -> tuple[str | None, str | None]:
    """Return the special tokens that the post-processor puts before and after a single text."""
    if not processor:
        return None, None
    if processor.get("type") == "Sequence":
        ends = [_template_ends(part) for part in processor.get("processors", [])]
        return next((a for a, _ in ends if a), None), next((b for _, b in ends if b), None)
    if processor.get("type") != "TemplateProcessing":
        return None, None
    pieces = processor["single"]
    at = next((i for i, piece in enumerate(pieces) if "Sequence" in piece), 0)
    before = [p["SpecialToken"]["id"] for p in pieces[:at] if "SpecialToken" in p]
    after = [p["SpecialToken"]["id"] for p in pieces[at + 1 :] if "SpecialToken" in p]
    return (before[0] if before else None), (after[0] if after else None)


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.exists() else {}


def _text_of(token: object) -> str | None:
    return token.get("content") if isinstance(token, dict) else token if isinstance(token, str) else None


def _first(ids: object) -> int | None:
    if isinstance(ids, list):
        ids = ids[0] if ids else None
    return ids if isinstance(ids, int) else None


def _chat_template(folder: Path) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = _tokenizer_config(folder).get("chat_template")
    if isinstance(template, list):  # several named ones
        template = next((t.get("template") for t in template if t.get("name") == "default"), None)
    return template if isinstance(template, str) else None
