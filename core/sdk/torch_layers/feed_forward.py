"""The feed-forward part of a layer: one gated unit, or several of which each token uses a few."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint
from .matrix import Matrix, Read, joined, required

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ExpertsShape:
    """Mixture of experts, as the configuration of a Qwen3-MoE model says.

    Attributes:
        count: experts of a layer.
        per_token: how many of them a token uses.
        ffn: width of an expert's gated unit.
        is_normalised: whether the weights of the chosen ones add up to 1.
        layers: layers that have experts; the others have one unit.
    """

    count: int
    per_token: int
    ffn: int
    is_normalised: bool
    layers: Collection[int]

    @classmethod
    def read(cls, checkpoint: Checkpoint, layers: int) -> ExpertsShape:
        """Read the configuration of a network of so many layers.

        Raises:
            ModelError: a field is missing or impossible; names it with its value.
        """
        field = checkpoint.field
        every, dense = field("decoder_sparse_step", int, 1), field("mlp_only_layers", list, [])
        shape = cls(
            count=field("num_experts", int, checkpoint.config.get("num_local_experts")),
            per_token=field("num_experts_per_tok", int),
            ffn=field("moe_intermediate_size", int),
            is_normalised=field("norm_topk_prob", bool, False),
            layers=frozenset(at for at in range(layers) if at not in dense and (at + 1) % max(every, 1) == 0),
        )
        file = checkpoint.folder / "config.json"
        if every < 1 or shape.ffn < 1:
            raise ModelError(
                f"{file}: decoder_sparse_step = {every}, moe_intermediate_size = {shape.ffn}: both must be at least 1",
                code="model-config-invalid",
            )
        if not 1 <= shape.per_token <= shape.count:
            raise ModelError(
                f"{file}: num_experts_per_tok = {shape.per_token}, but there are {shape.count} experts",
                code="model-config-invalid",
            )
        return shape

    def tensors(self, width: int) -> dict[str, tuple[int, ...]]:
        """Name a layer's tensors with their shapes."""
        units = (f"mlp.experts.{at}." for at in range(self.count))
        shapes = {"gate_proj.weight": (self.ffn, width), "up_proj.weight": (self.ffn, width)}
        shapes["down_proj.weight"] = (width, self.ffn)
        every = {unit + name: shape for unit in units for name, shape in shapes.items()}
        return {"mlp.gate.weight": (self.count, width), **every}


class GatedUnit:
    """down(silu(gate x) * up x).

    Attributes:
        parameters: number of weights.
        read_parameters: how many of them a token reads.
    """

    def __init__(self, read: Read, name: str = "mlp", *, is_packed: bool) -> None:
        self.gate_up = joined(read, [f"{name}.gate_proj", f"{name}.up_proj"], is_packed=is_packed)
        self.down = joined(read, [f"{name}.down_proj"], is_packed=is_packed)
        self.parameters = self.read_parameters = self.gate_up.parameters + self.down.parameters

    def __call__(self, hidden: Tensor) -> Tensor:
        """Apply to [..., width]."""
        import torch.nn.functional as F

        gate, up = self.gate_up(hidden).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Experts:
    """A router and gated units: each token goes through the ``per_token`` likeliest, weighted by their probability.

    Attributes:
        parameters: number of weights.
        read_parameters: how many of them a token reads.
    """

    def __init__(self, shape: ExpertsShape, read: Read, *, is_packed: bool) -> None:
        self._shape = shape
        self._router = Matrix(required(read, "mlp.gate.weight"), is_packed=False)
        self._units = [GatedUnit(read, f"mlp.experts.{at}", is_packed=is_packed) for at in range(shape.count)]
        each = self._units[0].parameters
        self.parameters = self._router.parameters + shape.count * each
        self.read_parameters = self._router.parameters + shape.per_token * each

    def __call__(self, hidden: Tensor) -> Tensor:
        """Apply to [..., width]; waits for the device, which must tell the experts that are needed."""
        import torch

        tokens = hidden.reshape(-1, hidden.shape[-1])
        logits = self._router(tokens)
        wide = logits if logits.dtype == torch.float64 else logits.float()  # as transformers: softmax in float32
        weights, chosen = wide.softmax(-1).topk(self._shape.per_token, dim=-1)  # [T, per_token] each
        if self._shape.is_normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        weights = weights.to(logits.dtype)
        mixed = torch.zeros_like(tokens)
        for at in sorted({*chosen.flatten().tolist()}):
            token, rank = torch.where(chosen == at)
            mixed.index_add_(0, token, self._units[at](tokens[token]) * weights[token, rank, None])
        return mixed.view_as(hidden)
