"""Generation keeps the contract: counts, chunks, stops, seeds, and nothing carried over between requests."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tokenizers import Tokenizer

from decodebench import BackendError, Generated, Request
from decodebench.core.records.schema import RecordedStep
from decodebench.plugins.tinygrad.text_log import TinygradTextLog

from ..models import TINY

CHUNK = 32
ENQUEUE = re.compile(r"^enqueue in\s+([\d.]+) ms$")
TOTAL = re.compile(r"^total\s+([\d.]+) ms, ([\d.]+) tok/s, ([\d.]+) GB/s, param ([\d.]+) GB/s$")


def expected(tiny, prompt, limit):
    """Continue with the scoring path, which sees the whole sequence at once."""
    ids = list(prompt)
    for _ in range(limit):
        ids.append(int(tiny.logits(ids)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.nightly
@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK - 1])
def test_chunk_boundaries_leave_no_trace(tiny, prompts, length):
    prompt = (prompts[0] + prompts[1] + prompts[2])[:length]
    assert len(prompt) == length
    steps = tiny.steps(prompt, 5, ignore_eos=True)
    assert [token for step in steps for token in step.token_ids] == expected(tiny, prompt, 5)
    assert [step.forwards for step in steps] == [-(-length // CHUNK), 1, 1, 1, 1]


@pytest.mark.nightly
def test_without_the_jit_the_tokens_are_the_same(load, tiny, prompts):
    from tinygrad import helpers

    plain = load(TINY, jit=False)
    try:
        assert plain.tokens(prompts[4][:20], 4) == tiny.tokens(prompts[4][:20], 4)
    finally:
        helpers.JIT.value = 1  # of the process, which other tests share


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_exactly_as_many_tokens_as_asked(tiny, prompts, limit):
    assert [len(step.token_ids) for step in tiny.steps(prompts[0], limit, ignore_eos=True)] == [1] * limit


def test_the_stop_token_ends_and_is_committed(tiny, prompts):
    free = tiny.tokens(prompts[0], 20)
    stop = free[7]
    cut = tiny.tokens(prompts[0], 20, stop_token_ids=(stop,), ignore_eos=False)
    assert cut == free[: free.index(stop) + 1]
    assert tiny.tokens(prompts[0], 20, stop_token_ids=(stop,), ignore_eos=True) == free


def test_no_state_survives_a_request(tiny, prompts):
    first = tiny.steps(prompts[5], 10, ignore_eos=True)
    tiny.tokens(tuple(range(30, 230)), 20)
    again = tiny.steps(prompts[5], 10, ignore_eos=True)
    assert [step.token_ids for step in again] == [step.token_ids for step in first]
    assert [step.bytes_read for step in again] == [step.bytes_read for step in first], "some work was skipped"
    assert [step.forwards for step in again] == [step.forwards for step in first]


def test_early_close_leaves_a_usable_backend(tiny, prompts):
    whole = tiny.tokens(prompts[6], 10)
    steps = tiny.backend.generate([Request(prompts[7], 30, ignore_eos=True)])
    next(steps), next(steps)
    steps.close()
    assert tiny.tokens(prompts[6], 10) == whole


def test_the_seed_decides(tiny, prompts):
    drawn = [tuple(tiny.tokens(prompts[0], 16, temperature=3.0, seed=seed)) for seed in (1, 2, 3)]
    assert len(set(drawn)) == 3
    assert tuple(tiny.tokens(prompts[0], 16, temperature=3.0, seed=2)) == drawn[1]


def test_sampling_of_one_candidate_is_greedy(tiny, prompts):
    assert tiny.tokens(prompts[0], 12, temperature=1.0, top_k=1, seed=3) == tiny.tokens(prompts[0], 12)


def test_bytes_read_are_the_weights_and_the_cache(tiny, prompts):
    steps = tiny.steps(prompts[0], 40, ignore_eos=True)
    decode = [step.bytes_read for step in steps[1:]]
    weights = tiny.facts.weight_bytes
    assert all(weights < read < 1.1 * weights for read in decode)
    position = 2 * 2 * 64 * 4 * 4  # keys and values, 2 heads of 64, float32, 4 layers
    assert decode[-1] - decode[0] >= position * (len(decode) - 1)


def test_the_engines_clock_is_plausible(tiny, prompts):
    for step in tiny.steps(prompts[0], 6, ignore_eos=True):
        assert 0 < step.enqueue_s < step.engine_s < 5


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ([Request((5,), 1)] * 2, "one request at a time, not 2"),
        ([Request((), 1)], "the prompt has no tokens"),
        ([Request((5,) * 2000, 50)], r"need 2049 positions; the cache has 2048 \(option n_ctx\)"),
    ],
)
def test_a_batch_that_cannot_be_continued_is_refused(tiny, batch, reason):
    with pytest.raises(BackendError, match=reason):
        tiny.backend.generate(batch)


@pytest.mark.nightly
def test_the_context_can_be_filled_to_its_last_position(load, checkpoints):
    small = load(checkpoints["qwen3"], n_ctx=50)
    assert small.facts.context_length == 50
    assert len(small.tokens(range(10, 50), 11)) == 11
    with pytest.raises(BackendError, match="need 51 positions"):
        small.tokens(range(10, 50), 12)
    assert small.logits(range(10, 60)).shape == (50, 160)


@pytest.fixture(scope="module")
def logged(load, prompts, tmp_path_factory):
    """A run of two samples in a chunk size of its own: the backend, its steps and the log after each sample."""
    loaded = load.anew(TINY, "float32", prefill_chunk=48)
    requests = [Request(tuple(prompts[at]), 6, seed=42, ignore_eos=True) for at in (0, 3)]
    steps = [list(loaded.backend.generate([request])) for request in requests]
    batches = [[Generated(at, *one, 1.0)] for at, one in enumerate(zip(requests, steps, strict=True), 1)]
    return loaded, steps, "".join(map(loaded.backend.classic_log, batches))


@pytest.mark.nightly
def test_another_chunk_size_gives_the_same_tokens(logged, tiny, prompts):
    _, steps, _ = logged
    for at, ours in zip((0, 3), steps, strict=True):
        assert [step.token_ids[0] for step in ours] == tiny.tokens(prompts[at], 6)


@pytest.mark.nightly
def test_the_log_is_the_engines_own(logged):
    loaded, steps, text = logged
    assert re.match(r"seed = 42\nloaded weights in +[\d.]+ ms, 0\.01 GB loaded at \d+\.\d\d GB/s\nenqueue in ", text)
    lines = text.split("\n")[2:]
    enqueued = [float(m[1]) for m in map(ENQUEUE.match, lines) if m]
    totals = [tuple(map(float, m.groups())) for m in map(TOTAL.match, lines) if m]
    flat = [step for sample in steps for step in sample]
    assert enqueued == pytest.approx([step.enqueue_s * 1e3 for step in flat], abs=0.006)
    for total, step in zip(totals, flat, strict=True):
        rates = (1e-9 / step.engine_s * n for n in (1e9, step.bytes_read, loaded.facts.weight_bytes))
        assert total == pytest.approx((step.engine_s * 1e3, *rates), abs=0.006)


@pytest.mark.nightly
def test_the_log_holds_the_text_so_far(logged):
    _, steps, text = logged
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    for sample in steps:
        ids = [step.token_ids[0] for step in sample]
        for n in range(1, len(ids) + 1):
            assert f" GB/s\n{tokenizer.decode(ids[:n])}\n" in text


@pytest.mark.nightly
def test_the_log_can_be_read_back(logged, tmp_path):
    _, steps, text = logged
    file = tmp_path / "log.txt"
    file.write_text(text)
    assert TinygradTextLog().matches(file, text.encode())
    read = [record for record in TinygradTextLog().read(file) if isinstance(record, RecordedStep)]
    np.testing.assert_allclose([r.step_s for r in read], [s.engine_s for sample in steps for s in sample], atol=1e-5)


@pytest.mark.nightly
def test_without_a_tokenizer_the_log_holds_ids(load, checkpoints):
    loaded = load(checkpoints["qwen3"], n_ctx=50)
    steps = loaded.steps(range(10, 20), 3)
    ids = [step.token_ids[0] for step in steps]
    batch = [Generated(1, Request(tuple(range(10, 20)), 3), steps, 1.0)]
    assert loaded.backend.classic_log(batch).endswith(f"\n{ids[0]} {ids[1]} {ids[2]}\n")
