"""Decoding with caches and windows against plain evaluation of everything, in float64 where the claim is exact."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from decodebench.plugins.fast_dllm.backend import FastDllmBackend
from decodebench.plugins.fast_dllm.forwards import Forward
from decodebench.plugins.fast_dllm.layer_reuse import LayerMemory
from decodebench.plugins.fast_dllm.likelihood import published_log_likelihood

from ...at_night import a_few, examples
from ..models import assert_shares_a_prompt
from .checkpoints import MASK, STOP, VOCAB, save
from .naive import Naive, block_causal, llada_sampler, proposal, v2_sampler
from .runs import kinds, outputs, requests

few = settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PROMPTS = st.lists(st.integers(3, MASK - 1), min_size=1, max_size=19)


@pytest.mark.nightly
@given(prompt=PROMPTS, steps=st.sampled_from([1, 3, 8, 16]))
@few
def test_one_block_with_quotas_is_the_sampler_of_llada(backends, folders, prompt, steps):
    backend = backends("llada", cache="none", block_length=16, gen_length=16, steps=steps)
    expected, evaluations = llada_sampler(Naive(folders["llada"]), prompt, 16, steps, MASK)
    assert outputs(backend, [prompt], 16, stop=None) == [expected]
    assert backend.counters().own["forwards_full"] == evaluations


@pytest.mark.nightly
@given(prompt=PROMPTS, threshold=st.sampled_from([0.05, 0.2, 0.6, 1.0]), sub=st.sampled_from([2, 3, 8]))
@few
def test_v2_is_what_evaluating_everything_anew_gives(backends, folders, prompt, threshold, sub):
    backend = backends("v2", threshold=threshold, small_block_size=sub)
    expected, _ = v2_sampler(Naive(folders["v2"]), prompt, 21, threshold, 8, sub, MASK, STOP)
    assert outputs(backend, [prompt], 21) == [expected]


@pytest.mark.parametrize("length", [7, 8, 9, 16])
def test_a_prompt_that_ends_with_a_block_is_not_lost(backends, folders, length):
    prompt = [3 + at % 50 for at in range(length)]
    expected, _ = v2_sampler(Naive(folders["v2"]), prompt, 12, 0.2, 8, 8, MASK, None)
    assert outputs(backends("v2", threshold=0.2), [prompt], 12, stop=None) == [expected]


@pytest.mark.nightly
@given(
    prompt=PROMPTS,
    k=st.integers(2, 4),
    threshold=st.sampled_from([0.3, 0.9]),
    subset=st.sampled_from(["first", "middle", "last"]),
)
@few
def test_published_reuse_is_keeping_the_logits_whatever_the_layers(backends, prompt, k, threshold, subset):
    common = {"threshold": threshold, "cache": "sub-block", "small_block_size": 4, "reuse_k": k}
    kept = outputs(backends("v2", reuse="stale-logits", **common), [prompt], 24)
    assert outputs(backends("v2", reuse="published", layer_subset=subset, **common), [prompt], 24) == kept


@pytest.mark.nightly
def test_the_residual_scheme_depends_on_the_layers(backends):
    prompts = [[3 + (7 * at + n) % 55 for at in range(9)] for n in range(4)]
    common = {"threshold": 1.0, "cache": "sub-block", "reuse": "residual", "reuse_k": 3}
    found = [
        [outputs(backends("v2", layer_subset=subset, **common), [prompt], 24, stop=None) for prompt in prompts]
        for subset in ("first", "middle", "last")
    ]
    assert len({json.dumps(each) for each in found}) == 3


@pytest.mark.parametrize("scheme", ["published", "residual"])
def test_layers_of_the_subset_do_not_run_in_a_reuse_step(scheme):
    options = FastDllmBackend.Options(reuse=scheme, reuse_k=2, layer_subset="middle", cache="sub-block")
    memory = LayerMemory(options, 28)
    ran = []

    def run(index, hidden):
        ran.append(index)
        return hidden + 1

    def all_layers(forward, hidden):
        memory.begin(forward)
        for index in range(28):
            hidden = memory(index, run, hidden)
        return hidden

    whole = all_layers(Forward("block", 32, 32, 64, ()), torch.zeros(1, 32, 4))
    assert ran == list(range(28))
    ran.clear()
    again = all_layers(Forward("narrow", 40, 8, 64, (), may_reuse=True), torch.full((1, 8, 4), 5.0))
    assert ran == [*range(8), *range(20, 28)]
    # 28 layers add 1 each. Old outputs hide the new input of 5; old changes of 1 a layer let it through.
    assert torch.equal(again, whole[:, 8:16] + (0 if scheme == "published" else 5))


@given(prompt=PROMPTS, family=st.sampled_from(["v2", "llada", "dream"]))
@example(prompt=[3] * 8, family="v2")
@few
def test_threshold_one_takes_a_step_per_mask(backends, prompt, family):
    backend = backends(family, threshold=1.0)
    steps = list(backend.generate(requests([prompt], 16, stop=None)))
    committed = [len(step.token_ids) for step in steps if step.trace["forward"] != "commit"]
    assert set(committed) == {1}
    # v2 gets the first token of a block from the forward of the finished ones, without a mask
    unmasked = ("commit", "prefill") if family == "v2" else ()
    free = sum(step.trace["forward"] in unmasked for step in steps)
    of_masks = sum(step.trace["forward"] not in ("commit", *unmasked) for step in steps)
    assert of_masks + free == sum(len(step.token_ids) for step in steps)


@given(prompts=st.lists(PROMPTS, min_size=2, max_size=4), data=st.data())
@few
def test_a_row_of_a_batch_is_what_it_is_alone(backends, prompts, data):
    family = data.draw(st.sampled_from(["v2", "llada", "dream"]))
    cache = data.draw(st.sampled_from(["block", "sub-block"] if family == "v2" else ["none", "prefix", "dual"]))
    sampling = data.draw(st.sampled_from([{}, {"temperature": 0.8, "top_p": 0.9, "seed": 5}]))
    backend = backends(family, threshold=0.3, cache=cache)
    alone = [outputs(backend, [prompt], 20, **sampling)[0] for prompt in prompts]
    assert outputs(backend, prompts, 20, **sampling) == alone


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 3, 6])
def test_rows_of_very_unlike_lengths_share_forwards_within_the_tables(backends, seed):
    """A long row that is ahead of a short one is filled up to the short one's width behind its own end."""
    backend = backends("llada", cache="prefix", threshold=0.2, block_length=4, gen_length=64)
    prompts = [[3 + (at * (seed + 1)) % 50 for at in range(190)], [7 + seed, 8, 9]]
    together = outputs(backend, prompts, 64, stop=None)
    assert together == [outputs(backend, [prompt], 64, stop=None)[0] for prompt in prompts]


