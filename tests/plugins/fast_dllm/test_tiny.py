"""The shipped models through the whole toolkit: accuracy, tokens per forward, and what they must show."""

from __future__ import annotations

from itertools import islice

import pytest

from decodebench import Request
from decodebench.core.measure.timed_loop import measure
from decodebench.core.sdk.answers import final_number
from decodebench.plugins.fast_dllm.backend import FastDllmBackend
from decodebench.plugins.reference.family import END_ID, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import held_out_problems

from ..models import resolve

LIMIT = 128
PROBLEMS = 32
CACHES = {"block-diffusion": ["block", "sub-block"], "llada": ["none", "prefix", "dual"]}


class Tiny:
    """A shipped model, loaded once per set of options."""

    def __init__(self, name: str) -> None:
        from tokenizers import Tokenizer

        self.folder = WEIGHTS_FOLDER / name
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.problems = list(islice(held_out_problems(4321), PROBLEMS))
        self.prompts = [tuple(self.tokenizer.encode(p.prompt, add_special_tokens=False).ids) for p in self.problems]
        self._loaded: dict[str, FastDllmBackend] = {}
        self._rows: dict[tuple, list] = {}

    def backend(self, **options) -> FastDllmBackend:
        key = repr(sorted(options.items()))
        if key not in self._loaded:
            settings = FastDllmBackend.Options.model_validate(options)
            prepared = FastDllmBackend.prepare(resolve(self.folder), "none", "cpu", settings, None)
            self._loaded[key] = FastDllmBackend()
            self._loaded[key].load(prepared, "cpu", settings)
        return self._loaded[key]

    def rows(self, count: int, batch: int = 1, **options):
        """Return what the first problems are answered with; asked once."""
        key = (count, batch, repr(sorted(options.items())))
        if key not in self._rows:
            backend = self.backend(**options)
            requests = [Request(prompt, LIMIT, stop_token_ids=(END_ID,)) for prompt in self.prompts[:count]]
            parts = [requests[at : at + batch] for at in range(0, count, batch)]
            self._rows[key] = [row for part in parts for row in measure(backend, part).rows]
        return self._rows[key]

    def right(self, rows) -> int:
        texts = [self.tokenizer.decode(row.ids) for row in rows]
        return sum(final_number(t) == str(p.answer) for t, p in zip(texts, self.problems, strict=False))


def per_forward(rows) -> float:
    """As the metric ``tokens_per_forward``: the first step, which holds the prefill, is left out."""
    steps = [step for row in rows for _, step in row.steps[1:]]
    return sum(len(step.token_ids) for step in steps) / sum(step.forwards for step in steps)


@pytest.fixture(scope="module")
def tiny():
    return Tiny("block-diffusion")


@pytest.fixture(scope="module")
def llada():
    return Tiny("llada")


@pytest.mark.nightly
def test_several_tokens_a_forward_and_most_answers_right(tiny):
    rows = tiny.rows(PROBLEMS, threshold=0.9)
    one = tiny.rows(PROBLEMS, threshold=1.0)
    assert per_forward(rows) > max(2.0, 2 * per_forward(one))
    assert tiny.right(rows) > 0.75 * PROBLEMS and tiny.right(one) > 0.75 * PROBLEMS


@pytest.mark.nightly
def test_too_much_parallel_decoding_costs_accuracy(tiny):
    careful, hasty = (tiny.rows(PROBLEMS, threshold=threshold) for threshold in (1.0, 0.3))
    assert per_forward(hasty) > per_forward(careful)
    assert tiny.right(hasty) < tiny.right(careful) - 0.15 * PROBLEMS


@pytest.mark.nightly
def test_reuse_costs_accuracy_and_saves_forwards(tiny):
    common = {"threshold": 0.9, "cache": "sub-block"}
    plain = tiny.rows(16, **common)
    kept = tiny.rows(16, **common, reuse="stale-logits", reuse_k=3)
    forwards = [sum(step.forwards for row in rows for _, step in row.steps) for rows in (plain, kept)]
    assert forwards[1] < forwards[0]
    for subset in ("first", "middle", "last"):
        skipping = tiny.rows(16, **common, reuse="published", reuse_k=3, layer_subset=subset)
        assert [row.ids for row in skipping] == [row.ids for row in kept]


@pytest.mark.nightly
@pytest.mark.parametrize("name", CACHES)
def test_a_batch_gives_what_its_rows_give_alone(name, tiny, llada):
    """In float64: other shapes are added up in another order, and a confidence near the threshold may tip over."""
    model = {"block-diffusion": tiny, "llada": llada}[name]
    for cache in CACHES[name][-1:]:
        options = {"dtype": "float64", "cache": cache, "block_length": 16}
        alone = [row.ids for row in model.rows(6, **options)]
        assert [row.ids for row in model.rows(6, batch=6, **options)] == alone


@pytest.mark.nightly
def test_llada_solves_some_problems(llada):
    rows = llada.rows(16, threshold=1.0, block_length=8)
    texts = [llada.tokenizer.decode(row.ids) for row in rows]
    assert sum("=" in text for text in texts) >= 14
    assert llada.right(rows) >= 2  # the card states 36 of 100


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "cache"), [(n, c) for n, caches in CACHES.items() for c in caches])
@pytest.mark.parametrize("rule", [{"threshold": 0.9}, {"threshold": 0.5}, {"factor": 1.0}, {"threshold": 1.0}])
@pytest.mark.parametrize("batch", [1, 5])
def test_full_matrix_of_modes_runs_to_the_end(name, cache, rule, batch, tiny, llada):
    model = {"block-diffusion": tiny, "llada": llada}[name]
    rows = model.rows(PROBLEMS, batch=batch, cache=cache, dtype="float64", **rule)
    assert all(row.ids[-1] == END_ID or len(row.ids) == LIMIT for row in rows)
    if batch > 1:
        assert [row.ids for row in rows] == [
            row.ids for row in model.rows(PROBLEMS, cache=cache, dtype="float64", **rule)
        ]


@pytest.mark.nightly
def test_matrix_products_are_where_the_time_goes(cache):
    """No step computes or allocates much beside them."""
    from torch.profiler import ProfilerActivity, profile

    from decodebench import ModelCache
    from decodebench.core.isolation.plugins import all_plugins
    from decodebench.core.sdk.models import resolve as find

    found = find("random:fast-dllm-v2-30m", all_plugins().models, ModelCache(cache))
    settings = FastDllmBackend.Options(n_threads=1, factor=4.0)
    backend = FastDllmBackend()
    backend.load(FastDllmBackend.prepare(found, "none", "cpu", settings, None), "cpu", settings)
    request = Request(tuple(range(5, 45)), 48)
    first = [token for step in backend.generate([request]) for token in step.token_ids]
    with profile(activities=[ProfilerActivity.CPU]) as record:
        again = [token for step in backend.generate([request]) for token in step.token_ids]
    assert again == first
    entries = sorted(record.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    total = sum(entry.self_cpu_time_total for entry in entries)
    products = [e for e in entries if any(word in e.key for word in ("linear", "mm", "dot_product"))]
    assert entries[0] in products
    assert sum(entry.self_cpu_time_total for entry in products) > 0.6 * total
