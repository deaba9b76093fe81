"""Where decode time goes: drafting, verifying, the rest."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, SAMPLES_SQL, TOPIC, modes, name_rows

PARTS = (("draft", style.PALETTE[1]), ("verify", style.PALETTE[0]), ("other", style.PALETTE[6]))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a stacked bar per mode: mean seconds per sample, and the quartiles of the whole."""
    (ax,) = style.panels(axes)
    told = [row for row in rows if None not in (row["draft_s"], row["verify_s"], row["decode_s"])]
    found = modes(told, "decode_s")
    for mode, place in zip(found, name_rows(ax, found), strict=True):
        left = 0.0
        for (part, colour), seconds in zip(PARTS, _parts(mode.rows), strict=True):
            ax.barh(place, seconds, left=left, height=0.6, color=colour, label=part)
            left += seconds
        totals = sorted(mode.column("decode_s"))
        ax.plot([totals[len(totals) // 4], totals[-1 - len(totals) // 4]], [place, place], color=style.INK, linewidth=1,
                gid=style.ROUNDS)  # fmt: skip
        ax.annotate(f"n={len(totals)}", (max(left, totals[-1 - len(totals) // 4]), place), (5, 0),
                    textcoords="offset points", va="center", fontsize=style.SMALL)  # fmt: skip
    ax.margins(x=0.1)
    style.legend_above(ax)
    style.note(
        ax,
        "Draft, verify: the engine's clock; other: the rest of the cycles. Line: quartiles of the n samples.",
        label="decode time of a sample (s), mean",
    )


def _parts(rows: Sequence[Row]) -> tuple[float, float, float]:
    draft, verify, whole = (fmean(row[name] for row in rows) for name in ("draft_s", "verify_s", "decode_s"))
    return draft, verify, max(0.0, whole - draft - verify)


FIGURE = Figure(
    id="decode_breakdown", title="Where decode time goes", sql=SAMPLES_SQL, draw=draw, needs=NEEDS, topic=TOPIC
)