def test_evaluations_are_counted_by_kind(backends):
    prompt = [[5, 6, 7, 8, 9]]
    for cache, narrow in (("none", "full"), ("prefix", "suffix"), ("dual", "block")):
        backend = backends("llada", cache=cache, steps=8, block_length=8, gen_length=16)
        found = kinds(backend.generate(requests(prompt, 16, stop=None)))
        counters = backend.counters().own
        assert {f"forwards_{kind}": float(count) for kind, count in found.items()} == {
            name: count for name, count in counters.items() if name.startswith("forwards_")
        }
        assert sum(found.values()) == 8
        assert found["full"] == (8 if cache == "none" else 2)
        assert found[narrow] == (8 if cache == "none" else 6)
    found = kinds(backends("v2", threshold=1.0).generate(requests([[5] * 9], 15, stop=None)))
    assert found == {"prefill": 1, "block": 14, "commit": 1}


@pytest.mark.parametrize("family", a_few(1, ["v2", "llada", "dream"]))
def test_only_the_visible_text_is_committed(folders, backends, family):
    """Generation ends with the first stop token as soon as all before it is fixed, in whatever order it came."""
    backend = backends(family, threshold=0.05)
    free = outputs(backend, [[9, 8, 7]], 24, stop=None)[0]
    stop = free[5]
    ended = outputs(backend, [[9, 8, 7]], 24, stop=stop)[0]
    assert ended == free[: free.index(stop) + 1]
    assert outputs(backend, [[9, 8, 7]], 24, stop=stop, ignore_eos=True)[0] == free


