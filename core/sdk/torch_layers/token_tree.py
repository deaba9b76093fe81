"""Candidates as a tree: every distinct prefix is one node, so that the target evaluates it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Nodes in an order in which parents come first.

    Attributes:
        tokens: id of each node.
        depths: its block position; the anchor has 0.
        paths: for each candidate the nodes of its block, anchor first.
        ancestors: [nodes, nodes] of bool: what each node may look at, itself included.
    """

    tokens: list[int]
    depths: list[int]
    paths: list[list[int]]
    ancestors: np.ndarray


def build_tree(anchor: int, candidates: Sequence[Sequence[int]]) -> TokenTree:
    """Merge the common prefixes of candidates, each the ids behind the anchor.

    The nodes of the first candidate are 0 .. b - 1, in order.
    """
    nodes: dict[tuple[int, ...], int] = {(): 0}
    tokens, parents, depths, paths = [anchor], [-1], [0], []
    for candidate in candidates:
        path = [0]
        for depth in range(1, len(candidate) + 1):
            prefix = tuple(candidate[:depth])
            if prefix not in nodes:
                nodes[prefix] = len(tokens)
                tokens.append(prefix[-1])
                parents.append(path[-1])
                depths.append(depth)
            path.append(nodes[prefix])
        paths.append(path)
    return TokenTree(tokens, depths, paths, _ancestors(parents))


def side_by_side(anchor: int, candidates: Sequence[Sequence[int]]) -> TokenTree:
    """Lay whole blocks side by side: branches that share nothing but the past."""
    import numpy as np

    blocks = [[anchor, *candidate] for candidate in candidates]
    size, count = len(blocks[0]), len(blocks)
    return TokenTree(
        tokens=[token for block in blocks for token in block],
        depths=[depth for _ in blocks for depth in range(size)],
        paths=[list(range(at * size, (at + 1) * size)) for at in range(count)],
        ancestors=np.kron(np.eye(count, dtype=bool), np.tri(size, dtype=bool)),
    )


def _ancestors(parents: Sequence[int]) -> np.ndarray:
    import numpy as np

    seen = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return seen
