"""How near each cell is to the reference: identical outputs, identical tokens, divergence of distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...collate.parity.matrix import tokens_identical
from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from ..drawing import style
from ..drawing.numbers import divergence_text, percent
from ..drawing.series import CELL_COLUMNS, Cell, cells

# The reference is that of the last `decodebench parity`, else the plan's first cell. Outputs are compared with its own
# where both decoded greedily with the same model and prompt.
SQL = f"""
WITH firsts AS (
    SELECT * FROM runs WHERE experiment = $experiment AND status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY cell_id ORDER BY round, started_at) = 1
), scored AS (
    SELECT * FROM parity_cells WHERE experiment = $experiment AND reference_cell IN (SELECT cell_id FROM firsts)
), reference AS (
    SELECT cell_id, run_id, model_hash FROM firsts
    ORDER BY cell_id = (SELECT arg_max(reference_cell, line) FROM scored) DESC, cell_index NULLS LAST, started_at
    LIMIT 1
), divergences AS (
    SELECT s.* FROM scored s JOIN reference ON s.reference_cell = reference.cell_id
    QUALIFY row_number() OVER (PARTITION BY s.cell ORDER BY s.line DESC) = 1
)
SELECT {CELL_COLUMNS}, r.cell_id = reference.cell_id AS is_reference, d.kl_mean, d.kl_is_exact,
       own.output_ids AS ours, base.output_ids AS theirs
FROM firsts r
CROSS JOIN reference
LEFT JOIN divergences d ON d.cell = r.cell_id
LEFT JOIN samples base ON base.run_id = reference.run_id AND NOT base.is_warmup AND base.status = 'ok'
      AND r.model_hash = reference.model_hash AND (r.sampling->>'temperature')::DOUBLE = 0
LEFT JOIN samples own ON own.run_id = r.run_id AND own.sample_id = base.sample_id
      AND own.prompt_hash = base.prompt_hash AND own.status = 'ok' AND NOT own.is_warmup
ORDER BY r.cell_id, base."index"
"""
COLUMNS = ("identical\noutputs", "identical\ntokens", "KL(reference\n|| cell)")
SHARE, DIVERGENCE = style.PALETTE[0], style.PALETTE[1]
LEAST, MOST = 1e-8, 1.0  # nats, the ends of the colour scale: rounding of float32, and another model
ROW_IN, FRAME_IN = 0.36, 1.85  # a line of fields; title, column heads and caption


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line of three coloured and annotated fields per cell, the reference on top."""
    from matplotlib.figure import Figure as Canvas

    (ax,) = style.panels(axes)
    found = sorted(cells(rows), key=lambda cell: (not cell.rows[0]["is_reference"], -(cell.bits or 0.0)))
    others = [cell for cell in found if not cell.rows[0]["is_reference"]]
    if all(_shares(cell) == (None, None) and cell.rows[0]["kl_mean"] is None for cell in others):
        raise UsageError(
            "no two cells have outputs of a common prompt, and no divergence was scored", code="data-missing"
        )
    assert isinstance(ax.figure, Canvas)
    ax.figure.set_figheight((FRAME_IN + ROW_IN * len(found)) * style.current().zoom)
    for y, cell in enumerate(found):
        outputs, tokens = _shares(cell)
        divergence, is_exact = cell.rows[0]["kl_mean"], cell.rows[0]["kl_is_exact"]
        _field(ax, 0, y, SHARE, outputs, "n/a" if outputs is None else percent(outputs))
        _field(ax, 1, y, SHARE, tokens, "n/a" if tokens is None else percent(tokens))
        _field(ax, 2, y, DIVERGENCE, _on_scale(divergence), divergence_text(divergence, is_exact=is_exact))
    ax.set_xlim(0, len(COLUMNS))
    ax.set_ylim(len(found), 0)
    ax.set_yticks([y + 0.5 for y in range(len(found))], [_name(cell) for cell in found])
    ax.set_xticks([x + 0.5 for x in range(len(COLUMNS))], COLUMNS)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    style.note(ax, _caption(found))


def _shares(cell: Cell) -> tuple[float | None, float | None]:
    """Return the shares of identical outputs and of identical tokens over the prompts that both answered."""
    pairs = [(row["theirs"], row["ours"]) for row in cell.rows if row["theirs"] is not None and row["ours"] is not None]
    same = sum(list(theirs) == list(ours) for theirs, ours in pairs)
    return (same / len(pairs) if pairs else None), tokens_identical(pairs)


def _on_scale(divergence: float | None) -> float | None:
    """Return the place of a divergence on the logarithmic colour scale, 0 to 1."""
    if divergence is None:
        return None
    bounded = min(max(divergence, LEAST), MOST)
    return math.log(bounded / LEAST) / math.log(MOST / LEAST)


def _field(ax: Axes, x: int, y: int, colour: str, depth: float | None, text: str) -> None:
    """Fill one field, deeper for more; a grey one was not measured."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba
    from matplotlib.patches import Rectangle

    shades = LinearSegmentedColormap.from_list("", [style.PAPER, colour])
    red, green, blue, _ = fill = to_rgba(style.GRID) if depth is None else shades(depth)
    ax.add_patch(Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, edgecolor=style.GRID, facecolor=fill, gid=style.GROUND))
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.45
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=style.PAPER if is_dark else style.INK)


def _name(cell: Cell) -> str:
    bits = "" if cell.bits is None else f" ({cell.bits:.3g} bits)"
    mark = ", reference" if cell.rows[0]["is_reference"] else ""
    return f"{cell.series} {cell.group}{bits}{mark}"


def _caption(found: Sequence[Cell]) -> str:
    prompts = max(sum(row["ours"] is not None for row in cell.rows) for cell in found)
    kinds = {cell.rows[0]["kl_is_exact"] for cell in found}
    bound = "; ≥: a lower bound, top 64 + tail" if False in kinds else ""
    scored = f"KL of the next-token distribution in nats, mean over the reference's outputs{bound}"
    return (
        f"Blue: share of {prompts} greedy outputs, and of their tokens before the first divergence.\n"
        + (f"{scored};\norange on a logarithmic scale from {LEAST:g} to {MOST:g}." if kinds != {None} else
           "The KL divergence was not scored: `decodebench parity` does.")
    )  # fmt: skip


FIGURE = Figure(id="parity_heatmap", title="Parity with the reference", sql=SQL, draw=draw)
