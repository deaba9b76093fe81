"""Letting a cell score given texts: the reference's outputs and, where they are texts, the task's right answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from ...core.isolation.processes.messages import Evaluation, message
from ...core.measure.cells import Cell
from ...core.measure.job import ContinuationJob, EvaluateJob
from ...core.measure.prompts import occasion_of
from ...core.measure.runner import Runner
from ...core.records.log_content import LineError
from ..comparison.observations import Cell as Observed
from ..parsers.parity import ParityCell
from .matrix import TOP_K, WHOLE_VOCABULARY, Tally

_NO_DIVERGENCE = "no KL divergence: not both it and the reference gave their likeliest ids"
_SCORED = {
    *("positions", "top1_agreement", "kl_mean", "kl_max", "kl_is_exact"),
    *("max_logprob_diff", "perplexity", "perplexity_text", "reason"),
}


class Scorer:
    """Lets cells score the reference's outputs and, where the task's answers are texts, those.

    Args:
        runner: the run that gave the outputs.
        reference: what the reference answered.
        scratch: folder for the reference's distributions, which a cell's are compared with one sequence at a time.
    """

    def __init__(self, runner: Runner, reference: Observed, scratch: Path) -> None:
        self._runner, self._scratch = runner, scratch
        self._reference = runner.matrix.cells[0]
        self.failed: list[str] = []
        """What could not be scored, one line each."""
        first = reference.rounds[0] if reference.rounds else None
        answers = first.answers() if first else {}
        self._occasion = occasion_of(first.run["experiment"], first.run["round"]) if first else ""
        outputs = [(sample_id, {"output_ids": row["output_ids"]}) for (sample_id, _), row in sorted(answers.items())]
        texts = [(sample_id, {"text": text}) for sample_id, text in _reference_texts(runner).items()]
        self._continuations: list[tuple[str, dict[str, Any]]] = [*outputs, *texts]
        self._outputs = len(outputs)

    def scores(self, cell: Cell, previous: ParityCell | None) -> dict[str, Any]:
        """Return the fields of ``ParityCell`` that need scoring: the previous ones where they are whole."""
        if not self._continuations:
            return {}  # the reference gave no output to score
        if "score" not in cell.supports:
            return {"reason": f"backend {cell.backend.name!r} cannot score"}
        if previous is not None and self._is_whole(cell, previous):
            return previous.model_dump(include=_SCORED)
        outputs, texts = Tally(), Tally()

        def add(own: dict[str, Any], theirs: dict[str, Any] | None) -> None:
            if theirs is not None and len(own["logprobs"]) != len(theirs["logprobs"]):
                scored, given = len(own["logprobs"]), len(theirs["logprobs"])
                raise LineError(f"scores of {scored} positions of sequence {own['index']}; the reference has {given}")
            (outputs if own["index"] < self._outputs else texts).add(own, theirs)

        theirs = _lines(self._reference_file)
        if cell is self._reference:
            for line in theirs:
                add(line, line)
        elif (problem := self._evaluate(cell, lambda own: add(own, next(theirs, None)))) is not None:
            return {"reason": problem}
        told, source = (texts, "task references") if texts.positions else (outputs, "reference outputs")
        found = outputs.figures() | {"perplexity": told.perplexity, "perplexity_text": source}
        return found if found.get("kl_mean") is not None else {"reason": _NO_DIVERGENCE} | found

    def _is_whole(self, cell: Cell, previous: ParityCell) -> bool:
        has_kl = all("score-top-k" in side.supports for side in (cell, self._reference))
        return previous.perplexity is not None and (previous.kl_mean is not None or not has_kl)

    @cached_property
    def _reference_file(self) -> Path | None:
        """The reference's evaluations, one JSON line a sequence; None where it cannot give them."""
        if "score" not in self._reference.supports:
            return None
        path = self._scratch / "reference.jsonl"
        with path.open("w", encoding="utf-8") as file:
            problem = self._evaluate(self._reference, lambda line: file.write(json.dumps(line) + "\n"))
        return path if problem is None else None

    def _evaluate(self, cell: Cell, take: Callable[[dict[str, Any]], object]) -> str | None:
        """Run a throw-away worker that scores every continuation and hand on its lines; return why it failed."""
        runner = self._runner
        runner.progress.say(f"scoring with {runner.matrix.labels[cell.id]}")
        problem = runner.prepared(cell).reason
        if problem is None:
            top_k = TOP_K if "score-top-k" in cell.supports else 0
            how = {"top_k": top_k, "whole_vocabulary_up_to": WHOLE_VOCABULARY}
            prompts = {prompt.sample_id: prompt for prompt in runner.prompts.jobs_of(cell, self._occasion)}
            asked = tuple(ContinuationJob(prompt=prompts[name], **what) for name, what in self._continuations)
            job = EvaluateJob(**runner.loaded_fields(cell), continuations=asked, **how)

            expected = count()

            def listen(line: dict[str, Any]) -> None:
                if line["type"] == "evaluation":
                    if message(Evaluation, line).index != next(expected):
                        raise LineError(f"evaluation {line['index']} out of its turn")
                    take(line)

            outcome = runner.run_job(job, listen)
            problem = None if outcome.status == "ok" else outcome.reason or outcome.status
        if problem is not None:
            problem = f"could not be scored: {problem}"
            self.failed.append(f"{runner.matrix.labels[cell.id]}: {problem}")
        return problem


def _lines(file: Path | None) -> Iterator[dict[str, Any]]:
    if file is not None:
        with file.open(encoding="utf-8") as opened:
            yield from map(json.loads, opened)


def _reference_texts(runner: Runner) -> dict[str, str]:
    """Return the task's right answers by sample, where they are texts: a bare number or word says little."""
    samples = runner.prompts.samples
    if not samples or any(len(sample.reference.split()) < 2 for sample in samples.values()):
        return {}
    gap = {name: "" if sample.prompt[-1:].isspace() else " " for name, sample in samples.items()}
    return {name: gap[name] + sample.reference for name, sample in samples.items()}
