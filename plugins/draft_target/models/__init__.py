"""What the rules and drafters need of an engine: sequences that grow by tokens, and that can be cut back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class TokenSequence(ABC):
    """One sequence in a model with its KV cache; what is fed is never computed again.

    Attributes:
        length: positions in the cache.
    """

    length: int

    @abstractmethod
    def feed(self, ids: Sequence[int], *, logits: int | None = None) -> Tensor:
        """Evaluate tokens behind those that are there, and keep them.

        Args:
            ids: at least one.
            logits: of how many of the last tokens the logits are wanted; None: of all.

        Returns:
            Logits [logits, V] in float32 or wider; entry i is for the token behind that position.
        """

    @abstractmethod
    def feed_candidates(self, anchor: int, candidates: Sequence[Sequence[int]]) -> Tensor:
        """Evaluate several continuations of one length n at once, each behind ``anchor``.

        Nothing of them counts until ``keep`` is called, which must be next.

        Returns:
            Logits [candidates, n + 1, V]; entry 0 of a candidate is for the token behind the anchor.
        """

    @abstractmethod
    def keep(self, candidate: int, count: int) -> None:
        """Keep the anchor and the first ``count`` tokens of a candidate of the last ``feed_candidates``."""

    @abstractmethod
    def crop(self, length: int) -> None:
        """Forget what lies behind the first ``length`` positions."""

    @abstractmethod
    def close(self) -> None:
        """Give the cache back."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Tokens for one of several sequences that are fed together; see ``TokenSequence.feed``."""

    sequence: TokenSequence
    ids: tuple[int, ...]
    logits: int | None = None


class CausalModel(ABC):
    """A causal language model; sequences of one model may be used in turn, not at once.

    Attributes:
        vocabulary: rows of the output layer.
        context: longest sequence in tokens.
        parameters: their number, tied ones once.
        weight_bytes: bytes of the weights.
        read_weight_bytes: bytes of the weights that a forward of one token reads; None where unknown.
        kv_bytes_per_token: bytes of one position in the cache; None where unknown.
        device: where it runs.
    """

    vocabulary: int
    context: int
    parameters: int
    weight_bytes: int
    read_weight_bytes: int | None = None
    kv_bytes_per_token: int | None = None
    device: str

    @abstractmethod
    def begin(self, positions: int = 0) -> TokenSequence:
        """Return an empty sequence, with room for so many positions from the start."""

    def share(self, is_shared: bool) -> None:  # noqa: B027 - nothing to prepare is a valid answer
        """Say whether the sequences that begin from now on are fed together."""

    def feed_together(self, feeds: Sequence[Feed]) -> list[Tensor]:
        """Feed several sequences, each once; the default feeds one after the other."""
        return [feed.sequence.feed(feed.ids, logits=feed.logits) for feed in feeds]
