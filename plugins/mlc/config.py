"""From a model folder to the shapes that are compiled: Hugging Face folders and folders in MLC's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal

from ... import ModelError
from ...core.sdk.checkpoint import MOST, Checkpoint, is_number, read_json
from ...core.sdk.decoder_config import DecoderConfig, rope_divisors, rope_type
from .folding import AS_LLAMA, FOLDED, is_tied
from .quantisations import FORMATS
from .relax.heads import PAGE, Heads
from .relax.layout import GROUP
from .relax.model import Decoder

if TYPE_CHECKING:
    import numpy as np

CHAT_CONFIG = "mlc-chat-config.json"
_FUSED = {"llama": "qkv_proj", "olmo2": "qkv_proj", "qwen2": "c_attn", "qwen3": "c_attn", "smollm3": "qkv_proj"}
_QUERY_NORMS: Mapping[str, Literal["head", "row"]] = {"qwen3": "head", "olmo2": "row"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be compiled.

    Attributes:
        decoder: its shapes and format.
        family: MLC's ``model_type``.
        theta: base of the rotary frequencies.
        scaling: rotary scaling as ``config.json`` has it; empty for none.
    """

    decoder: Decoder
    family: str
    theta: float
    scaling: dict[str, Any]

    def fused_name(self, name: str) -> str:
        """Return MLC's name of a parameter of ours: its families disagree on that of the fused q, k and v."""
        return name.replace("qkv_proj", _FUSED[self.family])

    def rotary_table(self) -> np.ndarray:
        """Return cosines and sines by position, [context, dim]: cosines in the first half."""
        import numpy as np

        dim = self.decoder.heads.dim
        frequencies = self.theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
        divisors = rope_divisors(self.scaling, self.theta, dim)
        # float32 as the reference computes it, so that long contexts round alike
        steps = (frequencies if divisors is None else frequencies / divisors).astype(np.float32)
        angles = np.arange(self.decoder.context, dtype=np.float32)[:, None] * steps
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def is_mlc_folder(path: Path) -> bool:
    """Whether ``path`` is a folder in MLC's format."""
    return (path / CHAT_CONFIG).is_file()


def check_stored(folder: Path, quantisation: str) -> None:
    """Refuse a folder in MLC's format whose weights are in another one than was asked for.

    Raises:
        ModelError: they are.
    """
    stored = read_json(folder / CHAT_CONFIG).get("quantization")
    if stored != quantisation:
        raise ModelError(
            f"{folder}: its weights are {stored}, not {quantisation}: ask for {stored}", code="quantisation-unsupported"
        )


def from_checkpoint(checkpoint: Checkpoint, quantisation: str) -> Model:
    """Read a Hugging Face folder.

    Raises:
        ModelError: an architecture or feature that is not mapped; names field and value.
    """
    path = checkpoint.folder / "config.json"
    shape = DecoderConfig.read(checkpoint, FOLDED)
    biases = [name for name in checkpoint.tensors if name.startswith("model.layers.0.") and name.endswith(".bias")]
    foreign = [name for name in biases if ".self_attn." not in name or ".o_proj." in name]
    if foreign:
        raise ModelError(
            f"{path}: {foreign[0]} is not supported: only q, k and v may have biases", code="model-unsupported"
        )
    decoder = Decoder(
        vocabulary=shape.vocab,
        width=shape.width,
        hidden=shape.ffn,
        layers=shape.layers,
        heads=Heads(shape.heads, shape.kv_heads, shape.head_dim),
        norm_eps=shape.norm_eps,
        is_tied=is_tied(shape.arch, stated=shape.tied),
        has_bias=bool(biases),
        query_norm=_QUERY_NORMS.get(shape.arch),
        context=shape.context,
        form=FORMATS[quantisation],
        has_norms_behind=shape.arch == "olmo2",
        unrotated=_unrotated(checkpoint) if shape.arch == "smollm3" else (),
    )
    family = "llama" if shape.arch in AS_LLAMA else shape.arch
    return _checked(path, Model(decoder, family, shape.rope_theta, dict(shape.rope)))


