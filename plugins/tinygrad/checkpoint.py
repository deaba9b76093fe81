"""From a Hugging Face folder to tinygrad's ``Transformer``, one matrix in memory at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import ModelError
from ...core.sdk.checkpoint import Checkpoint, StoredTensor
from ...core.sdk.decoder_config import rope_divisors, rope_type
from ...core.sdk.gguf.architecture import Shape
from ...core.sdk.gguf.layers import Target
from .matrices import FORMATS, Embedding, Linear, Matrix

if TYPE_CHECKING:
    import numpy as np
    from tinygrad import Tensor
    from tinygrad.llm.model import Transformer

_EMBEDDING, _HEAD = "token_embd", "output"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a folder holds and where it goes; tinygrad's modules have the names that GGUF gives the tensors.

    Attributes:
        shape: hyper-parameters.
        tensors: each stored tensor with its target.
        divisors: what each rotary frequency is divided by; None for plain ones.
    """

    shape: Shape
    tensors: tuple[tuple[StoredTensor, Target], ...]
    divisors: np.ndarray | None

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read configuration and headers; no weight is touched.

        Raises:
            ModelError: an architecture or feature that tinygrad's model lacks, or damaged files; names the cause.
        """
        checkpoint = Checkpoint(folder)
        shape = Shape.read(checkpoint)
        divisors = _divisors(folder / "config.json", shape)
        return cls(shape, tuple(_paired(checkpoint, shape)), divisors)

    def parameters(self) -> int:
        """Return the number of weights; tied ones are stored once."""
        return sum(math.prod(stored.shape) for stored, _ in self.tensors)

    def weight_bytes(self, quantisation: str) -> int:
        """Return the bytes of all weights in a format, scales included."""
        packed = FORMATS[quantisation]
        return sum(
            packed.nbytes(*stored.shape) if len(stored.shape) == 2 else 4 * math.prod(stored.shape)
            for stored, _ in self.tensors
        )


def _paired(checkpoint: Checkpoint, shape: Shape) -> list[tuple[StoredTensor, Target]]:
    pairs = []
    for name, target in shape.targets().items():
        stored = checkpoint.tensors.get(name)
        if stored is None and target.optional:
            continue
        if stored is None:
            raise ModelError(
                f"{checkpoint.folder}: tensor {name!r} is missing from the safetensors files", code="weights-mismatch"
            )
        if stored.shape != target.shape:
            raise ModelError(
                f"{stored.path}: tensor {name!r} has shape {stored.shape}; config.json asks for {target.shape}",
                code="weights-mismatch",
            )
        pairs.append((stored, target))
    return pairs


def _divisors(config: Path, shape: Shape) -> np.ndarray | None:
    import numpy as np

    kind = rope_type(shape.rope)
    if kind == "linear":
        return np.full(shape.head_dim // 2, float(shape.rope["factor"]))
    if kind in ("default", "llama3"):
        return rope_divisors(shape.rope, shape.rope_theta, shape.head_dim)
    raise ModelError(
        f"{config}: rotary scaling of rope_type = {kind!r} is not supported with tinygrad; use llama-cpp",
        code="model-unsupported",
    )


def build_model(plan: Plan, quantisation: str, n_ctx: int) -> Transformer:
    """Read and pack the weights.

    Raises:
        ModelError: a matrix cannot be packed in that format; names file and tensor.
    """
    from tinygrad.llm.model import Transformer, TransformerConfig

    shape = plan.shape
    model = Transformer(
        TransformerConfig(
            num_blocks=shape.layers,
            dim=shape.width,
            hidden_dim=shape.ffn,
            n_heads=shape.heads,
            n_kv_heads=shape.kv_heads,
            norm_eps=shape.norm_eps,
            vocab_size=shape.vocab,
            head_dim=shape.head_dim,
            rope_theta=shape.rope_theta,
            rope_dim=shape.head_dim,
            v_head_dim=shape.head_dim,
            max_context=n_ctx,
            qk_norm=shape.head_dim if shape.arch == "qwen3" else 0,
        )
    )
    vectors: dict[str, Tensor] = {}
    matrices: dict[str, Matrix] = {}
    for stored, target in plan.tensors:
        if len(stored.shape) == 2:
            matrices[target.name.removesuffix(".weight")] = _packed(stored, quantisation)
        else:
            vectors[target.name] = _vector(stored)
    matrices.setdefault(_HEAD, matrices[_EMBEDDING])  # tied
    for name, matrix in matrices.items():
        bias = vectors.pop(f"{name}.bias", None)
        _place(model, name, Embedding(matrix) if name == _EMBEDDING else Linear(matrix, bias))
    for name, vector in vectors.items():
        _place(model, name, vector)
    return model


def _packed(stored: StoredTensor, quantisation: str) -> Matrix:
    import numpy as np

    try:
        return FORMATS[quantisation](np.asarray(stored.read()))
    except ModelError as error:
        raise ModelError(f"{stored.path}: tensor {stored.name!r} {error}", code=error.code) from error


def _vector(stored: StoredTensor) -> Tensor:
    import numpy as np
    from tinygrad import Tensor

    return Tensor(np.asarray(stored.read())).realize()


def _place(model: Transformer, name: str, value: object) -> None:
    """Set the attribute of a dotted name such as ``blk.3.attn_q``."""
    *path, last = name.split(".")
    node: Any = model
    for part in path:
        node = node[int(part)] if part.isdigit() else getattr(node, part)
    setattr(node, last, value)