def test_with_one_step_per_block_caches_change_nothing(backends):
    prompt, common = [[4, 9, 4]], {"steps": 2, "block_length": 8, "gen_length": 16}
    found = [outputs(backends("llada", cache=cache, **common), prompt, 16) for cache in ("none", "prefix", "dual")]
    assert found[0] == found[1] == found[2]


def test_scores_are_those_of_plain_evaluation(folders, backends):
    tokens = [5, 9, 11, 13, 17, 19, 21, 23, 25, 27, 29, 31]
    for family in ("v2", "llada", "dream"):
        scores = backends(family).score(tokens, top_k=3)
        model = Naive(folders[family])
        for at in range(1, len(tokens)):
            if family == "v2" and at % 8 == 0:
                row = model.logits(tokens[:at], block_causal(at, 8))[-1]
            elif family == "v2":
                ids = tokens[:at] + [MASK] * (8 - at % 8)
                row = model.logits(ids, block_causal(len(ids), 8))[at - 1]
            else:
                ids = tokens[:at] + [MASK] * (len(tokens) - at)
                row = model.logits(ids)[at - (family == "dream")]
            row[MASK] = -torch.inf
            assert scores.logprobs[at] == pytest.approx(float(row.log_softmax(-1)[tokens[at]]), abs=2e-5)
            assert scores.is_greedy[at] == (proposal(row, MASK)[0] == tokens[at])
            assert scores.top_ids[at][0] == proposal(row, MASK)[0]
        # the masks of LLaDA and Dream end with the text, so that a longer one is another question for its first tokens
        assert_shares_a_prompt(backends(family), [3, 4, 5, 6, 7, 8, 9], tokens, atol=2e-5)
        assert_shares_a_prompt(backends(family), [3, 4, 5, 6, 7, 8, 9, 10], tokens, atol=2e-5)


def test_the_published_score_masks_the_first_token_of_a_choice_alone(folders, backends):
    prompt, choice = [5, 9, 11, 13, 17, 19, 21], [30, 31]
    backend = backends("v2")
    found = published_log_likelihood(backend._network, prompt, choice, STOP, 8)
    ids = [*prompt, MASK, 31, STOP] + [MASK] * 6
    row = Naive(folders["v2"]).logits(ids, block_causal(len(ids), 8))[len(prompt) - 1]
    row[MASK] = -torch.inf
    assert found == pytest.approx(float(row.log_softmax(-1)[30]), abs=1e-6)


def test_a_choice_is_scored_as_the_option_says(folders, backends, tmp_path):
    prompt, choice = [5, 9, 11, 13, 17, 19, 21], [30, 31]
    backend = backends("v2")
    whole = backend.score([*prompt, *choice])
    (read,) = backend.score_continuations(prompt, [choice])
    assert list(read.logprobs) == pytest.approx(list(whole.logprobs[7:]), abs=1e-6)
    assert list(read.is_greedy) == list(whole.is_greedy[7:])
    backend._scoring = "published"
    try:
        (published,) = backend.score_continuations(prompt, [choice])
    finally:
        backend._scoring = "reading-order"
    found = published_log_likelihood(backend._network, prompt, choice, STOP, 8)
    assert list(published.logprobs) == [found, 0.0] and list(published.is_greedy) == [False, False]


def test_the_mask_is_never_proposed(tmp_path, backends):
    """A head that loves the mask would let the published loops spin for ever."""
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "v2", "v2")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][MASK] *= 50
    save_file(tensors, folder / "model.safetensors")
    ids = outputs(backends(folder), [[3, 4, 5]], 20, stop=None)[0]
    assert len(ids) == 20
    assert MASK not in ids


@pytest.mark.nightly
@pytest.mark.parametrize("remasking", ["random", "entropy", "topk_margin"])
def test_other_rankings_fill_the_canvas_and_repeat(backends, remasking):
    backend = backends("llada", remasking=remasking, steps=8, block_length=8)
    first, again = (outputs(backend, [[5, 6]], 16, stop=None)[0] for _ in range(2))
    assert first == again
    assert len(first) == 16
    assert all(0 <= token < VOCAB and token != MASK for token in first)
