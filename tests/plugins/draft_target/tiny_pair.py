"""tiny:draft and tiny:target, opened once, and what the target writes by itself."""

from __future__ import annotations

import torch

from decodebench import ModelCache, PreparedModel, Request
from decodebench.core.host.registry import Registry
from decodebench.core.sdk.models import resolve
from decodebench.plugins.draft_target.backend import DraftTargetBackend
from decodebench.plugins.draft_target.models.own_layers import OwnLayers
from decodebench.plugins.reference.family import END_ID

from ..models import TINY, problem_ids, torch_logits, torch_model

MARGIN = 1e-4
"""Below this gap between the two best logits float32 does not say which token is the best."""
LIMIT = 96


def prepared(name: str, draft: str | None = None) -> PreparedModel:
    source = resolve(name, Registry(only=["reference"]).models, ModelCache())
    companions = {} if draft is None else {"draft-target": prepared(draft)}
    return PreparedModel(source.path, "safetensors", None, None, source, "none", companions)


class TinyPair:
    def __init__(self) -> None:
        self.target = OwnLayers(TINY, torch.float32, "cpu")
        self.draft = OwnLayers(TINY.parent / "draft", torch.float32, "cpu")
        self.prompts = problem_ids(200, seed=777)
        self._judge = None
        self._alone: dict[tuple[int, ...], list[int]] = {}
        self._baseline = self.backend(num_draft_tokens=0)

    def backend(self, **options) -> DraftTargetBackend:
        backend = DraftTargetBackend()
        settings = backend.Options(n_threads=1, **options)
        backend.load(prepared("tiny:target", "tiny:draft"), "cpu", settings)
        return backend

    @staticmethod
    def request(prompt, limit=LIMIT, **sampling) -> Request:
        return Request(prompt, limit, stop_token_ids=(END_ID,), **sampling)

    def steps(self, backend, prompt, **sampling):
        return list(backend.generate([self.request(prompt, **sampling)]))

    def output(self, backend, prompt, **sampling):
        return [token for step in self.steps(backend, prompt, **sampling) for token in step.token_ids]

    def alone(self, prompt):
        if prompt not in self._alone:
            self._alone[prompt] = self.output(self._baseline, prompt)
        return self._alone[prompt]

    def assert_greedy(self, prompt, output):
        """The output is the target's greedy one, but for a tie that float32 cannot tell."""
        expected = self.alone(prompt)
        if output == expected:
            return
        at = next(i for i, (a, b) in enumerate(zip(output, expected, strict=False)) if a != b)
        self._judge = self._judge or torch_model(TINY)
        logits = torch_logits(self._judge, [*prompt, *expected[:at]])[-1]
        assert abs(logits[output[at]] - logits[expected[at]]) < MARGIN, (at, output, expected)