def _unrotated(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the layers of SmolLM3 that know no position."""
    layers = range(checkpoint.count("num_hidden_layers"))
    interval = checkpoint.count("no_rope_layer_interval", 4)
    stated = checkpoint.field("no_rope_layers", list, [int((layer + 1) % interval != 0) for layer in layers])
    if len(stated) != len(layers):
        path = checkpoint.folder / "config.json"
        raise ModelError(
            f"{path}: no_rope_layers has {len(stated)} entries, num_hidden_layers = {len(layers)}",
            code="model-config-invalid",
        )
    return tuple(layer for layer in layers if not stated[layer])


def from_mlc(folder: Path) -> tuple[Model, str]:
    """Read a folder in MLC's format; returns the model and its quantisation.

    Raises:
        ModelError: a field is missing or has a value that is not supported.
    """
    path = folder / CHAT_CONFIG
    chat = read_json(path)
    config = chat.get("model_config")
    family, quantisation = chat.get("model_type"), chat.get("quantization")
    if not isinstance(family, str) or family not in _FUSED:
        raise ModelError(
            f"{path}: model_type = {family!r} is not supported; known: {', '.join(_FUSED)}", code="model-unsupported"
        )
    if not isinstance(quantisation, str) or quantisation not in FORMATS:
        raise ModelError(
            f"{path}: quantization = {quantisation!r} is not supported; known: {', '.join(FORMATS)}",
            code="quantisation-unsupported",
        )
    if not isinstance(config, dict):
        raise ModelError(f"{path}: model_config = {config!r}; expected an object", code="model-config-invalid")
    if config.get("tensor_parallel_shards", 1) != 1:
        raise ModelError(
            f"{path}: tensor_parallel_shards = {config['tensor_parallel_shards']}; only 1 is supported",
            code="model-unsupported",
        )

    def field(name: str, kind: type = int) -> Any:  # noqa: ANN401 - a JSON value of `kind`
        value = config.get(name)
        if not is_number(value) or value <= 0 or (kind is int and (not isinstance(value, int) or value > MOST)):
            raise ModelError(
                f"{path}: model_config.{name} = {repr(value)[:80]}; expected {kind.__name__} above 0",
                code="model-config-invalid",
            )
        return value

    decoder = Decoder(
        vocabulary=field("vocab_size"),
        width=field("hidden_size"),
        hidden=field("intermediate_size"),
        layers=field("num_hidden_layers"),
        heads=Heads(field("num_attention_heads"), field("num_key_value_heads"), field("head_dim")),
        norm_eps=field("rms_norm_eps", float),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        has_bias=family == "qwen2" or bool(config.get("attention_bias", False)),
        query_norm=_QUERY_NORMS.get(family),
        context=field("context_window_size"),
        form=FORMATS[quantisation],
        has_norms_behind=family == "olmo2",
        unrotated=tuple(_typed(path, config, "unrotated_layers", list, [])),
    )
    theta = float(
        _typed(path, config, "position_embedding_base", int | float, 0)
        or _typed(path, config, "rope_theta", int | float, 10000.0)
    )
    scaling = _typed(path, config, "rope_scaling", dict, {})
    return _checked(path, Model(decoder, family, theta, scaling)), quantisation


def _typed(path: Path, config: Mapping[str, Any], name: str, kind: type | UnionType, default: Any) -> Any:  # noqa: ANN401
    """Return a field that may be left out or null."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise ModelError(
            f"{path}: model_config.{name} = {repr(value)[:80]} is of the wrong type", code="model-config-invalid"
        )
    return value


def stop_ids(chat: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids that end a generation, by the content of ``mlc-chat-config.json`` or of ``config.json``."""
    eos = chat.get("eos_token_id")
    return tuple(i for i in (eos if isinstance(eos, list) else [eos]) if isinstance(i, int))


def chat_config(model: Model, quantisation: str, stop: tuple[int, ...]) -> dict[str, Any]:
    """Return the content of ``mlc-chat-config.json`` for a converted model."""
    decoder = model.decoder
    sizes = {"vocab_size": decoder.vocabulary, "context_window_size": decoder.context}
    return {
        "version": "0.1.0",
        "model_type": model.family,
        "quantization": quantisation,
        "model_config": {
            **sizes,
            "hidden_size": decoder.width,
            "intermediate_size": decoder.hidden,
            "num_hidden_layers": decoder.layers,
            "num_attention_heads": decoder.heads.queries,
            "num_key_value_heads": decoder.heads.keys,
            "head_dim": decoder.heads.dim,
            "rms_norm_eps": decoder.norm_eps,
            "tie_word_embeddings": decoder.is_tied,
            "attention_bias": decoder.has_bias,
            **({"unrotated_layers": list(decoder.unrotated)} if decoder.unrotated else {}),
            "position_embedding_base": model.theta,
            "rope_theta": model.theta,
            "rope_scaling": model.scaling or None,
            "tensor_parallel_shards": 1,
        },
        **sizes,
        "tokenizer_files": ["tokenizer.json", "tokenizer_config.json"],
        "eos_token_id": list(stop),
    }


def _checked(path: Path, model: Model) -> Model:
    """Refuse what the kernels cannot do."""
    decoder = model.decoder
    kind = rope_type(model.scaling)
    if kind not in ("default", "llama3"):
        raise ModelError(
            f"{path}: rotary scaling of type {kind!r} is not supported; known: default, llama3",
            code="model-unsupported",
        )
    if decoder.heads.dim % PAGE:
        raise ModelError(
            f"{path}: head_dim = {decoder.heads.dim} is not supported: it must be a multiple of {PAGE}",
            code="model-unsupported",
        )
    grain = GROUP if decoder.form.is_grouped else PAGE
    for name, size in (("hidden_size", decoder.width), ("intermediate_size", decoder.hidden)):
        if size % grain:
            raise ModelError(
                f"{path}: {name} = {size} is not supported: this format needs a multiple of {grain}",
                code="model-unsupported",
            )
    return model
