"""Text and forwards of the published samplers, setting by setting, against their schedules written out."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import torch

from decodebench import Request
from decodebench.plugins.fast_dllm.commit import best, time_table
from decodebench.plugins.fast_dllm.layer_reuse import subset_layers
from decodebench.plugins.fast_dllm.options import FastDllmOptions
from decodebench.plugins.fast_dllm.proposals import Proposer

from ...at_night import a_few
from .checkpoints import LAYERS, MASK, STOP, VOCAB, save
from .naive import Naive
from .published import dream_cached, dream_whole, llada, v2_reuse
from .runs import kinds, outputs, requests

PROMPTS = [[3 + (7 * at * at + 11 * n) % 58 for at in range(3 + 4 * n)] for n in range(5)]
LENGTH = 32
PLANS = [(4, 2), (4, 3), (4, 4), (8, 2), (8, 5), (8, 8), (16, 3), (16, 7), (16, 16), (32, 9), (32, 32)]
"""Block lengths and steps per block."""


def nightly_but(first, *cases):
    """All cases, of which CI runs the first ``first``."""
    return [pytest.param(*case, marks=() if at < first else pytest.mark.nightly) for at, case in enumerate(cases)]


def ran(backend, prompt, limit):
    """The text, and the forwards by kind."""
    steps = list(backend.generate(requests([prompt], limit, stop=None)))
    found = dict(zip((p for s in steps for p in s.positions), (t for s in steps for t in s.token_ids), strict=True))
    return [found[at] for at in range(limit)], kinds(steps)


@pytest.mark.parametrize(
    "prompt", [PROMPTS[1], *(pytest.param(p, marks=pytest.mark.nightly) for p in PROMPTS[:1] + PROMPTS[2:])]
)
@pytest.mark.parametrize("cache", ["prefix", "dual"])
@pytest.mark.parametrize(("block", "steps"), PLANS)
def test_dream_with_a_cache_goes_on_in_its_time_table(backends, folders, block, steps, cache, prompt):
    options = {"cache": cache, "remasking": "entropy", "block_length": block, "steps": steps * LENGTH // block}
    text, forwards = ran(backends("dream", gen_length=LENGTH, **options), prompt, LENGTH)
    expected, (full, narrow) = dream_cached(Naive(folders["dream"]), prompt, LENGTH, block, steps, cache, MASK)
    assert text == expected
    assert forwards == {"full": full, "suffix" if cache == "prefix" else "block": narrow}


@pytest.mark.parametrize("ranking", ["low_confidence", "entropy", "topk_margin", "origin"])
@pytest.mark.parametrize("steps", [1, 5, 13, 32])
def test_dream_without_a_cache_is_one_canvas(backends, folders, steps, ranking):
    options = {"cache": "none", "remasking": ranking, "steps": steps, "block_length": LENGTH, "gen_length": LENGTH}
    for prompt in PROMPTS[:2]:
        expected, forwards = dream_whole(Naive(folders["dream"]), prompt, LENGTH, steps, ranking, MASK)
        text, found = ran(backends("dream", **options), prompt, LENGTH)
        assert text == expected
        # by chance nothing may be left for the last steps, which the published loop runs all the same
        assert found["full"] == forwards or (ranking == "origin" and found["full"] < forwards)


def test_one_step_per_block_is_two_with_a_cache_and_leaves_no_mask(backends):
    _, forwards = ran(backends("dream", steps=4, block_length=8, gen_length=LENGTH), PROMPTS[0], LENGTH)
    assert forwards == {"full": 4, "suffix": 4}


@pytest.mark.parametrize(("masks", "steps", "first"), [(31, 32, 1), (7, 8, 1), (15, 7, 1), (32, 5, 0), (3, 1, 1)])
def test_the_time_table_goes_on_where_it_is_told_to(masks, steps, first):
    counts, whole = time_table(masks, steps, first), time_table(masks, steps)
    assert sum(counts) == sum(whole) == masks
    assert len(counts) == max(1, steps - first)


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_alg_temp_draws_positions_by_the_softmax_of_their_confidence(spread):
    logits = torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 3
    options = FastDllmOptions(steps=8, alg_temp=spread)
    draws, counts = 4000, Counter()
    for seed in range(draws):
        found = Proposer(Request((3,), 8, seed=seed), options, (), "cpu")(logits)
        counts.update(best(2)(found.confidences))
    weights = (logits.softmax(-1).max(-1).values / spread).softmax(-1)
    pairs = weights[:, None] * weights[None, :] / (1 - weights)[:, None]  # first one, then the other
    pairs.fill_diagonal_(0)
    for at, chance in enumerate((pairs.sum(0) + pairs.sum(1)).tolist()):
        assert counts[at] / draws == pytest.approx(chance, abs=4 * (chance * (1 - chance) / draws) ** 0.5 + 1e-3)


@pytest.mark.parametrize(
    ("options", "rules"),
    a_few(
        2,
        [
            ({}, {}),
            ({"cfg_scale": 1.5}, {"cfg_scale": 1.5}),
            ({"logits_eos_inf": True}, {"never": [STOP]}),
            ({"confidence_eos_eot_inf": True}, {"last": [STOP, 5]}),
            ({"cfg_scale": 0.5, "logits_eos_inf": True}, {"cfg_scale": 0.5, "never": [STOP]}),
            (
                {"cfg_scale": 4.0, "logits_eos_inf": True, "confidence_eos_eot_inf": True},
                {"cfg_scale": 4.0, "never": [STOP], "last": [STOP, 5]},
            ),
        ],
    ),
)
def test_llada_is_guided_and_kept_from_its_end_as_published(tmp_path, backends, options, rules):
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "llada", "llada")
    (folder / "added_tokens.json").write_text(json.dumps({"<|eot_id|>": 5}))
    tensors = load_file(folder / "model.safetensors")
    head = tensors["model.transformer.ff_out.weight"]
    head[[STOP, 5]] *= 3  # ends that are often the likeliest
    save_file(tensors, folder / "model.safetensors")
    backend = backends(folder, cache="none", block_length=8, gen_length=24, steps=12, **options)
    for prompt in PROMPTS[:3]:
        expected = llada(Naive(folder), prompt, 24, 8, 12, MASK, **rules)
        assert outputs(backend, [prompt], 24, stop=None) == [expected]
        if "never" in rules:
            assert STOP not in expected


@pytest.mark.nightly
@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
def test_a_guided_row_of_a_batch_is_what_it_is_alone(backends, cache):
    backend = backends("llada", cache=cache, cfg_scale=1.0, threshold=0.3, block_length=8)
    alone = [outputs(backend, [prompt], 20)[0] for prompt in PROMPTS]
    assert outputs(backend, PROMPTS, 20) == alone


def reuse_cases():
    chooser, cases = random.Random(4), []
    for threshold in (0.05, 0.3, 0.9):
        for sub in (2, 4, 8):
            for k in (1, 2, 3, 5):
                subset = chooser.choice(["first", "middle", "last"])
                cases += [(threshold, sub, k, subset, file) for file in ("february", "january")]
    chooser.shuffle(cases)
    return cases


@pytest.mark.parametrize(("threshold", "sub", "k", "subset", "file"), nightly_but(5, *reuse_cases()))
def test_reuse_counts_within_a_block_as_the_published_files_do(backends, folders, threshold, sub, k, subset, file):
    common = {"threshold": threshold, "small_block_size": sub, "reuse_k": k, "cache": "sub-block"}
    own = {"reuse": "published-january"} if file == "january" else {"reuse": "published", "layer_subset": subset}
    for prompt in PROMPTS:
        limit = 24 + -len(prompt) % 8  # whole blocks: of a part of one only that part is decoded
        plan = (subset_layers(subset, LAYERS), k, file)
        expected, (whole, narrow) = v2_reuse(Naive(folders["v2"]), prompt, limit, threshold, (8, sub), MASK, plan)
        text, forwards = ran(backends("v2", **common, **own), prompt, limit)
        assert text == expected
        if file == "february":
            assert (forwards["block"], forwards["narrow"]) == (whole, narrow)
        else:
            assert forwards["block"] + forwards["reused"] == whole + narrow
            assert forwards["block"] <= whole  # what ran in vain at a sub-block's entry is left out
