"""A linear layer's weights, laid out for few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Read = Callable[[str], "Tensor | None"]
"""Gives a tensor of the checkpoint by its name below the layer; None where there is none."""

_PACKED_ROWS = 16  # the block length that the packed layout is chosen for; it serves any other


class Matrix:
    """Weights [out, in] and an optional bias [out]; call it with [..., in] for [..., out].

    On a CPU in float32 the weights are reordered once for oneDNN: torch's own product packs them anew in every call,
    which for the 2 to 24 rows of a block costs more than the product itself.

    Attributes:
        parameters: number of weights, bias included.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, is_packed: bool = True) -> None:
        self.parameters = weight.numel() + (0 if bias is None else bias.numel())
        self._apply = _packed(weight, bias) if is_packed and _can_pack(weight) else _plain(weight, bias)

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply: [..., in] -> [..., out]."""
        return self._apply(rows)


def joined(read: Read, names: Sequence[str], *, is_packed: bool) -> Matrix:
    """Stack the output rows of several projections, and their biases where all have one, into one matrix."""
    import torch

    weights = [required(read, f"{name}.weight") for name in names]
    biases = [bias for name in names if (bias := read(f"{name}.bias")) is not None]
    return Matrix(torch.cat(weights), torch.cat(biases) if len(biases) == len(names) else None, is_packed=is_packed)


def required(read: Read, name: str) -> Tensor:
    """Read a tensor whose presence was checked."""
    tensor = read(name)
    assert tensor is not None, f"{name} was checked to be in the checkpoint"
    return tensor


def _can_pack(weight: Tensor) -> bool:
    import torch

    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _packed(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    import torch

    multiply = torch.ops.mkldnn._linear_pointwise  # what torch.compile uses for frozen weights
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_ROWS)
    return lambda rows: multiply(rows, packed, bias, "none", [], "")


def _plain(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    import torch.nn.functional as F

    return lambda rows: F.linear(rows, weight, bias)
