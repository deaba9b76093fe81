"""The file in which ``decodebench parity`` keeps scored divergences: ``raw/parity/*.jsonl``, one object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ...core import rawlog
from ...core.schema import Record

NAME = "parity/1"


class ParityScore(Record):
    """One scored first divergence between two cells."""

    type: Literal["parity"] = "parity"
    schema_version: Literal[1] = Field(default=1, alias="schema", description="version of this line")
    experiment: str = Field(description="experiment of both cells")
    baseline_cell: str = Field(description="cell_id of the baseline, which scored")
    cell: str = Field(description="cell_id of the other")
    sample_id: str = Field(description="the problem")
    position: int = Field(ge=0, description="index of the first differing output token")
    baseline_token: int | None = Field(description="token id of the baseline; None where its output had ended")
    token: int | None = Field(description="token id of the other cell; None where its output had ended")
    logprob_gap: float | None = Field(default=None, description="log p(baseline_token) - log p(token)")
    top2_margin: float | None = Field(default=None, description="log-probability gap of the two likeliest ids there")


def read(path: Path) -> list[ParityScore]:
    """Read one parity file up to its last whole line.

    Raises:
        RawLogError: a line is not a parity line; names file, line and field.
    """
    scores = []
    for number, content in rawlog.lines(path):
        try:
            scores.append(ParityScore.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise rawlog.RawLogError(f"{path}:{number}: field {where!r}: {first['msg']}") from error
    return scores
