"""Samples that were cold, cut, repeated, or other in number than asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from ..comparison.observations import Cell, Row
from .subject import Subject, rounds_of, samples_at

_COLD = 1.5  # first sample's time to first token against the median of the others
_MOST_PER_CHARACTER = 1.0  # tokens; text of one-character tokens has 1, English about 0.25
_FEW_TOKENS = 64
_FLOOR_SAMPLES = 10
_FEWEST_EMPTY, _MANY_EMPTY = 3, 0.1


def cold_starts(subject: Subject) -> Iterator[Doubt]:
    """A slow first measured sample: too little warm-up."""
    found: list[tuple[float, Doubt]] = []
    for cell in subject.cells:
        ratios, first = [], []
        for r in cell.rounds:
            timed = [sample for sample in r.samples if sample["ttft_s"] is not None]
            times = [sample["ttft_s"] for sample in timed]
            if len(times) >= 3:
                ratios.append(times[0] / max(float(np.median(times[1:])), 1e-9))
                first.append(timed[0])
        times_as_long = float(np.median(ratios)) if ratios else 0.0
        if times_as_long > _COLD:
            text = f"{subject.name(cell)}: the first measured sample takes {times_as_long:.1f} times as long to its "
            found.append(
                (
                    times_as_long,
                    Doubt(f"{text}first token as the others", "use more warm-up", samples_at(first)),
                )
            )
    yield from (doubt for _, doubt in sorted(found, key=lambda pair: -pair[0]))


def capped_outputs(subject: Subject) -> Iterator[Doubt]:
    """Generations that ended at the token limit although the task has an end."""
    for cell in _ending(subject):
        answers, limit = _answers(cell), cell.run["max_new_tokens"]
        capped = [
            sample
            for sample in answers
            if sample["finish"] == "length" and sample["token_limit"] is None and not _is_clipped(sample, cell.run)
        ]
        if capped:
            of = "" if limit is None else f" of {limit} tokens"
            yield Doubt(
                f"{subject.name(cell)}: {len(capped)} of {len(answers)} generations hit the limit{of}",
                "their answers may be cut; raise max_new_tokens",
                samples_at(capped),
            )


def clipped_outputs(subject: Subject) -> Iterator[Doubt]:
    """Generations that the context left less room for than requested."""
    for cell in subject.finished:
        answers, limit = _answers(cell), cell.run["max_new_tokens"]
        clipped = [sample for sample in answers if _is_clipped(sample, cell.run)]
        if clipped:
            first, context = clipped[0], cell.run["context_length"]
            prompt = "" if first["prompt_tokens"] is None else f" behind a prompt of {first['prompt_tokens']} tokens"
            of = "" if context is None else f" of {context} tokens"
            yield Doubt(
                f"{subject.name(cell)}: {len(clipped)} of {len(answers)} generations were clipped by the context{of}, "
                f"such as one of {first['output_tokens']} tokens{prompt}, where {limit} were allowed",
                "they are shorter only for lack of context; use a longer context or shorter prompts",
                samples_at(clipped),
            )


def _is_clipped(sample: Row, run: Row) -> bool:
    """Whether the host limited the generation for lack of room, or it ended at a limit below the one that was asked.

    A limit of its own that leaves room in the context is one that the workload gave it, such as a drawn length.
    """
    own, prompt, context = sample["token_limit"], sample["prompt_tokens"], run["context_length"]
    if own is not None and (None in (prompt, context) or prompt + own >= context):
        return True
    tokens, limit = sample["output_tokens"], own or run["max_new_tokens"]
    return sample["finish"] == "length" and None not in (tokens, limit) and tokens < limit


def empty_answers(subject: Subject) -> Iterator[Doubt]:
    """Answers without a visible character: many of them, or any that a stop string ended at once."""
    for cell in subject.finished:
        answers = [sample for sample in _answers(cell) if sample["text"] is not None]
        empty = [sample for sample in answers if not sample["text"].strip()]
        stopped = sum(sample["finish"] == "stop-string" for sample in empty)
        if stopped or (len(empty) >= _FEWEST_EMPTY and len(empty) >= _MANY_EMPTY * len(answers)):
            strings = ", ".join(map(repr, cell.run["stop"] or ()))
            why = f", {stopped} of them as a stop string begins them ({strings})" if stopped else ""
            yield Doubt(
                f"{subject.name(cell)}: {len(empty)} of {len(answers)} answers are empty{why}",
                "they count as wrong and their speed means nothing; check the prompt's end, its template, --stop",
                samples_at(empty),
            )


def _ending(subject: Subject) -> list[Cell]:
    """Return the cells whose generations end by themselves."""
    return [cell for cell in subject.finished if not cell.run["ignore_eos"] and cell.run["task"] is not None]


def _answers(cell: Cell) -> list[Row]:
    return [sample for r in cell.rounds for sample in r.answers().values()]


def failed_samples(subject: Subject) -> Iterator[Doubt]:
    """Samples without a result in rounds that finished."""
    for cell in subject.cells:
        failed = [sample for r in cell.rounds for sample in r.samples if sample["status"] == "failed"]
        if failed:
            count = sum(len(r.samples) for r in cell.rounds)
            codes = Counter(sample["reason_code"] for sample in failed if sample["reason_code"] is not None)
            of_each = ", ".join(f"{code} {times}" for code, times in codes.most_common())
            yield Doubt(
                f"{subject.name(cell)}: {len(failed)} of {count} samples failed" + (of_each and f" ({of_each})"),
                "they are excluded from all figures; the remaining samples may be easier",
                samples_at(failed),
            )


def other_counts(subject: Subject) -> Iterator[Doubt]:
    """Rounds with another number of samples than requested."""
    for cell in subject.finished:
        unlike = []
        for r in cell.rounds:
            held = len(r.samples) or (r.run["totals"] or {}).get("samples")
            if held and r.run["samples"] and held != r.run["samples"]:
                unlike.append((r.run, held))
        if unlike:
            run, held = unlike[0]
            yield Doubt(
                f"{subject.name(cell)}: {run['samples']} samples were requested, {held} ran",
                "figures per sample and their intervals use those that ran",
                [Place(run_id=one["run_id"]) for one, _ in unlike],
            )


def reused_prompts(subject: Subject) -> Iterator[Doubt]:
    """Measured prompts that the same process had seen before: a prefix cache makes them look fast."""
    rows = subject.store.dicts(
        """
        WITH seen AS (
            SELECT s.run_id, s."index", s.is_warmup, coalesce(r.attempts, 1) AS attempts,
                row_number() OVER earlier AS nth
            FROM samples s JOIN runs r ON r.run_id = s.run_id
            WHERE r.experiment = ? AND r.status = 'ok' AND s.prompt_hash IS NOT NULL
            WINDOW earlier AS (PARTITION BY s.run_id, s.prompt_hash ORDER BY s."index")
        ) SELECT run_id, "index" FROM seen WHERE nth > attempts AND NOT is_warmup ORDER BY ALL
        """,
        [subject.experiment],
    )
    by_run: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        by_run.setdefault(row["run_id"], []).append(row)
    for cell in subject.finished:
        found = [row for r in cell.rounds for row in by_run.get(r.run["run_id"], ())]
        if found:
            what = "repeated prompt" if len(found) == 1 else "repeated prompts"
            yield Doubt(
                f"{subject.name(cell)}: {len(found)} {what} (possible prefix-cache hits), which the same process had "
                "answered before, as warm-up or as another sample",
                "an engine with a prefix cache answers them faster; use each prompt once",
                samples_at(found),
                "note" if cell.run["source_format"] == "decodebench" else "warning",
            )


def tokens_without_text(subject: Subject) -> Iterator[Doubt]:
    """Far more tokens than the text can hold: end tokens or padding were counted."""
    for cell in subject.finished:
        samples = [s for s in _answers(cell) if s["text"] is not None and s["output_tokens"] is not None]
        hollow = [
            sample
            for sample in samples
            if sample["output_tokens"] >= _FEW_TOKENS
            and sample["output_tokens"] > _MOST_PER_CHARACTER * len(sample["text"]) + 1
        ]
        if hollow:
            worst = max(hollow, key=lambda sample: int(sample["output_tokens"]) - len(sample["text"]))
            yield Doubt(
                f"{subject.name(cell)}: {len(hollow)} of {len(samples)} samples count more tokens than their text has "
                f"characters, such as {worst['output_tokens']} tokens for {len(worst['text'])} characters: the "
                "count includes end tokens or padding",
                "speeds of these rows are too high",
                samples_at(hollow),
                "error",
            )


def floor_scores(subject: Subject) -> Iterator[Doubt]:
    """An accuracy above zero although no problem is solved: partial credit only."""
    for cell in subject.finished:
        scores = [sample["score"] for sample in _answers(cell) if sample["score"] is not None]
        if len(scores) >= _FLOOR_SAMPLES and max(scores) < 1 and sum(scores) > 0:
            yield Doubt(
                f"{subject.name(cell)}: accuracy {100 * sum(scores) / len(scores):.1f} %, but none of {len(scores)} "
                "samples is right: partial credit only",
                "do not read it as an accuracy",
                rounds_of(cell),
            )
