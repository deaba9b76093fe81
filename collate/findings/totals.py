"""What a log says of all its samples together: whether it agrees with itself, and with the samples."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from statistics import fmean

from ...core.contract.finding import Doubt, Place
from ..comparison.observations import Cell, Row
from ..parsers.columns import TIMES_OF_TOTALS, seconds_of
from .samples_beside import SamplesBeside
from .subject import Subject, rounds_of

_TELLING = 0.25  # answers, by which an accuracy may be rounded and still be distinguished from its neighbours
_TOKENS = ("output_tokens", "prompt_tokens")
_MEANS = {
    "ttft_s": ("mean_first_token_s", "mean seconds to the first token"),
    "duration_s": ("mean_duration_s", "mean seconds of a sample"),
}
"""By column of the samples: the field of the totals, and its words."""
_CLOSE = 1e-3  # of a mean: the tools do not round it, but the times behind it may be rounded to milliseconds


def inconsistent_totals(subject: Subject) -> Iterator[Doubt]:
    """A printed rate that differs from tokens divided by time by more than rounding."""
    wrong = []
    for cell in subject.finished:
        for run in (r.run for r in cell.rounds):
            totals = run["totals"] or {}
            tokens, printed, wall_s = totals.get("output_tokens"), totals.get("tokens_per_s"), _wall_s(run)
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
        many = f"in {len(wrong)} of {records} totals, tokens, time and rate disagree: " if len(wrong) > 1 else ""
        yield Doubt(many + text, "one of the three is wrong or from another run", [Place(run_id=run_id)], "error")


def impossible_accuracies(subject: Subject) -> Iterator[Doubt]:
    """An accuracy that no number of right answers gives: it is from another run, or has partial credit."""
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
                "it is from another run, or has partial credit",
                rounds_of(cell),
            )


def unlike_samples(subject: Subject) -> Iterator[Doubt]:
    """Totals that differ from the log's own samples: one of the two is from another run."""
    beside = SamplesBeside(subject)
    for cell in _with_totals(subject):
        for r in cell.rounds:
            timed = [sample for sample in r.samples or beside.timed(r.run) if sample["status"] == "ok"]
            own = bool(r.samples) and all(sample["score"] is not None for sample in timed)
            scored = timed if own else beside.scored(r.run)
            for what, printed, added, samples in (*_sums(r.run, timed), *_accuracy(r.run, scored)):
                yield Doubt(
                    f"{subject.name(cell)}: the log has {printed:.6g} as {what}, its {len(samples)} samples give "
                    f"{added:.6g}",
                    "one of the two is from another run",
                    [Place(run_id=run_id) for run_id in dict.fromkeys([r.run["run_id"], samples[0]["run_id"]])],
                    "error",
                )


_Unlike = tuple[str, float, float, list[Row]]
"""What a printed figure is of, the figure, what the samples give, and the samples."""


def _sums(run: Row, samples: list[Row]) -> Iterator[_Unlike]:
    """Yield the sums and means that the samples do not give; a figure that one of them lacks is not looked at."""
    if not samples:
        return
    totals = run["totals"]
    columns = {name: [s[name] for s in samples] for name in (*_TOKENS, *_MEANS)}
    whole = {name: values for name, values in columns.items() if None not in values}
    sums = [("samples", totals["samples"], len(samples))]
    sums += [(f"{name[:-7]} tokens", totals[name], sum(whole[name])) for name in _TOKENS if name in whole]
    for what, printed, added in sums:
        if printed is not None and printed != added:
            yield what, printed, added, samples
    means = [(what, totals[field], [fmean(whole[name])]) for name, (field, what) in _MEANS.items() if name in whole]
    means.append(("mean seconds per token after the first", totals["mean_tpot_s"], _times_per_token(samples)))
    for what, printed, given in means:
        if printed is not None and given and not any(abs(printed - mean) <= _CLOSE * mean for mean in given):
            yield what, printed, given[0], samples


def _times_per_token(samples: list[Row]) -> list[float]:
    """Return the mean time per token over samples, and that over tokens: tools print either. Empty if some lack it."""
    pairs = [(s["decode_s"], s["decode_tokens"]) for s in samples]
    several = [(seconds, tokens) for seconds, tokens in pairs if seconds is not None and tokens]
    if not several or any(tokens is None for _, tokens in pairs):
        return []
    over_samples = fmean(seconds / tokens for seconds, tokens in several)
    return [over_samples, sum(seconds for seconds, _ in several) / sum(tokens for _, tokens in several)]


def _accuracy(run: Row, scored: list[Row]) -> Iterator[_Unlike]:
    printed = run["totals"]["accuracy"]
    if scored and printed is not None:
        mean = fmean(float(sample["score"]) for sample in scored)
        if abs(printed - mean) > _half(printed) + 1e-9:
            yield "an accuracy", printed, mean, scored


def _with_totals(subject: Subject) -> list[Cell]:
    return [cell for cell in subject.finished if cell.run["totals"]]


def _half(value: float) -> float:
    """Half a unit of the last digit with which a number is printed."""
    return 0.5 * 10.0 ** int(Decimal(repr(value)).as_tuple().exponent)


def _wall_s(run: Row) -> float | None:
    """Return the time over all samples, which a run that has them holds itself."""
    wall_s: float | None = (run["totals"] or {}).get("wall_s") or run["wall_s"]
    return wall_s


def _half_of_time(run: Row) -> float:
    """Half a unit of the last digit of a wall time, in the unit in which the log has it: 2.79 h is known to 18 s."""
    printed = {target: (run["settings"] or {}).get(f"published_{target}") for target in TIMES_OF_TOTALS}
    found = next(((target, text) for target, text in printed.items() if text), None)
    if found is None:
        return _half(_wall_s(run) or 0.0)
    return _half(float(found[1])) * float(seconds_of(found[0]))
