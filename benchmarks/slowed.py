"""A decoder that is slowed on purpose: so many matrix products for each token, and tokens that count upwards.

What it computes is work of an engine's kind, a matrix that does not fit into the first cache times a vector, so that
what disturbs an engine disturbs it; how much slower one cell is than another is known: by the ratio of their products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from decodebench import (
    Availability,
    Backend,
    BackendOptions,
    ModelFacts,
    PreparedModel,
    Quantisation,
    Request,
    Step,
    hookimpl,
)
from decodebench.core.contract.backend import Capability

_SIZE = 768


class SlowedOptions(BackendOptions):
    products: int = Field(40, ge=1, description="matrix products for each token")
    n_threads: int = Field(1, ge=1, description="threads of a product, as many whatever else runs")


class Slowed(Backend):
    name: ClassVar[str] = "slowed"
    summary: ClassVar[str] = "so many matrix products for each token"
    kind: ClassVar[Literal["autoregressive"]] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset()
    Options: ClassVar[type[BackendOptions]] = SlowedOptions
    threads_option: ClassVar[str | None] = "n_threads"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(True, version="1")

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        return [Quantisation("float32", 32.0, "one matrix of random numbers")]

    def load(self, model: PreparedModel, device: str, options: SlowedOptions) -> ModelFacts:
        import numpy as np

        chooser = np.random.default_rng(0)
        self._matrix = chooser.standard_normal((_SIZE, _SIZE), dtype=np.float32) / _SIZE**0.5
        self._products = options.products
        return ModelFacts(
            parameters=_SIZE**2, weight_bytes=self._matrix.nbytes, context_length=4096, vocabulary_size=400
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        (request,) = batch
        for index in range(request.max_new_tokens):
            vector = self._matrix[index % _SIZE]
            for _ in range(self._products):
                vector = self._matrix @ vector
            yield Step((20 + (request.prompt_ids[-1] + index) % 300,), forwards=1)


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    return [Slowed]
