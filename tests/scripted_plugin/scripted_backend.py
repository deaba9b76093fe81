"""A backend that says what a script tells it to; found by entry point when this folder is on PYTHONPATH.

The script is a JSON list of ``[words, [answer, ...]]``: a prompt whose end holds the words gets the first answer, then
the second, and so on. What a real model would have said is then known, and with it every score.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field
from tokenizers import Tokenizer

from decodebench import Availability, Backend, BackendOptions, ModelFacts, Quantisation, Step, hookimpl

_END = 600  # characters of the prompt in which the problem stands, behind any examples


class ScriptedOptions(BackendOptions):
    script: str = Field("", description="path of the script")


class Scripted(Backend):
    name, summary, kind = "scripted", "says what it is told to", "autoregressive"
    supports = frozenset({"sampling"})
    Options = ScriptedOptions

    @classmethod
    def probe(cls):
        return Availability(True, version="0.1")

    @classmethod
    def quantisations(cls):
        return [Quantisation("f32", 32.0, "nothing")]

    def load(self, model, device, options):
        self.tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
        self.script = [(words, iter(answers)) for words, answers in json.loads(Path(options.script).read_text())]
        return ModelFacts(parameters=10, weight_bytes=40, context_length=65536, vocabulary_size=8192)

    def generate(self, batch):
        for row, request in enumerate(batch):
            prompt = self.tokenizer.decode(list(request.prompt_ids))[-_END:]
            answer = next(answers for words, answers in self.script if words in prompt)
            ids = [*self.tokenizer.encode(next(answer)).ids, request.stop_token_ids[0]]
            yield from (Step((token,), row=row, forwards=1) for token in ids[: request.max_new_tokens])


@hookimpl
def decodebench_backends():
    return [Scripted]
