"""A client of a scripted server, with the trained model's tokenizer."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import Request
from decodebench.core.contract.model import PreparedModel

from ..models import TINY, resolve
from .stub import Stub

collect_ignore_glob = ["test_*.py"] if find_spec("aiohttp") is None else []

BODIES = Path(__file__).parents[2] / "data" / "servers"


class Connected:
    """A backend connected to a stub, and shorthands for what tests ask of it."""

    def __init__(self, backend, stub, facts):
        self.backend, self.stub, self.facts = backend, stub, facts

    def steps(self, prompt=(5, 6, 7), limit=4, **changes):
        return list(self.backend.generate([Request(tuple(prompt), limit, **changes)]))

    def batch(self, count, limit=4, **changes):
        requests = [Request((5, 6, 7 + row), limit, row=row, **changes) for row in range(count)]
        return list(self.backend.generate(requests))


@pytest.fixture
def connect():
    """Return a function that serves a script and connects to it."""
    from decodebench.plugins.openai.backend import OpenAIBackend

    open_now = []

    def made(script, owner="vllm", pages=None, statuses=None, **options):
        listed = {"data": [{"id": "tiny", "owned_by": owner, "max_model_len": 512}]}
        stub = Stub(script, {"/v1/models": listed, **(pages or {})}, statuses)
        stub.__enter__()
        source = resolve(TINY)
        prepared = PreparedModel(TINY, "safetensors", None, None, source, "served")
        backend = OpenAIBackend()
        open_now.append((backend, stub))
        facts = backend.load(prepared, "unknown", OpenAIBackend.Options(url=stub.url, **options))
        return Connected(backend, stub, facts)

    yield made
    for backend, stub in open_now:
        backend.close()
        stub.__exit__()


def recorded(name: str):
    """Return a recorded body: JSON as an object, a stream as bytes."""
    content = (BODIES / name).read_bytes()
    return json.loads(content) if name.endswith(".json") else content
