"""What a log says of all its samples together: whether it agrees with itself, and with the samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from ...core.contract.finding import Doubt, Place
from ..comparison.observations import Cell, Row
from ..parsers.columns import TIMES_OF_TOTALS, seconds_of
from .subject import Subject, rounds_of

_TELLING = 0.25  # answers, by which an accuracy may be rounded and still be distinguished from its neighbours
_DATE = re.compile(r"\d{4}-\d\d-\d\dT[\d.:-]+\d")


def inconsistent_totals(subject: Subject) -> Iterator[Doubt]:
    """A printed rate that is not tokens divided by time, whatever was rounded."""
    wrong = []
    for cell in subject.finished:
        for run in (r.run for r in cell.rounds):
            totals = run["totals"] or {}
            tokens, wall_s, printed = (totals.get(name) for name in ("output_tokens", "wall_s", "tokens_per_s"))
            if not tokens or not wall_s or not printed:
                continue
            shortest_s, longest_s = wall_s - _half_of_time(run), wall_s + _half_of_time(run)
            low, high = tokens / longest_s, tokens / shortest_s if shortest_s > 0 else float("inf")
            if printed + _half(printed) < low or printed - _half(printed) > high:
                text = (
                    f"{subject.name(cell)}: {tokens} tokens in {wall_s:g} s are {tokens / wall_s:.2f} tokens/s, the "
                    f"log has {printed:g}"
                )
                wrong.append((abs(printed * wall_s / tokens - 1), text, run["run_id"]))
    records = sum(bool(r.run["totals"]) for cell in subject.finished for r in cell.rounds)
    for _, text, run_id in sorted(wrong, key=lambda found: -found[0]):
        many = f"of {len(wrong)} of {records} totals tokens, time and rate disagree: " if len(wrong) > 1 else ""
        yield Doubt(many + text, "one of the three is wrong or of another run", [Place(run_id=run_id)], "error")


def impossible_accuracies(subject: Subject) -> Iterator[Doubt]:
    """An accuracy that no count of right answers gives: it is of another run, or of partial points."""
    for cell in _with_totals(subject):
        share, samples = cell.run["totals"]["accuracy"], cell.run["totals"]["samples"]
        if share is None or not samples:
            continue
        rounding = samples * _half(share)
        if rounding < _TELLING and abs(share * samples - round(share * samples)) > rounding + 1e-6:
            answers = "1 sample" if samples == 1 else f"{samples} samples"
            yield Doubt(
                f"{subject.name(cell)}: an accuracy of {share:g} among {answers} would be "
                f"{share * samples:.2f} right answers",
                "it belongs to another run, or counts parts of answers",
                rounds_of(cell),
            )


def unlike_samples(subject: Subject) -> Iterator[Doubt]:
    """Totals that the log's own samples do not add up to: one of the two is of another run."""
    by_date = _scored_by_date(subject)
    for cell in _with_totals(subject):
        for r in cell.rounds:
            totals, done = r.run["totals"], [sample for sample in r.samples if sample["status"] == "ok"]
            pairs: list[tuple[str, float | None, float, float]] = []
            if done:
                pairs.append(("samples", totals["samples"], len(done), 0.0))
            if done and all(sample["output_tokens"] is not None for sample in done):
                pairs.append(("output tokens", totals["output_tokens"], sum(s["output_tokens"] for s in done), 0.0))
            own = done and all(sample["score"] is not None for sample in done)
            scored = done if own else by_date.get(_dated(r.run), [])
            if scored and totals["accuracy"] is not None:
                mean = sum(float(sample["score"]) for sample in scored) / len(scored)
                pairs.append(("an accuracy", totals["accuracy"], mean, _half(totals["accuracy"])))
            for what, printed, added, rounding in pairs:
                if printed is not None and abs(printed - added) > rounding + 1e-9:
                    samples = scored if what == "an accuracy" and scored else done
                    yield Doubt(
                        f"{subject.name(cell)}: the log has {printed:.6g} as {what}, its {len(samples)} samples give "
                        f"{added:.6g}",
                        "one of the two is of another run",
                        [Place(run_id=run_id) for run_id in dict.fromkeys([r.run["run_id"], samples[0]["run_id"]])],
                        "error",
                    )


def _scored_by_date(subject: Subject) -> dict[tuple[object, ...] | None, list[Row]]:
    """Return the samples that a tool wrote into a file of their own, by what they share with the file of totals."""
    alone = [r for cell in subject.finished for r in cell.rounds if not r.run["totals"] and r.samples]
    scored = [r for r in alone if _dated(r.run) and all(sample["score"] is not None for sample in r.samples)]
    return {_dated(r.run): r.samples for r in scored}


def _dated(run: Row) -> tuple[object, ...] | None:
    """Return task, metric and the date in the file's name; None where there is none."""
    found = _DATE.search(str(run["source_file"]).rpartition("/")[2])
    metric = (run["settings"] or {}).get("published_metric")
    return (run["task"], metric, found[0].rstrip(".")) if found and metric else None


def _with_totals(subject: Subject) -> list[Cell]:
    return [cell for cell in subject.finished if cell.run["totals"]]


def _half(value: float) -> float:
    """Half a unit of the last digit with which a number is printed."""
    return 0.5 * 10.0 ** int(Decimal(repr(value)).as_tuple().exponent)


def _half_of_time(run: Row) -> float:
    """Half a unit of the last digit of a wall time, in the unit in which the log has it: 2.79 h is known to 18 s."""
    printed = {target: (run["settings"] or {}).get(f"published_{target}") for target in TIMES_OF_TOTALS}
    found = next(((target, text) for target, text in printed.items() if text), None)
    if found is None:
        return _half(run["totals"]["wall_s"])
    return _half(float(found[1])) * float(seconds_of(found[0]))
