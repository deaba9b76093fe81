"""What one decode step reads: bytes of weights, and of the KV cache for each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .quantise import weight_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def read_weight_bytes(model: PreTrainedModel) -> int | None:
    """Return the bytes of weights that a forward of one token reads; None for a mixture of experts."""
    from torch.nn import Embedding

    if getattr(model.config.get_text_config(), "num_experts_per_tok", None):
        return None
    output = model.get_output_embeddings()
    tables = {module.weight for module in model.modules() if isinstance(module, Embedding)}
    if output is not None:
        tables.discard(output.weight)  # a tied table is the output layer, which is read whole
    return weight_bytes(model) - sum(table.nbytes for table in tables)


def kv_bytes_per_token(model: PreTrainedModel) -> int | None:
    """Return the bytes of one position's keys and values over all layers.

    None where the network is not built of separate key and value projections, or a layer does not keep every position.
    """
    from torch.nn import Linear
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    config = model.config.get_text_config()
    layers = DynamicCache(config=model.config).layers
    widths = [
        module.out_features
        for name, module in model.named_modules()
        if isinstance(module, Linear) and name.endswith((".k_proj", ".v_proj"))
    ]
    if len(widths) != 2 * config.num_hidden_layers or any(type(layer) is not DynamicLayer for layer in layers):
        return None
    return sum(widths) * int(model.dtype.itemsize)
