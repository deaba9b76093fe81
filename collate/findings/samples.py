"""Samples that were cold, cut, repeated, or other in number than asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from .subject import Subject, rounds_of, samples_at

_COLD = 1.5  # first sample's time to first token against the median of the others
_MOST_PER_CHARACTER = 1.0  # tokens; text of one-character tokens has 1, English about 0.25
_FEW_TOKENS = 64
_FLOOR_SAMPLES = 10


def cold_starts(subject: Subject) -> Iterator[Doubt]:
    """A slow first measured sample: too little warm-up."""
    for cell in subject.cells:
        ratios, first = [], []
        for r in cell.rounds:
            timed = [sample for sample in r.samples if sample["ttft_s"] is not None]
            times = [sample["ttft_s"] for sample in timed]
            if len(times) >= 3:
                ratios.append(times[0] / max(float(np.median(times[1:])), 1e-9))
                first.append(timed[0])
        if ratios and float(np.median(ratios)) > _COLD:
            yield Doubt(
                f"{subject.name(cell)}: the first measured sample takes {float(np.median(ratios)):.1f} times as long "
                "to its first token as the others",
                "more warm-up would keep it out",
                samples_at(first),
            )


def capped_outputs(subject: Subject) -> Iterator[Doubt]:
    """Generations that ended at the token limit although the task has an end."""
    for cell in subject.cells:
        if cell.run["ignore_eos"] or cell.run["task"] is None:
            continue
        samples = [sample for r in cell.rounds for sample in r.answers().values()]
        capped = [s for s in samples if s["finish"] == "length" and s["token_limit"] is None]
        if capped:
            limit = cell.run["max_new_tokens"]
            hit = "their token limit" if limit is None else f"the limit of {limit} tokens"
            yield Doubt(
                f"{subject.name(cell)}: {len(capped)} of {len(samples)} generations hit {hit}",
                "their answers may be cut; raise max_new_tokens",
                samples_at(capped),
            )


def clipped_outputs(subject: Subject) -> Iterator[Doubt]:
    """Generations that the context left less room for than was asked."""
    for cell in subject.cells:
        samples = [sample for r in cell.rounds for sample in r.answers().values()]
        clipped = [sample for sample in samples if sample["token_limit"] is not None]
        if clipped:
            fewest, asked = min(sample["token_limit"] for sample in clipped), cell.run["max_new_tokens"]
            yield Doubt(
                f"{subject.name(cell)}: {len(clipped)} of {len(samples)} generations were limited to fewer tokens than "
                f"the {asked} asked for, down to {fewest}: the context of {cell.run['context_length']} holds no more",
                "their answers may be cut; take a longer context or shorter prompts",
                samples_at(clipped),
            )


def empty_answers(subject: Subject) -> Iterator[Doubt]:
    """Answers that a stop string ended before they began."""
    for cell in subject.cells:
        samples = [sample for r in cell.rounds for sample in r.answers().values()]
        empty = [s for s in samples if s["finish"] == "stop-string" and not (s["text"] or "").strip()]
        if empty:
            yield Doubt(
                f"{subject.name(cell)}: {len(empty)} of {len(samples)} answers are empty: a stop string begins them "
                f"({', '.join(map(repr, cell.run['stop']))})",
                "they are scored as wrong; give other stop strings with --stop, or a prompt that ends otherwise",
                samples_at(empty),
            )


def failed_samples(subject: Subject) -> Iterator[Doubt]:
    """Samples without a result in rounds that finished."""
    for cell in subject.cells:
        failed = [sample for r in cell.rounds for sample in r.samples if sample["status"] == "failed"]
        if failed:
            count = sum(len(r.samples) for r in cell.rounds)
            yield Doubt(
                f"{subject.name(cell)}: {len(failed)} of {count} samples failed",
                "they are in no figure; what is left may be the easier part",
                samples_at(failed),
            )


def other_counts(subject: Subject) -> Iterator[Doubt]:
    """Rounds that hold another number of samples than was asked for."""
    for cell in subject.finished:
        unlike = []
        for r in cell.rounds:
            held = len(r.samples) or (r.run["totals"] or {}).get("samples")
            if held and r.run["samples"] and held != r.run["samples"]:
                unlike.append((r.run, held))
        if unlike:
            run, held = unlike[0]
            yield Doubt(
                f"{subject.name(cell)}: {run['samples']} samples were asked for, {held} ran",
                "figures per sample and their intervals are of the lower number",
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
            yield Doubt(
                f"{subject.name(cell)}: {len(found)} measured prompts had run before in the same process, as warm-up "
                "or as another sample",
                "an engine that keeps prefixes answers them faster; give each prompt once",
                samples_at(found),
                "note" if cell.run["source_format"] == "decodebench" else "warning",
            )


def tokens_without_text(subject: Subject) -> Iterator[Doubt]:
    """Far more tokens than the text can hold: end tokens or padding were counted."""
    for cell in subject.finished:
        answers = [s for r in cell.rounds for s in r.answers().values()]
        samples = [s for s in answers if s["text"] is not None and s["output_tokens"] is not None]
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
                f"characters, such as {worst['output_tokens']} tokens for {len(worst['text'])} characters: end tokens "
                "or padding are in the count",
                "speeds of these rows are too high",
                samples_at(hollow),
                "error",
            )


def floor_scores(subject: Subject) -> Iterator[Doubt]:
    """An accuracy above zero although not one problem is solved: points for form."""
    for cell in subject.finished:
        scores = [s["score"] for r in cell.rounds for s in r.answers().values() if s["score"] is not None]
        if len(scores) >= _FLOOR_SAMPLES and max(scores) < 1 and sum(scores) > 0:
            yield Doubt(
                f"{subject.name(cell)}: accuracy {sum(scores) / len(scores):.1%}, but none of {len(scores)} samples is "
                "right: the score is of partial points",
                "do not read it as an accuracy",
                rounds_of(cell),
            )
