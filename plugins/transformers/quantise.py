"""Weight formats, and how many bytes a model's weights really take."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ... import ModelError
from ...core.contract.model import FLOAT_FORMATS, Quantisation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

QUANTISATIONS = (
    Quantisation("none", 32.0, "weights as the dtype option says (32 bits at its default)", common=FLOAT_FORMATS),
    Quantisation(
        # One f32 scale and one int8 zero point a row: 40 bits over rows of about a thousand weights.
        "int8",
        8.04,
        "linear layers, head included: int8 weights, one scale a row (torchao); embeddings as dtype",
        common={"8bit": {}},
    ),
)


def check_available(quantisation: str) -> None:
    """Raise ``ModelError`` when the library behind ``quantisation`` is not installed."""
    if quantisation == "int8" and find_spec("torchao") is None:
        raise ModelError("quantisation 'int8' needs torchao: pip install torchao", code="package-missing")


def quantise(model: PreTrainedModel, quantisation: str) -> None:
    """Quantise ``model`` in place; ``none`` leaves it as it is."""
    if quantisation == "int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(model, Int8WeightOnlyConfig())


def weight_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of all parameters, tied ones once, scales of quantised ones included."""
    return sum(_bytes(parameter) for parameter in model.parameters())


def _bytes(tensor: torch.Tensor) -> int:
    """Add up the plain tensors that a quantised one is made of."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.nbytes
    return sum(_bytes(getattr(tensor, name)) for name in flatten()[0])
