"""A shard: the part of a plan's rounds that one of several machines measures, known without asking the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from pydantic import Field

from ...errors import UsageError
from ...records.schema import Record
from ..plan import Plan


class Shard(Record):
    """Which rounds are measured here.

    A round stays with its shard when the plan gets more cells or more rounds, and whatever order shards run in.
    """

    index: int = Field(ge=1, description="which of the shards, from 1")
    count: int = Field(ge=1, description="how many there are")
    seed: int = Field(ge=0, description="of the plan")
    across_hosts: bool = Field(False, description="whether cells of one round may be in different shards")

    def rounds(self, cell_ids: Iterable[str], rounds: int) -> set[tuple[str, int]]:
        """Return the rounds of a plan that are of this shard, as cell id and index.

        Args:
            cell_ids: of the plan.
            rounds: of each cell.
        """
        found = set()
        for cell_id in cell_ids:
            first = self._offset(cell_id if self.across_hosts else "")
            found |= {(cell_id, index) for index in range(rounds) if (first + index) % self.count == self.index - 1}
        return found

    def _offset(self, salt: str) -> int:
        """Return a number that seed and cell decide, so that shards do not all begin with the same round."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{salt}".encode()).digest()[:8])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_of(text: str, plan: Plan) -> Shard:
    """Read ``I/N`` as a shard of a plan.

    Args:
        text: which of how many, the first is ``1/N``.
        plan: whose rounds are divided, and the cells of a round too where they may be on different hosts.

    Raises:
        UsageError: it is none, or the plan cannot be divided so.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"shard {text!r}: write I/N with 1 <= I <= N, such as 2/4", code="bad-value")
    count = int(found[2])
    if plan.looks:
        raise UsageError(
            "until and until_ci need all rounds after each one, which a shard does not have: set rounds",
            code="conflicting-flags",
        )
    if not plan.across_hosts and count > plan.rounds:
        raise UsageError(
            f"shard {text!r}: the plan has {plan.rounds} rounds, and the cells of a round stay on one machine, so that "
            f"they can be compared; give at most {plan.rounds} shards, more rounds, or --across-hosts",
            code="bad-value",
        )
    return Shard(index=int(found[1]), count=count, seed=plan.seed, across_hosts=plan.across_hosts)
