"""One verify cycle of the published loop, out of a trace row, into a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from ....core.records.schema import RecordedStep
from ....core.sdk.logs.fields import MOST_TOKENS, Fields, Readers

_TIMES = {"draft_s": "draft_s", "target_s": "verify_s", "cycle_s": "engine_s"}
"""Field of ``RecordedStep`` by the scripts' own name."""
_TRACE: Readers = {
    "chosen_block_size": Fields.count,
    "l_gen": Fields.count,
    "tau_hat": Fields.number,
    "cycle_hat": Fields.number,
    "score_hat": Fields.number,
    "current_block_size": Fields.count,
    "adl_lgen_hat": Fields.number,
    "adl_lacc_hat": Fields.number,
    "adl_target_k": Fields.number,
    "adl_target_bs": Fields.count,
    "rolling_tau": Fields.number,
    "recycled_available": Fields.count,
    "seeded_count": Fields.count,
    "recycled_next": Fields.count,
    "cycle_max_candidates": Fields.count,
    "selected_positions": Fields.counts,
    "chosen_candidate_idx": Fields.count,
    "candidate_taus": Fields.counts,
    "candidate_draft_scores": Fields.numbers,
    "candidate_rank_variants": Fields.anything,
    "verified_tokens": Fields.count,
}
"""What a trace row may tell beside the fields of ``RecordedStep``, by the scripts' own names."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle as recorded.

    Attributes:
        tau: tokens that it gained, the target's own included.
        block_size: effective block size, the anchor included; None where it is not told.
        facts: further fields of ``RecordedStep``, and those that differ from the rule.
        trace: what goes into ``RecordedStep.trace``.
        committed: how many of the tokens stayed in the output, where the row tells it.
    """

    tau: int
    block_size: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, JsonValue] = field(default_factory=dict)
    committed: int | None = None

    @classmethod
    def of_row(cls, row: Fields, block_size: str) -> Cycle:
        """Read a trace row.

        Args:
            row: of whichever script.
            block_size: the field that holds the effective block size.

        Raises:
            RawLogError: a value is of the wrong kind, or more tokens were gained than the block has positions.
        """
        size = row.count(block_size, least=1, most=MOST_TOKENS)
        tau = row.count("tau", least=1, most=MOST_TOKENS)
        if tau > size:
            raise row.fail("tau", f"{tau} tokens from a block of {size}")
        facts: dict[str, Any] = {ours: row.number(name) for name, ours in _TIMES.items() if row.has(name)}
        if row.has("num_candidates"):
            facts["candidates"] = row.count("num_candidates")
        committed = row.count("committed_tokens", most=tau) if row.has("committed_tokens") else None
        return cls(tau, size, facts, row.read(_TRACE), committed)

    def step(self, run_id: str, sample: int, index: int, tokens: int) -> RecordedStep:
        """Return the step.

        Args:
            run_id: its run.
            sample: index of its sample.
            index: its own.
            tokens: how many of its tau tokens stayed in the output.
        """
        facts = {"drafted": None if self.block_size is None else self.block_size - 1, "forwards": 1, **self.facts}
        facts.setdefault("accepted", min(self.tau - 1, tokens))
        trace = dict(self.trace)
        if tokens != self.tau:
            trace["tau"] = self.tau
        return RecordedStep(
            run_id=run_id,
            sample=sample,
            index=index,
            tokens=tokens,
            block_size=self.block_size,
            trace=trace or None,
            **facts,
        )
