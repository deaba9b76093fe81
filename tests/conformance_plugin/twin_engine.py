"""An engine: a Markov chain of order two over the weights of a checkpoint, in numpy."""

from __future__ import annotations

import numpy as np

from decodebench.core.sdk.checkpoint import Checkpoint

TEXT_IDS = 462  # the tiny family's ordinary tokens; what follows is special or padding


class Engine:
    """Logits [V] of the next token, from the last two.

    Args:
        folder: a checkpoint of the tiny family.
        weight_of_older: how much the older of the two tokens counts.
        digits: binary digits that the weights are rounded to; None keeps them.
    """

    def __init__(self, folder, weight_of_older, digits=None):
        tensors = Checkpoint(folder).tensors
        embedding = tensors["model.embed_tokens.weight"].read().astype(np.float64)  # [V, D]
        self.tables = []
        for layer in (0, 1):
            middle = tensors[f"model.layers.{layer}.self_attn.o_proj.weight"].read()[:, : embedding.shape[1]]
            table = embedding @ middle @ embedding.T  # [V, V]
            table /= 0.5 * table.std()
            table[:, TEXT_IDS:] = -1e3
            self.tables.append(table if digits is None else np.round(table * 2**digits) / 2**digits)
        self.weight_of_older = weight_of_older

    @property
    def nbytes(self):
        return sum(table.nbytes for table in self.tables)

    def logits(self, older, newer):
        return self.tables[0][newer] + self.weight_of_older * self.tables[1][older]

    def guess(self, newer):
        """Draft a token from the newer one alone."""
        return int(self.tables[0][newer].argmax())
