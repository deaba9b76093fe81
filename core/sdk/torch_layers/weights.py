"""Reading a checkpoint's tensors as torch tensors, each exactly once and none left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Weights:
    """The tensors of a folder.

    Args:
        checkpoint: the opened folder.
        dtype: what to convert them to.
        device: where to put them.
        prefix: what all names begin with in this file (``"model."`` in some exports of drafts).
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, device: str, prefix: str = "") -> None:
        self._checkpoint, self._dtype, self._device, self._prefix = checkpoint, dtype, device, prefix
        self._unread = set(checkpoint.tensors)

    def find(self, name: str) -> Tensor | None:
        """Return a tensor; None where the checkpoint has none of this name."""
        import torch

        stored = self._checkpoint.tensors.get(self._prefix + name)
        if stored is None:
            return None
        self._unread.discard(stored.name)
        mapped = torch.from_numpy(stored.map())
        if stored.dtype == "BF16":
            mapped = mapped.view(torch.bfloat16)
        moved = mapped.to(self._device)  # as it is stored: a GPU converts faster than bytes come
        return moved.to(self._dtype, copy=moved is mapped)

    def read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of a known shape.

        Raises:
            ModelError: it is missing or has another shape; names folder, tensor and both shapes.
        """
        tensor = self.find(name)
        if tensor is None:
            raise ModelError(
                f"{self._checkpoint.folder}: tensor {self._prefix + name!r} is missing", code="weights-mismatch"
            )
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"{self._checkpoint.folder}: tensor {name!r} has shape {list(tensor.shape)}, "
                f"config.json asks for {list(shape)}",
                code="weights-mismatch",
            )
        return tensor

    def refuse_rest(self, *harmless: str) -> None:
        """Raise ``ModelError`` when the checkpoint holds a tensor that was not asked for, ``harmless`` ones aside."""
        rest = sorted(self._unread - {self._prefix + name for name in harmless})
        if rest:
            raise ModelError(
                f"{self._checkpoint.folder}: {len(rest)} unexpected tensors, such as {rest[0]!r}",
                code="weights-mismatch",
            )
