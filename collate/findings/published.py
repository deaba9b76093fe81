"""Figures of speculative decoding that others published, and that cannot be what they are called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from ...core.contract.finding import Doubt, Place
from ...core.contract.log_parser import DRAFT_LENGTH_OPTIONS
from ...core.records.engine_counters import EngineCounters
from ..comparison.observations import Cell, Row
from .printed import acceptance_length, draft_option, longest_cycle, published
from .subject import Subject, grouped, rounds_of

_ROUNDED = 1e-3  # how far a share may be from another that it is
_CLEAR = 1.01  # how much faster than its bound a speed-up must be
_HIDDEN = 0.5  # of the mean
_SPEEDS = ("decode_tokens_per_s", "batch_tokens_per_s", "e2e_tokens_per_s")
_ALIKE = ("model", "task", "quantisation", "device", "batch_size")


def acceptance_of_cycles(subject: Subject) -> Iterator[Doubt]:
    """A published acceptance that is 1 - cycles / tokens: it does not say how many drafted tokens were accepted."""
    names = {run["run_id"]: cell for cell in subject.finished for run in (r.run for r in cell.rounds)}
    rows = subject.store.dicts(
        "SELECT run_id, \"index\", output_tokens, engine, extra FROM samples WHERE contains(extra::VARCHAR, 'accept') "
        'AND output_tokens > 0 AND run_id IN (SELECT unnest($runs)) ORDER BY run_id, "index"',
        {"runs": list(names)},
    )
    found: dict[tuple[str, str], list[tuple[float, float, Place]]] = {}
    for row in rows:
        cycles = EngineCounters.of(json.loads(row["engine"] or "{}")).speculation_rounds
        for name, share in _shares(json.loads(row["extra"])) if cycles else ():
            place = Place(run_id=row["run_id"], sample=row["index"])
            key = names[row["run_id"]].cell_id, name
            found.setdefault(key, []).append((share, 1 - cycles / row["output_tokens"], place))
    for (cell_id, name), several in found.items():
        if all(abs(share - of_cycles) < _ROUNDED for share, of_cycles, _ in several):
            share, _, _ = several[0]
            yield Doubt(
                f"{subject.names[cell_id]!r}: {name}, {share:.4g} in the first sample, is 1 - cycles / tokens in "
                f"{len(several)} of {len(several)} samples",
                "it is not an acceptance rate: accepted / drafted is lower, and the log may not have it",
                [place for _, _, place in several],
            )


def _shares(extra: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the acceptances that a log has of a sample, as shares."""
    for name, value in extra.items():
        if "accept" in name.lower() and isinstance(value, int | float) and 0 < value <= 100:
            yield name, value if value <= 1 else value / 100


def speed_ups_above_acceptance(subject: Subject) -> Iterator[Doubt]:
    """A speed-up above the tokens per verify cycle, which cannot be: a cycle takes at least as long as a plain step."""
    doubts = []
    for alike in grouped(subject.finished, lambda cell: tuple(cell.run[name] for name in _ALIKE)):
        plain = [cell for cell in alike if cell.run["kind"] == "autoregressive"]
        for cell in alike:
            length = longest_cycle(cell.run)
            stated = published(cell.run, "published_speed_up")
            if stated and length and stated > _CLEAR * length:
                text = f"{subject.name(cell)}: a speed-up of {stated:.2f} at {length:.2f} tokens per cycle"
                doubts.append((stated / length, text, cell, cell))
            for baseline in plain if cell.run["kind"] == "speculative" else ():
                ratio = _speed_up(cell, baseline)
                if ratio is not None and length and ratio > _CLEAR * length:
                    text = f"{subject.name(cell)} is {ratio:.2f} times as fast as {subject.name(baseline)} at "
                    doubts.append((ratio / length, f"{text}{length:.2f} tokens per cycle", cell, baseline))
    for _, text, cell, baseline in sorted(doubts, key=lambda doubt: -doubt[0]):
        cells = (cell,) if cell is baseline else (cell, baseline)
        yield Doubt(text, "the baseline is slower than it should be", rounds_of(*cells))


