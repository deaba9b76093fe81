"""The files of what was scored after the rounds: ``raw/parity/*.jsonl``, one object a line.

``parity``       one first divergence between two cells, scored by the baseline
``parity-cell``  what ``decodebench parity`` found of one cell; of several lines of a cell the last counts
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ...core.records import raw_log as rawlog
from ...core.records.schema import Record
from ...defaults import TIE_MARGIN

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


class ParityFigures(Record):
    """How near the greedy outputs and the next-token distributions of a cell are to those of the reference."""

    verdict: Literal["reference", "identical", "ties only", "differs", "not comparable"] = Field(
        description=f"'ties only': every first divergence is below a top-two margin of {TIE_MARGIN:g} of the reference"
    )
    compared: int = Field(default=0, ge=0, description="prompts that both answered")
    identical: int = Field(default=0, ge=0, description="prompts with identical token ids")
    tokens_identical: float | None = Field(
        default=None, ge=0, le=1, description="tokens before the first divergence / tokens of the reference"
    )
    positions: int = Field(default=0, ge=0, description="tokens of the reference's outputs that the cell scored")
    top1_agreement: float | None = Field(
        default=None, ge=0, le=1, description="share of positions whose likeliest id is the reference's token"
    )
    kl_mean: float | None = Field(
        default=None,
        ge=0,
        description="KL(reference || cell) of the next-token distribution in nats, mean over positions",
    )
    kl_max: float | None = Field(default=None, ge=0, description="the largest of any position")
    kl_is_exact: bool | None = Field(
        default=None,
        description="true: over the whole vocabulary; false: a lower bound, top 64 + tail (ids among the 64 likeliest "
        "of both cells, and the mass of all other ids in one bucket)",
    )
    max_logprob_diff: float | None = Field(
        default=None, ge=0, description="largest |log p difference| to the reference on its own tokens"
    )
    perplexity: float | None = Field(default=None, ge=0, description="exp(-mean log p) of the tokens of a given text")
    perplexity_text: Literal["task references", "reference outputs"] | None = Field(
        default=None, description="which text: the task's right answers, or the outputs of the reference cell"
    )
    reason: str | None = Field(default=None, description="why figures are missing")


class ParityCell(ParityFigures):
    """A cell compared with the reference."""

    type: Literal["parity-cell"] = "parity-cell"
    schema_version: Literal[1] = Field(default=1, alias="schema", description="version of this line")
    experiment: str = Field(description="experiment of both cells")
    reference_cell: str = Field(description="cell_id of the reference")
    cell: str = Field(description="cell_id of the cell")


_LINES: dict[str, type[ParityScore] | type[ParityCell]] = {"parity": ParityScore, "parity-cell": ParityCell}


def read(path: Path) -> list[ParityScore | ParityCell]:
    """Read one parity file up to its last whole line.

    Raises:
        RawLogError: a line is not a parity line; names file, line and field.
    """
    found: list[ParityScore | ParityCell] = []
    for number, content in rawlog.lines(path):
        model = _LINES.get(str(content["type"]))
        if model is None:
            raise rawlog.RawLogError(f"{path}:{number}: unknown line type {content['type']!r}")
        try:
            found.append(model.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise rawlog.RawLogError(f"{path}:{number}: field {where!r}: {first['msg']}") from error
    return found
