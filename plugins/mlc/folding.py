"""The architectures that are compiled; Phi-3 and Granite have Llama's layers once folded into the weights.

Granite multiplies embeddings, attention, residuals and logits by numbers of ``config.json``; the weights take them
over, so that the compiled network is Llama's. Phi-3 stores fused what MLC fuses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...core.sdk.decoder_config import ARCHITECTURES

FOLDED: Mapping[str, str] = {
    **ARCHITECTURES,
    "GraniteForCausalLM": "granite",
    "Olmo2ForCausalLM": "olmo2",
    "Phi3ForCausalLM": "phi3",
    "SmolLM3ForCausalLM": "smollm3",
}
"""``architectures[0]`` to the family, for ``DecoderConfig.read``."""

AS_LLAMA = ("granite", "phi3")


def is_tied(family: str, *, stated: bool) -> bool:
    """Whether one matrix is embedding and output layer; Granite multiplies the one and divides by the other."""
    return stated and family != "granite"


def factor(config: Mapping[str, Any], name: str, head_dim: int) -> float:
    """Return what a tensor of the checkpoint is multiplied by.

    Args:
        config: ``config.json``.
        name: of the tensor; ``lm_head`` also where it is a copy of the embedding.
        head_dim: width of a head, by whose root Llama divides the products of queries and keys.
    """
    if config.get("architectures") != ["GraniteForCausalLM"]:
        return 1.0
    if name.startswith("model.embed_tokens"):
        return float(config.get("embedding_multiplier", 1.0))
    if name.startswith("lm_head"):
        return 1.0 / float(config.get("logits_scaling", 1.0))
    if ".q_proj." in name:
        return float(config.get("attention_multiplier", 1.0)) * math.sqrt(head_dim)
    if ".o_proj." in name or ".down_proj." in name:
        return float(config.get("residual_multiplier", 1.0))
    return 1.0
