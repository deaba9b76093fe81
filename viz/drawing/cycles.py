"""What the figures of speculative decoding share: the rows of verify cycles, names of modes, colours."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log2

from ...core.contract.figure import Axes, Row
from ...core.errors import UsageError
from ...core.records.cell_names import CellTraits, name_cells
from . import style
from .declarations import block_size_option
from .series import CELL_COLUMNS

Colour = str
"""As ``#rrggbb``."""

TOPIC = "speculation"
NEEDS = "verify cycles of speculative decoding"
MOST_MODES = len(style.PALETTE)
"""Lines in one figure where colours alone tell them apart."""

_WHERE = """
WHERE r.experiment = $experiment AND r.status = 'ok' AND s.status = 'ok' AND NOT s.is_warmup
    AND t."index" > 0 AND t.drafted IS NOT NULL
"""
_FROM = """
FROM steps t JOIN samples s ON s.run_id = t.run_id AND s."index" = t.sample JOIN runs r ON r.run_id = t.run_id
"""
_CELL = f"{CELL_COLUMNS}, r.cell_index"

CYCLES_SQL = f"""
SELECT {_CELL}, r.run_id, r.round, t.sample, t."index" AS cycle, t.block_size, t.candidates, t.tokens AS tau,
    coalesce(t.step_s, t.engine_s) AS cycle_s
{_FROM}{_WHERE} ORDER BY r.cell_index, r.cell_id, r.round, r.run_id, t.sample, t."index"
"""
"""A row per verify cycle; the time of one is our clock's, or the engine's where a log has no other."""

COUNTS_SQL = f"""
SELECT {_CELL}, t.tokens AS tau, t.candidates, count(*) AS cycles
{_FROM}{_WHERE} GROUP BY ALL ORDER BY r.cell_index, r.cell_id, tau, t.candidates
"""
"""How many cycles of a cell had each tau and number of candidates."""

SAMPLES_SQL = f"""
SELECT {_CELL}, r.run_id, r.round, t.sample, count(*) AS cycles, sum(t.tokens) / count(*) AS tau,
    any_value(s.duration_s) AS wall_s, sum(coalesce(t.step_s, t.engine_s)) AS decode_s, sum(t.draft_s) AS draft_s,
    sum(t.verify_s) AS verify_s, max(t.block_size) AS block_size
{_FROM}{_WHERE} GROUP BY ALL ORDER BY r.cell_index, r.cell_id, r.round, r.run_id, t.sample
"""
"""A row per sample."""

ROUNDS_SQL = f"""
WITH cycles AS (
    SELECT r.run_id, max(t.block_size) AS block_size, avg(t.draft_s) AS draft_s, avg(t.verify_s) AS verify_s,
        count(DISTINCT t.sample) AS samples, sum(t.draft_s) AS draft_total_s, sum(t.verify_s) AS verify_total_s
    {_FROM}{_WHERE} GROUP BY 1
)
SELECT {_CELL}, r.run_id, r.round, c.block_size, c.draft_s, c.verify_s, c.draft_total_s / c.samples AS draft_sample_s,
    c.verify_total_s / c.samples AS verify_sample_s, m.tau, m.decode_tokens_per_s, m.tpot_s
FROM cycles c JOIN runs r ON r.run_id = c.run_id JOIN run_metrics m ON m.run_id = r.run_id
ORDER BY r.cell_index, r.cell_id, r.round
"""
"""A row per round."""


@dataclass(frozen=True, slots=True)
class Mode:
    """The rows of one cell.

    Attributes:
        name: what tells it from the other cells.
        colour: of its marks.
        rows: in the order of the query.
    """

    name: str
    colour: Colour
    rows: tuple[Row, ...]

    def column(self, name: str) -> list[float]:
        """Return a column's values, those that the log could not tell left out."""
        return [float(row[name]) for row in self.rows if row.get(name) is not None]


def modes(rows: Sequence[Row], column: str, *, without: Collection[str] = ()) -> list[Mode]:
    """Split rows by cell, in the plan's order; by all options but ``without`` where these span an axis.

    Args:
        rows: of one of the queries above.
        column: what the figure shows; rows that lack it are left out.
        without: options that do not tell modes apart.

    Raises:
        UsageError: no row has the column.
    """
    known = [row for row in rows if row.get(column) is not None]
    if not known:
        raise UsageError(
            f"the logs do not have the {column.removesuffix('_s').replace('_', ' ')} of any verify cycle",
            code="data-missing",
        )
    names = _names(known, without)
    parts: dict[str, list[Row]] = {}
    for row in known:
        parts.setdefault(names[row["cell_id"]], []).append(row)
    return [Mode(name, _colour(name, at, part[0]), tuple(part)) for at, (name, part) in enumerate(parts.items())]


def _colour(name: str, at: int, row: Row) -> Colour:
    """Return the colour of what alone distinguishes a mode, its backend or block size, else the next of the palette."""
    if name == row["backend"]:
        return style.look_of(name)[0]
    size = name.removeprefix(f"{block_size_option(row['backend'])}=")
    return block_colour(int(size)) if size.isdigit() else style.PALETTE[at % len(style.PALETTE)]


def _names(rows: Sequence[Row], without: Collection[str]) -> dict[str, str]:
    """Name every cell by what differs between cells, the backend where nothing does."""
    heads = {row["cell_id"]: row for row in rows}
    names = name_cells([CellTraits.of(head) for head in heads.values()], without=without)
    return {cell_id: name.short or str(heads[cell_id]["backend"]) for cell_id, name in names.items()}


def block_colour(size: float) -> Colour:
    """Return the colour of a block size: one scale for all figures, from dark for 1 on, as bright as can be seen."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return style.visible(to_hex(colormaps["viridis"](0.6 * min(1.0, log2(max(1.0, size)) / 5))))


def name_rows(ax: Axes, found: Sequence[Mode]) -> list[int]:
    """Put the modes' names on the y axis, the first at the top; return each mode's place."""
    return style.name_rows(ax, [mode.name for mode in found])


def shown(found: Sequence[Mode]) -> tuple[Sequence[Mode], str]:
    """Return the modes that one figure can tell apart, and a sentence where some are left out."""
    if len({mode.colour for mode in found}) == len(found):
        return found, ""
    return found[:MOST_MODES], f" The first {MOST_MODES} of {len(found)} cells."
