"""How alike cells are to a reference, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.text import Text

from ...collate.comparison.result import Divergence
from ...collate.parity.matrix import ParityMatrix, ParityRow
from ...core.foreign_text import printable
from ..drawing.numbers import digits, divergence_text, percent
from .fitting import FittingTable

_STYLE = {"identical": "green", "ties only": "green", "differs": "yellow"}


def parity_view(matrix: ParityMatrix) -> RenderableType:
    """Return the cells of ``decodebench parity`` as a table with what one must know to read it."""
    table = FittingTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
    table.add_column("cell", overflow="fold", min_width=12)
    for column in ("bits", "same\noutputs", "same\ntokens", "KL\nnats", "max |Δ\nlog p|", "perp-\nlexity"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=10)
    for row in matrix.rows:
        table.add_row(
            Text(printable(row.cell.label)),
            "n/a" if row.cell.bits_per_weight is None else f"{row.cell.bits_per_weight:.3g}",
            f"{row.identical}/{row.compared}" if row.compared else "n/a",
            "n/a" if row.tokens_identical is None else percent(row.tokens_identical),
            divergence_text(row.kl_mean, is_exact=row.kl_is_exact),
            divergence_text(row.max_logprob_diff),
            "n/a" if row.perplexity is None else digits(row.perplexity, 5),
            Text(row.verdict, style=_STYLE.get(row.verdict, "")),
        )
    title = Text.assemble("\n", (matrix.experiment, "bold"), f": parity with {matrix.reference}")
    return Group(title, table, *_notes(matrix))


def describe_divergence(divergence: Divergence) -> str:
    """Say where an output leaves the baseline's, and whether rounding decides there."""
    text = f"diverges at output token {divergence.position} of {divergence.sample_id}"
    if divergence.logprob_gap is None:
        return text
    return f"{text}, baseline logprob gap {divergence.logprob_gap:.2g}, {'' if divergence.is_tie else 'not '}a tie"


def _notes(matrix: ParityMatrix) -> Iterator[RenderableType]:
    kinds = {row.kl_is_exact for row in matrix.rows}
    over = [name for name, kind in (("exact", True), ("≥: lower bound, top 64 + tail", False)) if kind in kinds]
    texts = sorted({row.perplexity_text for row in matrix.rows if row.perplexity_text})
    text = f"; perplexity on the {' and '.join(texts)}" if texts else ""
    yield Text(
        "same tokens: share before the first divergence; KL(reference || cell) of the next-token distribution, mean "
        f"over the reference's outputs ({', '.join(over) or 'not scored'}){text}",
        style="dim",
    )
    for row in matrix.rows:
        yield from (Text(f"{row.cell.label}: {line}", style="dim") for line in _remarks(row))


def _remarks(row: ParityRow) -> Iterator[str]:
    if row.reason:
        yield row.reason
    if row.divergences:
        yield describe_divergence(row.divergences[0])
