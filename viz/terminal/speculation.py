"""Speculative decoding in the terminal: tables that stay readable at 80 columns, in a pipe and without colour."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.text import Text

from ...collate.speculation.figures import (
    Acceptance,
    Blocks,
    BlockUse,
    Pair,
    Replicated,
    Speculation,
)
from ...core.errors import plural
from ...core.foreign_text import printable
from ...core.records.cell_names import DIMENSIONS, CellTraits, name_cells
from ..drawing.numbers import digits, interval, known, on_two_lines, percent, seconds, signed, with_interval
from .fitting import FittingTable

if TYPE_CHECKING:
    from ...core.contract.analysis import AnalysisTable

_NONE = "n/a"
_LEAST_SHARE = 0.05  # block sizes used in fewer cycles, such as clamped tails, stand in one line
_LONGEST_NAME = 20  # columns; where names are longer, cells go by number
_COLUMNS_OF_BARS, _PLAIN_BARS = " ▁▂▃▄▅▆▇█", "0123456789"
_MOST_WARNINGS = 12

Names = Mapping[str, str]
"""What a cell is called in the tables, by its label."""


def speculation_view(analysis: Speculation) -> RenderableType:
    """Return the analysis as tables with what one must know to read them."""
    parts = (
        _headline, _overview, _spread, _predictions, _positions, _blocks, _pairs, _sections, _printed, _start_up,
        _warnings,
    )  # fmt: skip
    names = cell_names(analysis)
    return Group(*(line for part in parts for line in part(analysis, names)))


def cell_names(analysis: Speculation) -> dict[str, str]:
    """Return a short name for every cell, by label: what it does not share with all others, else its number."""
    cells = [cell.cell for cell in analysis.cells]
    dimensions = [{name: getattr(cell, name) for name in DIMENSIONS} for cell in cells]
    facts = [
        CellTraits(cell.cell_id, values, None, cell.options, cell.told)
        for cell, values in zip(cells, dimensions, strict=True)
    ]
    short = [name.short for name in name_cells(facts).values()]
    is_clear = all(0 < len(name) <= _LONGEST_NAME for name in short)
    return {cell.label: short[i] if is_clear else str(i + 1) for i, cell in enumerate(cells)}


def _headline(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    steady = ", first measured sample of every round left out" if analysis.steady_state else ""
    yield Text()
    yield Text.assemble((analysis.experiment, "bold"), f": speculative decoding{steady}")
    legend = FittingTable(box=None, show_header=False, pad_edge=False)
    baselines = {cell.baseline for cell in analysis.cells}
    for label, name in names.items():
        if name.isdigit() or label in baselines:
            _add(legend, name, f"{label}{', the baseline' if label in baselines else ''}")
    yield legend


def _overview(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    speedups = {pair.cell: pair.tpot for pair in analysis.pairs}
    has_wire = any(cell.time and cell.time.wire_s is not None for cell in analysis.cells)
    wire = ["wire\nms"] if has_wire else []
    table = _table("n", "tau", "tokens/s", "speed-up", "draft\nms", "verify\nms", *wire, "tau <\nb/2")
    for cell in analysis.cells:
        time, acceptance = cell.time, cell.acceptance
        _add(
            table,
            names[cell.cell.label],
            str(cell.samples),
            on_two_lines(interval(acceptance.tau)) if acceptance else _NONE,
            on_two_lines(with_interval(cell.decode_tokens_per_s)),
            on_two_lines(interval(speedups[cell.cell.label])) if cell.cell.label in speedups else "baseline",
            _milliseconds(time.draft_s if time else None),
            _milliseconds(time.verify_s if time else None),
            *([_milliseconds(time.wire_s if time else None)] if has_wire else []),
            percent(acceptance.below_half_share) if acceptance and acceptance.below_half_share is not None else _NONE,
        )
    yield table
    yield _note(
        "tau: tokens per verify cycle, pooled, bonus token included; tokens/s and speed-up: decoding, first step left "
        f"out; draft, verify: per cycle{_clock(analysis)}; tau < b/2: cycles that commit less than half their block"
    )
    if told := _units(analysis):
        yield _note(f"95 % intervals: {told}")
    baselines = dict.fromkeys(names[cell.baseline] for cell in analysis.cells)
    if len(baselines) > 1:
        own = (f"{names[pair.cell]} against {names[pair.baseline]}" for pair in analysis.pairs)
        yield _note(f"speed-up: {', '.join(own)}")


def _clock(analysis: Speculation) -> str:
    clocks = {cell.time.clock for cell in analysis.cells if cell.time}
    return "" if clocks <= {"runner"} else " (cycle times by the engine's own clock where ours has none)"


def _units(analysis: Speculation) -> str:
    """Say what the intervals of tau and of the speeds are over."""
    words = {"round": "over rounds", "sample": "over the prompts of one round (bootstrap)", None: "not available"}
    columns: list[tuple[str, list[Replicated]]] = [
        ("tau", [cell.acceptance.tau for cell in analysis.cells if cell.acceptance]),
        ("tokens/s", [cell.decode_tokens_per_s for cell in analysis.cells]),
        ("speed-up", [pair.tpot for pair in analysis.pairs]),
    ]
    told = []
    for name, figures in columns:
        units = dict.fromkeys(figure.unit for figure in figures if figure.value is not None)
        if units:
            told.append(f"{name} {', '.join(words[unit] for unit in units)}")
    return "; ".join(told)


def _spread(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    cells = [(cell, cell.spread) for cell in analysis.cells if cell.spread]
    if not cells:
        return
    ranges = [f"{bucket.name}\n{100 * bucket.low:.0f}-{100 * bucket.high:.0f} %" for bucket in cells[0][1].buckets]
    table = _table("accepted", *ranges, "cycles")
    for cell, spread in cells:
        rate = "" if spread.rate.value is None else f"{percent(spread.rate.value)}\n{spread.reading}"
        counts = (f"{bucket.samples}\n{percent(bucket.share)}" for bucket in spread.buckets)
        _add(table, names[cell.cell.label], rate, *counts, known(spread.verify_rounds_per_sample))
    yield table
    yield _note("accepted / drafted tokens, pooled, and samples by their own rate; cycles: verify cycles per sample")


def _predictions(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    pairs = [(pair, pair.prediction) for pair in analysis.pairs if pair.prediction]
    if not pairs:
        return
    table = _table("K", "draft\ncost", "verify\ncost", "over-\nhead", "expected", "Leviathan", "measured")
    for pair, told in pairs:
        costs = (
            told.draft_tokens,
            told.draft_cost,
            told.verify_cost,
            told.overhead,
            told.measured_cost,
            told.leviathan,
        )
        _add(table, names[pair.cell], *map("{:.2f}".format, costs), known(told.measured, "{:.2f}".format))
    yield table
    yield _note(
        "speed-up: expected = tau / (K x draft + verify + overhead), costs in decode steps of the baseline; Leviathan: "
        "a verification costs one step, acceptances are independent"
    )


def _positions(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    cells = [(cell, cell.acceptance) for cell in analysis.cells if cell.acceptance and cell.acceptance.positions]
    if not cells:
        return
    table = _table("accepted, by position in the block", "cycles by tau", justify="left")
    for cell, acceptance in cells:
        _add(table, names[cell.cell.label], _position_bars(acceptance), _tau_bars(acceptance))
    yield table
    yield _note(
        f"{'full height' if _is_unicode() else 'digits are tenths, which'}: 100 % for positions, from 1; the likeliest "
        "for tau, from 0"
    )


def _position_bars(acceptance: Acceptance) -> str:
    ends = (acceptance.positions[0], acceptance.positions[-1])
    told = "  ".join(f"{end.position}: {percent(end.share)}" for end in dict.fromkeys(ends))
    return f"{bars([position.share for position in acceptance.positions], has_unicode=_is_unicode())}\n{told}"


def _tau_bars(acceptance: Acceptance) -> str:
    likeliest = max(range(len(acceptance.tau_counts)), key=acceptance.tau_counts.__getitem__)
    told = f"most often {likeliest}: {percent(acceptance.tau_shares[likeliest])}"
    heights = [share / max(acceptance.tau_shares) for share in acceptance.tau_shares]
    return f"{bars(heights, has_unicode=_is_unicode())}\n{told}"


def bars(shares: Sequence[float], *, has_unicode: bool) -> str:
    """Draw shares as a row of bars, one character each; as digits of tenths where there is no Unicode."""
    if not has_unicode:
        return "".join(_PLAIN_BARS[min(int(10 * share), 9)] for share in shares)
    steps = len(_COLUMNS_OF_BARS) - 1
    return "".join(_COLUMNS_OF_BARS[max(round(steps * share), 1 if share > 0 else 0)] for share in shares)


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def _blocks(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    cells = [(cell, cell.blocks) for cell in analysis.cells if cell.blocks and cell.blocks.sizes[-1].block_size > 1]
    if not cells:
        return
    table = _table("block", "cycles", "share", "tau", "tokens/s", "tau <\nb/2", "switch\nrate")
    for cell, blocks in cells:
        for number, row in enumerate(_block_rows(blocks)):
            rate = blocks.switch_rate if number == 0 else None
            _add(table, names[cell.cell.label] if number == 0 else "", *row, "" if rate is None else percent(rate))
    yield table
    yield _note(
        "tokens/s: of the cycles with that block size; selection-biased where the decoder chooses it, since sizes then "
        "meet different text"
    )


def _block_rows(blocks: Blocks) -> Iterator[tuple[str, ...]]:
    rare = [use for use in blocks.sizes if use.share < _LEAST_SHARE]
    for use in blocks.sizes:
        if use not in rare:
            yield (
                str(use.block_size),
                *_block_figures([use]),
                known(use.tokens_per_s),
                percent(use.below_half_share),
            )
    if rare:
        low = sum(use.below_half_share * use.cycles for use in rare) / sum(use.cycles for use in rare)
        yield (f"{len(rare)} others", *_block_figures(rare), "", percent(low))


def _block_figures(uses: Sequence[BlockUse]) -> tuple[str, str, str]:
    cycles = sum(use.cycles for use in uses)
    tau = sum(use.tau * use.cycles for use in uses) / cycles
    return str(cycles), percent(sum(use.share for use in uses)), f"{tau:.2f}"


def _pairs(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    if not analysis.pairs:
        return
    table = _table("throughput", "wall", "tau delta", "throughput =\ntau x cycle", "same\noutputs")
    for pair in analysis.pairs:
        _add(
            table,
            names[pair.cell],
            on_two_lines(interval(pair.throughput)),
            on_two_lines(interval(pair.wall)),
            signed(pair.tau_delta),
            _product(pair),
            f"{pair.identical_outputs}/{pair.compared_outputs}" if pair.compared_outputs else _NONE,
        )
    yield table
    yield _note(
        "ratios to the baseline on the same prompts, above 1 is better; throughput is the wall speed-up, normalised by "
        "tokens; it is the ratio of tau times that of cycles per wall time, ~ where tokens outside the cycles, of the "
        "prefill, make up the rest"
    )


def _product(pair: Pair) -> str:
    found = pair.decomposition
    if found is None:
        return _NONE
    sign = "=" if found.is_exact else "~"
    return f"{found.throughput_ratio:.2f} {sign}\n{found.tau_ratio:.2f} x {found.cycle_ratio:.2f}"


def _sections(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    """Show what plugins add."""
    for section in analysis.sections.values():
        for found in section.tables(names):
            if found.rows:
                yield _filled(found)
            yield from map(_note, found.notes)


def _filled(found: AnalysisTable) -> FittingTable:
    table = _table(*found.columns[:-1] if found.ends_in_text else found.columns)
    if found.ends_in_text:
        table.add_column(found.columns[-1], overflow="fold")
    for row in found.rows:
        _add(table, *row)
    return table


def _printed(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    for cell in analysis.cells:
        if cell.printed:
            told = ", ".join(f"{name} {text}" for name, text in cell.printed.items())
            yield _note(f"{names[cell.cell.label]} in its log's own words: {told}")


def _start_up(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    cells = [(cell, cell.start_up) for cell in analysis.cells if cell.start_up]
    if not cells:
        return
    table = _table("import", "load", "first sample\nexcess", "start-up")
    for cell, cost in cells:
        parts = (cost.import_s, cost.load_s, cost.first_sample_excess_s, cost.total_s)
        _add(table, names[cell.cell.label], *(known(value, seconds) for value in parts))
    yield table
    yield _note("mean over rounds; excess: beyond what the first sample's tokens take at the pace of the others")


def _warnings(analysis: Speculation, names: Names) -> Iterator[RenderableType]:
    of_pairs = (line for pair in analysis.pairs for line in pair.warnings)
    of_sections = (line for section in analysis.sections.values() for line in section.warnings())
    lines = list(dict.fromkeys([*of_pairs, *of_sections]))
    failed = (cell for cell in analysis.cells if cell.failed)
    lines += [f"{names[cell.cell.label]}: {plural(cell.failed, 'round')} did not finish" for cell in failed]
    yield from (Text(f"warning: {line}", style="yellow") for line in lines[:_MOST_WARNINGS])
    if len(lines) > _MOST_WARNINGS:
        yield Text(f"warning: {len(lines) - _MOST_WARNINGS} more, in --json", style="yellow")


def _table(*columns: str, justify: str = "right") -> FittingTable:
    """Return an empty table whose first column is the cell."""
    table = FittingTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("cell", overflow="fold")
    for column in columns:
        table.add_column(column, justify="left" if justify == "left" else "right", no_wrap=True)
    return table


def _add(table: FittingTable, *cells: str) -> None:
    """Add a row of plain texts: brackets in a label are no markup."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _note(text: str) -> RenderableType:
    return Text(text, style="dim")


def _milliseconds(value: float | None) -> str:
    return _NONE if value is None else digits(1e3 * value)
