"""Which fields a draft's ``config.json`` may have: those that are read, and those that do not change what it computes.

Any other is refused by its name. Heads and layers that come with tensors of their own would be noticed anyway; a scale
or a cap on logits comes with a field alone, and who ignores it only drafts worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import ModelError

ARCHITECTURE = "DFlashDraftModel"
_OTHER_HEADS = {
    "dflash2": "a path selector and two-tap convolutions",
    "dspark": "a Markov head and a confidence head",
    "domino": "a recurrent correction of the logits",
    "laguna": "another layout of layers",
}
"""Drafts of the same family that add what is not implemented here, by a part of their architecture or projector."""

_DRAFT = {
    "block_size", "mask_token_id", "target_layer_ids", "num_target_layers", "causal", "is_causal", "use_swa",
    "swa_window_size",
}  # fmt: skip
_READ = _DRAFT | {
    "architectures", "dflash_config", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "num_hidden_layers", "vocab_size", "rms_norm_eps", "hidden_act", "attention_bias", "rope_theta",
    "rope_scaling", "rope_parameters", "partial_rotary_factor", "max_position_embeddings", "layer_types",
    "sliding_window", "use_sliding_window", "max_window_layers", "quantization_config",
}  # fmt: skip
_TRAINING = {"num_anchors", "loss_decay_gamma", "backbone_rotary_base"}
"""How it was trained, and a field of its target."""
_HARMLESS = _TRAINING | {
    "model_type", "auto_map", "dtype", "torch_dtype", "transformers_version", "tie_word_embeddings", "use_cache",
    "attention_dropout", "hidden_dropout", "initializer_range", "initializer_factor", "bos_token_id", "eos_token_id",
    "pad_token_id", "sep_token_id", "decoder_start_token_id", "initial_context_length", "pretraining_tp",
    "output_attentions", "output_hidden_states", "return_dict", "chunk_size_feed_forward", "is_encoder_decoder",
    "is_decoder", "id2label", "label2id", "num_labels", "problem_type", "tokenizer_class", "task_specific_params",
    "finetuning_task", "prefix", "torchscript", "gradient_checkpointing", "name_or_path", "base_model", "license",
    "target_model_type", "embed_weight_key", "lm_head_key", "attn_implementation",
    # of mixtures of experts, which some drafts inherit from their target's file: a draft has none (or other tensors)
    "num_experts", "num_local_experts", "num_experts_per_tok", "experts_per_token", "moe_intermediate_size",
    "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "router_aux_loss_coef", "output_router_logits",
}  # fmt: skip
_ROPE = {
    "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "original_max_position_embeddings",
    "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate", "low_freq_factor",
    "high_freq_factor",
    # positions of images: those of text are the same in every section
    "mrope_section", "mrope_interleaved",
}  # fmt: skip
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "projector_type": ("dflash",),
    "attention_mode": ("gqa",),
    "output_multiplier": (1.0,),
    "logit_scale": (1.0,),
    "attention_value_scale": (1.0,),
}
"""Fields that say nothing at these values."""


def check_fields(config: Mapping[str, Any], file: Path) -> None:
    """Refuse a configuration that asks for what is not implemented.

    Raises:
        ModelError: another kind of draft, or a field that is not known; names it with its value.
    """
    _check_kind(config, file)
    places = {"": (config, _READ | _HARMLESS), "dflash_config.": (config.get("dflash_config"), _DRAFT | _TRAINING)}
    places |= {f"{name}.": (config.get(name), _ROPE) for name in ("rope_parameters", "rope_scaling")}
    for place, (fields, known) in places.items():
        for name, value in fields.items() if isinstance(fields, Mapping) else ():
            is_known = name in known or name.startswith("_") or _is_neutral(name, value)
            if not is_known and not (name == "v_head_dim" and value == config.get("head_dim")):
                raise ModelError(
                    f"{file}: {place}{name} = {value!r} is not supported: nothing here reads it, and it may change "
                    "what the draft computes; take it out of the file if it does not",
                    code="model-unsupported",
                )


def _is_neutral(name: str, value: Any) -> bool:  # noqa: ANN401 - a JSON value
    return value in (None, False, [], {}, "") or value in _NEUTRAL.get(name, ())


def _check_kind(config: Mapping[str, Any], file: Path) -> None:
    nested = config.get("dflash_config")
    if nested is not None and not isinstance(nested, dict):
        raise ModelError(f"{file}: dflash_config = {nested!r}: must be an object", code="model-config-invalid")
    names = config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names else None
    stated = {"architectures": str(architecture)}
    for place, fields in (("", config), ("dflash_config.", nested or {})):
        if isinstance(fields.get("projector_type"), str):
            stated[f"{place}projector_type"] = fields["projector_type"]
    for field, value in stated.items():
        for kind, what in _OTHER_HEADS.items():
            if kind in value.lower():
                raise ModelError(
                    f"{file}: {field} = {value!r}: a {kind} draft has {what}, which are not implemented; a draft of "
                    f"DFlash itself is a {ARCHITECTURE} without a projector_type",
                    code="model-unsupported",
                )
