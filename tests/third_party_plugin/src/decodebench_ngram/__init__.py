"""An n-gram decoder: the next token is the one that followed the longest matching suffix earlier in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from decodebench import (
    Backend,
    BackendError,
    BackendOptions,
    Figure,
    ModelFacts,
    PreparedModel,
    Quantisation,
    Request,
    Requires,
    Step,
    hookimpl,
)

decodebench_api = ">=3,<4"


class NgramOptions(BackendOptions):
    """Options of the n-gram decoder."""

    n: int = Field(3, ge=1, le=16, description="longest suffix that is looked for")


class Ngram(Backend[NgramOptions]):
    """Continues the prompt with what followed the same tokens before; no weights are read."""

    name, summary, kind = "ngram", "n-gram lookup in the prompt", "autoregressive"
    first_step_is_prefill = True
    requires = Requires(("decodebench-ngram",), fix="pip install decodebench-ngram")

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        return [Quantisation("none", 32.0, "there are no weights")]

    def load(self, model: PreparedModel, device: str, options: NgramOptions) -> ModelFacts:
        if device != "cpu":
            raise BackendError(f"device {device!r} is not there: n-grams are looked up on the CPU")
        self.n = options.n
        return ModelFacts(parameters=0, weight_bytes=0, context_length=2048, vocabulary_size=512)

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        for request in batch:
            if not request.prompt_ids:
                raise BackendError("the prompt has no tokens")
            text = list(request.prompt_ids)
            for _ in range(request.max_new_tokens):
                text.append(self._next(text))
                yield Step((text[-1],), forwards=1)
                if request.is_stop(text[-1]):
                    break

    def _next(self, text: list[int]) -> int:
        for n in range(min(self.n, len(text) - 1), 0, -1):
            for at in range(len(text) - n - 1, -1, -1):
                if text[at : at + n] == text[-n:]:
                    return text[at + n]
        return text[0]


def draw(axes, rows):
    """Bars: output tokens per backend."""
    axes.bar([row["backend"] for row in rows], [row["tokens"] for row in rows])
    axes.set_ylabel("output tokens")


@hookimpl
def decodebench_backends():
    return [Ngram]


@hookimpl
def decodebench_figures():
    sql = """
        SELECT r.backend, sum(s.output_tokens) AS tokens FROM runs r JOIN samples s USING (run_id)
        WHERE r.experiment = $experiment GROUP BY 1 ORDER BY 1
    """
    return [Figure("token_counts", "Tokens per backend", sql, draw)]
