"""Layers that do not run in every step: the published scheme, and one of our own whose outcome depends on the layers.

In the published scheme a layer of the subset ignores its input and gives its output of the last step in which all
ran. What is above it then sees the same as in that step, so the logits are the old ones whatever the subset is, and
what is below it runs in vain. In the residual scheme a layer of the subset adds the change that it made in that
step to its present input: what the layers below it make of newly committed tokens goes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .forwards import Forward
from .options import FastDllmOptions, Subset

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.sdk.torch_layers.stack import Run

_LAYERS_OF_28 = 12
"""The published subsets have 12 layers in a network of 28; a smaller network gives as large a share."""


def subset_layers(subset: Subset, layers: int) -> range:
    """Return the layers of a subset: behind layer 0, around the middle, or the last ones."""
    width = min(_LAYERS_OF_28, max(1, layers * _LAYERS_OF_28 // 28))
    start = {"first": min(1, layers - 1), "middle": layers // 2 - width // 2, "last": layers - width}[subset]
    return range(start, min(start + width, layers))


class LayerMemory:
    """What the layers of a subset gave when all ran last; stands around every layer of the stack.

    Args:
        options: scheme and subset.
        layers: number of layers of the network.
    """

    def __init__(self, options: FastDllmOptions, layers: int) -> None:
        assert options.layer_subset is not None
        self.subset = subset_layers(options.layer_subset, layers)
        self._scheme: Literal["published", "residual"] = "residual" if options.reuse == "residual" else "published"
        self._kept: dict[int, Tensor] = {}
        self._start = 0
        self._forward: Forward | None = None

    def begin(self, forward: Forward) -> None:
        """Announce the forward whose layers come next."""
        self._forward = forward
        if not forward.may_reuse:
            self._start = forward.start

    def __call__(self, index: int, run: Run, hidden: Tensor) -> Tensor:
        """Run a layer, or give what it is remembered to have done."""
        forward = self._forward
        if forward is None or index not in self.subset:
            return run(index, hidden)
        if forward.may_reuse:
            offset = forward.start - self._start
            kept = self._kept[index][:, offset : offset + forward.n]
            return kept if self._scheme == "published" else hidden + kept
        output = run(index, hidden)
        self._kept[index] = output if self._scheme == "published" else output - hidden
        return output