def _speed_up(cell: Cell, baseline: Cell) -> float | None:
    """Return a ratio of speeds; None where the two differ in what both have, or in what they measured."""
    for name in ("options", "conditions"):
        ours, theirs = cell.run[name] or {}, baseline.run[name] or {}
        if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
            return None
    if (cell.run["environment"] or {}).get("gpu") != (baseline.run["environment"] or {}).get("gpu"):
        return None
    pairs = [(cell.values(name), baseline.values(name)) for name in _SPEEDS]
    pairs.append(([_printed_speed(cell)], [_printed_speed(baseline)]))
    for speeds, others in pairs:
        if speeds and others and all(speeds) and all(others):
            return (sum(speeds) / len(speeds)) / (sum(others) / len(others))
    return None


def _printed_speed(cell: Cell) -> float:
    return (cell.run["totals"] or {}).get("tokens_per_s") or 0.0


def falling_acceptance(subject: Subject) -> Iterator[Doubt]:
    """A published acceptance length without an interval that falls with more draft tokens: noise, or an error."""
    for option in DRAFT_LENGTH_OPTIONS:
        yield from _falls(subject, option)


def _falls(subject: Subject, option: str) -> Iterator[Doubt]:
    falls = []
    for alike in _series(subject, option):
        ordered = sorted(alike, key=lambda known: draft_option(known[1], option))
        points = [(draft_option(run, option), acceptance_length(run) or 0.0, cell, run) for cell, run in ordered]
        falls += [(one, next_one) for one, next_one in pairwise(points) if next_one[1] < one[1]]
    for (few, high, _, before), (many, low, cell, run) in sorted(falls, key=lambda fall: fall[1][1] - fall[0][1]):
        if many > few:
            yield Doubt(
                f"{subject.name(cell)}: the acceptance length falls from {high:g} at {few} draft tokens to {low:g} at "
                f"{many}, and has no interval",
                "with the same prompts, more draft tokens lower it only by chance: use more prompts, give an interval",
                [Place(run_id=one["run_id"]) for one in (before, run)],
            )


def _series(subject: Subject, option: str) -> Iterator[list[tuple[Cell, Row]]]:
    """Yield runs that differ in an option alone: those of one file by themselves, which were measured together."""
    known: dict[tuple[object, ...], dict[str, list[tuple[Cell, Row]]]] = {}
    for cell in subject.finished:
        for run in (r.run for r in cell.rounds):
            if draft_option(run, option) and acceptance_length(run):
                files = known.setdefault(_apart_from(run, option), {})
                files.setdefault(str(run["source_file"]), []).append((cell, run))
    for files in known.values():
        yield from (runs for runs in files.values() if len(runs) > 1)
        yield [runs[0] for runs in files.values() if len(runs) == 1]


def _apart_from(run: Row, option: str) -> tuple[object, ...]:
    others = {name: value for name, value in (run["options"] or {}).items() if name != option}
    return (*(run[name] for name in _ALIKE), run["backend"], json.dumps(others, sort_keys=True))


def medians_below_means(subject: Subject) -> Iterator[Doubt]:
    """A published median latency per token far below the mean implied by throughput and batch: some wait long."""
    doubts = []
    for cell in subject.finished:
        median, rows = (published(cell.run, f"published_{name}") for name in ("median_itl_ms", "mean_batch_size"))
        rate = (cell.run["totals"] or {}).get("tokens_per_s")
        if median and rows and rate and median / 1e3 < _HIDDEN * rows / rate:
            mean = rows / rate
            text = (
                f"{subject.name(cell)}: the median inter-token latency is {median:.3g} ms, but {rows:.4g} requests at "
            )
            doubts.append(
                (median / mean, f"{text}{rate:.4g} tokens/s wait {1e3 * mean:.3g} ms per token on average", cell)
            )
    for _, text, cell in sorted(doubts, key=lambda doubt: doubt[0]):
        yield Doubt(text, "give the mean or the 99th percentile: the median leaves out waits", rounds_of(cell))


def several_contributors(subject: Subject) -> Iterator[Doubt]:
    """Published figures of one model by several people, whose methods may differ."""
    for alike in grouped(subject.finished, lambda cell: cell.run["model"]):
        people = {(cell.run["conditions"] or {}).get("contributor"): cell for cell in alike}
        people.pop(None, None)
        if len(people) > 1:
            by_people = [cell for cell in alike if (cell.run["conditions"] or {}).get("contributor")]
            yield Doubt(
                f"{len(by_people)} figures come from {len(people)} people, whose methods may differ",
                "compare figures of one person; other people's differ by more than the configuration",
                rounds_of(*by_people),
            )
