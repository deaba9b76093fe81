"""Which of the three families a checkpoint is, with its sizes and special ids, read from its small files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ... import ModelError
from ...core.sdk.checkpoint import Checkpoint, architecture_of, read_json
from ...core.sdk.decoder_config import DecoderConfig
from ...core.sdk.torch_layers.rotary import check_rotary

Name = Literal["llada", "dream", "v2"]

ARCHITECTURES: Mapping[str, Name] = {
    "LLaDAModelLM": "llada",
    "LLaDAModel": "llada",
    "DreamModel": "dream",
    "Fast_dLLM_QwenForCausalLM": "v2",
}
_BLOCK_LENGTH = 32
"""Block of the published runs of LLaDA and Dream, and what a v2 configuration without ``bd_size`` means."""
_MASK_TOKENS = ("|<MASK>|", "<|mdm_mask|>", "<|mask|>")
"""How the published tokenizers write the mask where no configuration tells its id."""
_LLADA_FIXED = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "include_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "rope": True,
    "scale_logits": False,
}
"""Features of LLaDA's configuration class of which one value alone is implemented: that of the published models."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A checkpoint's family and what decoding must know of it.

    Attributes:
        name: ``llada``, ``dream`` or ``v2``.
        config: sizes of the network.
        block_length: tokens per block where nothing else is asked for.
        mask_id: id of the mask token; None where the files do not tell.
        stop_ids: ids that end a generation besides those that the configuration names.
    """

    name: Name
    config: DecoderConfig
    block_length: int
    mask_id: int | None
    stop_ids: tuple[int, ...]

    @property
    def is_shifted(self) -> bool:
        """Whether the prediction for a position is read from the row before it (Dream and v2)."""
        return self.name != "llada"

    @classmethod
    def read(cls, folder: Path) -> Variant:
        """Read ``config.json`` and the tokenizer's files.

        Raises:
            ModelError: another architecture, or a feature that is not implemented; names file, field and value.
        """
        if not folder.is_dir():
            raise ModelError(
                f"{folder} is not a Hugging Face folder (config.json and safetensors)", code="container-unsupported"
            )
        file = folder / "config.json"
        architecture = architecture_of(read_json(file), file)
        name = ARCHITECTURES.get(str(architecture))
        if name is None:
            raise ModelError(
                f"{file}: architecture {architecture!r} is not supported; known: {', '.join(ARCHITECTURES)}",
                code="model-unsupported",
            )
        checkpoint = Checkpoint(folder)
        config = (
            _llada(checkpoint)
            if name == "llada"
            else DecoderConfig.read(checkpoint, dict.fromkeys(ARCHITECTURES, "qwen2"))
        )
        check_rotary(config, str(file))
        block = checkpoint.field("bd_size", int, _BLOCK_LENGTH) if name == "v2" else _BLOCK_LENGTH
        if block < 1:
            raise ModelError(f"{file}: bd_size = {block}; expected 1 or more", code="model-config-invalid")
        ids = _special_ids(folder)
        mask_id = (
            checkpoint.field("mask_token_id", int, _mask_id(folder, ids))
            if checkpoint.config.get("mask_token_id") is not None
            else _mask_id(folder, ids)
        )
        end_of_turn = [ids["<|eot_id|>"]] if name == "llada" and "<|eot_id|>" in ids else []
        return cls(name, config, block, mask_id, tuple(end_of_turn))

    def mask(self, asked: int | None, folder: Path) -> int:
        """Return the mask id: the one asked for, else the checkpoint's own.

        Raises:
            ModelError: there is none, or it is outside the vocabulary.
        """
        found = self.mask_id if asked is None else asked
        if found is None:
            raise ModelError(
                f"{folder}: neither config.json nor the tokenizer names a mask token; give mask_id=ID",
                code="model-config-invalid",
            )
        if found >= self.config.vocab:
            raise ModelError(
                f"mask_id = {found} is outside the vocabulary of {self.config.vocab} ids in {folder}", code="bad-value"
            )
        return found

    def end_id(self, folder: Path) -> int:
        """Return the end token: the published harness puts it behind a choice, LLaDA may be kept from it.

        Raises:
            ModelError: ``config.json`` names none.
        """
        stated = read_json(folder / "config.json").get("eos_token_id")
        found = stated[0] if isinstance(stated, list) and stated else stated
        if not isinstance(found, int):
            raise ModelError(
                f"{folder / 'config.json'}: eos_token_id = {stated!r}: what was asked for needs an end token",
                code="model-config-invalid",
            )
        return found


def _llada(checkpoint: Checkpoint) -> DecoderConfig:
    """Translate the keys of LLaDA's configuration class."""
    file, field = checkpoint.folder / "config.json", checkpoint.field
    for name, only in _LLADA_FIXED.items():
        value = checkpoint.config.get(name, only)
        if value != only and not (value is None and only is False):
            raise ModelError(f"{file}: {name} = {value!r} is not supported; only {only!r} is", code="model-unsupported")
    count = checkpoint.count
    heads, width = count("n_heads"), count("d_model")
    kv_heads = 1 if checkpoint.config.get("multi_query_attention") else count("n_kv_heads", heads)
    return DecoderConfig(
        arch="llama",
        vocab=count("embedding_size", count("vocab_size")),
        width=width,
        ffn=count("mlp_hidden_size", width * count("mlp_ratio", 4)),
        layers=count("n_layers", most=2**12),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width // heads,
        context=count("max_sequence_length"),
        norm_eps=field("rms_norm_eps", float, 1e-5),
        tied=field("weight_tying", bool, False),
        rope_theta=field("rope_theta", float, 10000.0),
        rope={},
    )


def _special_ids(folder: Path) -> dict[str, int]:
    """Return the added tokens of a tokenizer with their ids, from whichever of its files holds them."""
    found: dict[str, int] = {}
    if (folder / "tokenizer.json").is_file():
        added = read_json(folder / "tokenizer.json").get("added_tokens") or []
        found |= {token["content"]: token["id"] for token in added if _is_token(token)}
    if (folder / "added_tokens.json").is_file():
        found |= {text: at for text, at in read_json(folder / "added_tokens.json").items() if isinstance(at, int)}
    return found


def _is_token(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str) and isinstance(value.get("id"), int)


def _mask_id(folder: Path, ids: Mapping[str, int]) -> int | None:
    file = folder / "tokenizer_config.json"
    stated: Any = read_json(file).get("mask_token") if file.is_file() else None
    text = stated.get("content") if isinstance(stated, dict) else stated
    named = (text, *_MASK_TOKENS) if isinstance(text, str) else _MASK_TOKENS
    return next((ids[token] for token in named if token in ids), None)
