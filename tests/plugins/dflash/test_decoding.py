"""Greedy decoding commits the target's own tokens, whatever drafts, schedules, seeds or candidates are in the way."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench import Request
from decodebench.plugins.dflash.draft import Draft
from decodebench.plugins.dflash.drafters.block_diffusion import BlockDiffusionDrafter
from decodebench.plugins.dflash.drafters.scripted import ScriptedDrafter
from decodebench.plugins.dflash.loops import make_loop
from decodebench.plugins.dflash.options import DFlashOptions
from decodebench.plugins.dflash.target import Target

from ...at_night import a_few, examples
from .checkpoints import save_target

VOCABULARY = 64
STOP = 2
MODES = {
    "scheduler": ["fixed", "threshold", "ewma", "adl_ewma"],
    "seed_mode": ["none", "sparse", "dense"],
    "candidate_mode": ["none", "branch_beam", "fixed_prefix_rank", "uncertainty_sparse_rank"],
    "verify": ["tree", "batch"],
    "adaptive_candidates": [False, True],
    "draft_steps": [1, 2],
    "compat": ["none", "published"],
}


class Lab:
    """A float64 target with a random draft, and its own greedy outputs."""

    def __init__(self, target: Target, draft: Draft) -> None:
        self.target, self.draft = target, BlockDiffusionDrafter(draft, target)

    def steps(self, requests, drafter=None, **options):
        return list(make_loop(self.target, drafter, DFlashOptions.model_validate(options)).generate(requests))

    def outputs(self, requests, drafter=None, **options):
        found: list[list[int]] = [[] for _ in requests]
        for step in self.steps(requests, drafter, **options):
            found[step.row] += step.token_ids
        return found

    def alone(self, request):
        """The output token by token: block size 1."""
        return self.outputs([request], block_size=1)[0]


@pytest.fixture(scope="module")
def lab(target_folder, draft_folder):
    return Lab(Target(target_folder, torch.float64, "cpu"), Draft(draft_folder, torch.float64, "cpu"))


def request_for(seed: int, limit: int = 30, **changes) -> Request:
    chooser = random.Random(seed)
    prompt = tuple(chooser.randrange(3, VOCABULARY) for _ in range(chooser.randrange(1, 12)))
    return Request(prompt, limit, **{"stop_token_ids": (STOP,), **changes})


def combinations():
    """Pairs of values of all modes, each pair in some combination; those that are refused together left out."""
    names = list(MODES)
    wanted = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in MODES[a] for y in MODES[b]}
    chooser, chosen = random.Random(0), []
    while wanted and len(chosen) < 200:
        tries = [{name: chooser.choice(values) for name, values in MODES.items()} for _ in range(30)]
        tries = [one for one in tries if one["candidate_mode"] == "none" or one["seed_mode"] == "none"]
        best = max(tries, key=lambda one: len(wanted & set(itertools.combinations(one.items(), 2))))
        gained = wanted & set(itertools.combinations(best.items(), 2))
        wanted = {pair for pair in wanted - gained if not _is_refused(pair)}
        if gained:
            chosen.append(best)
    return chosen


def _is_refused(pair) -> bool:
    (a, x), (b, y) = pair
    return a == "seed_mode" and b == "candidate_mode" and "none" not in (x, y)


@pytest.mark.parametrize("modes", a_few(8, combinations()), ids=lambda m: "-".join(str(v) for v in m.values()))
def test_every_pair_of_modes_commits_the_targets_tokens(lab, modes):
    sizes = {"candidate_block_sizes": (2, 5, 9)} if modes["scheduler"] != "fixed" else {"block_size": 7}
    for seed in (1, 2):
        request = request_for(seed)
        truth = lab.alone(request)
        right = ScriptedDrafter([*request.prompt_ids, *truth], 0.7, VOCABULARY, seed=seed, inner=lab.draft)
        for drafter in (lab.draft, right):
            assert lab.outputs([request], drafter, **sizes, **modes) == [truth]


@pytest.mark.parametrize("block_size", a_few(8, range(1, 25)))
def test_every_block_size_commits_the_targets_tokens(lab, block_size):
    for seed in range(3):
        request = request_for(seed, limit=40)
        truth = lab.alone(request)
        assert lab.outputs([request], lab.draft, block_size=block_size) == [truth]
        for acceptance in (0.0, 0.5, 1.0):
            script = ScriptedDrafter([*request.prompt_ids, *truth], acceptance, VOCABULARY, seed=seed, taps=(0,))
            assert lab.outputs([request], script, block_size=block_size) == [truth]


def test_a_draft_that_is_always_right_fills_every_block_and_one_that_is_always_wrong_none(lab):
    request = request_for(1, limit=33, stop_token_ids=())
    script = [*request.prompt_ids, *lab.alone(request)]
    right = lab.steps([request], ScriptedDrafter(script, 1.0, VOCABULARY), block_size=8)
    assert [len(step.token_ids) for step in right] == [1, 8, 8, 8, 8]
    assert [(step.drafted, step.accepted) for step in right[1:]] == [(7, 7)] * 4
    wrong = lab.steps([request], ScriptedDrafter(script, 0.0, VOCABULARY), block_size=8)
    assert [len(step.token_ids) for step in wrong] == [1] * 33
    assert {step.accepted for step in wrong[1:]} == {0}
    assert [step.block_size for step in wrong[-4:]] == [4, 3, 2, 1]  # the last blocks shrink to what remains


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 10**6),
    st.integers(1, 24),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    st.sampled_from(["none", "published", "published-original"]),
)
def test_limits_and_stop_tokens_hold_for_any_draft(lab, seed, block_size, limit, acceptance, compat):
    stops = tuple(random.Random(seed).sample(range(VOCABULARY), 4))
    request = request_for(seed, limit=limit, stop_token_ids=stops)
    truth = lab.alone(request)
    drafter = ScriptedDrafter([*request.prompt_ids, *truth], acceptance, VOCABULARY, seed=seed, taps=(1,))
    (output,) = lab.outputs([request], drafter, block_size=block_size, compat=compat)
    assert output == truth
    assert len(output) <= limit
    assert not set(output[:-1]) & set(stops)


EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True}


@pytest.mark.parametrize(("family", "changes"), [("Qwen2", {}), ("Llama", {}), ("Qwen3Moe", EXPERTS)])
def test_other_families_of_targets(tmp_path, draft_folder, family, changes):
    folder = save_target(tmp_path, family, **changes)
    lab = Lab(Target(folder, torch.float64, "cpu"), Draft(draft_folder, torch.float64, "cpu"))
    for seed, block_size in itertools.product(range(3), (2, 8, 15)):
        request = request_for(seed)
        truth = lab.alone(request)
        assert lab.outputs([request], lab.draft, block_size=block_size) == [truth]


@pytest.mark.parametrize("options", [{"block_size": 6}, {"scheduler": "ewma", "candidate_block_sizes": (3, 7)}])
def test_a_batch_decodes_each_prompt_as_if_alone(lab, options):
    requests = [request_for(seed, limit=8 + 5 * seed) for seed in range(6)]
    truths = [lab.alone(request) for request in requests]
    assert len({len(truth) for truth in truths}) > 3  # the rows end at different times
    assert lab.outputs(requests, lab.draft, **options) == truths
    assert lab.outputs(requests, lab.draft, seed_mode="dense", **options) == truths
    assert lab.outputs(requests, block_size=1) == truths


def test_each_prompt_of_a_batch_has_the_acceptance_that_it_has_alone(lab):
    requests = [request_for(seed, limit=25) for seed in range(4)]
    together = lab.steps(requests, lab.draft, block_size=6)
    for row, request in enumerate(requests):
        alone = lab.steps([request], lab.draft, block_size=6)
        mine = [step for step in together if step.row == row]
        assert [(s.block_size, s.accepted, list(s.token_ids)) for s in mine] == [
            (s.block_size, s.accepted, list(s.token_ids)) for s in alone
        ]


def test_a_closed_generation_leaves_a_usable_decoder(lab):
    request = request_for(5)
    truth = lab.alone(request)
    decoder = make_loop(lab.target, lab.draft, DFlashOptions(block_size=4))
    stream = decoder.generate([request])
    for _ in range(3):
        next(stream)
    stream.close()
    assert [token for step in decoder.generate([request]) for token in step.token_ids] == truth


def test_tree_and_batch_verify_the_same_and_the_tree_evaluates_each_prefix_once(lab):
    request = request_for(3, limit=24, stop_token_ids=())
    common = {"block_size": 8, "fixed_prefix_len": 5, "branch_top_k": 4, "max_candidates": 4}
    runs = {
        verify: lab.steps([request], lab.draft, candidate_mode="fixed_prefix_rank", verify=verify, **common)
        for verify in ("tree", "batch")
    }
    keys = ("chosen_candidate_idx", "candidate_taus", "candidate_rank_variants", "selected_positions")
    for one, other in zip(runs["tree"][1:], runs["batch"][1:], strict=True):
        assert list(one.token_ids) == list(other.token_ids)
        if one.block_size == 8:
            assert [one.trace[key] for key in keys] == [other.trace[key] for key in keys]
            assert (one.trace["verified_tokens"], other.trace["verified_tokens"]) == (17, 32)
            assert one.candidates == other.candidates == 4


def published_cycles(prompt, limit, size, *, is_clamped, is_right):
    """The published loops on a draft that is right or wrong at each position: block sizes and gains by cycle."""
    start, end, sizes, taus = prompt, prompt + limit, [], []
    while start < end:
        block = min(size, end - start) if is_clamped else size
        accepted = 0
        while accepted < block - 1 and is_right(start + accepted + 1):
            accepted += 1
        sizes.append(block)
        taus.append(accepted + 1)
        start += accepted + 1
    return sizes, taus


@pytest.mark.parametrize("compat", ["published", "published-original"])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
def test_the_published_loops_differ_in_the_last_block_alone(lab, size, compat):
    for seed in range(4):
        request = request_for(seed, limit=21 + seed, stop_token_ids=())
        # The script goes on behind the limit, where whole blocks reach to.
        longer = request_for(seed, limit=60, stop_token_ids=())
        script = [*request.prompt_ids, *lab.alone(longer)]
        drafter = ScriptedDrafter(script, 0.7, VOCABULARY, seed=seed, taps=(0,))
        steps = lab.steps([request], drafter, block_size=size, compat=compat)
        expected = published_cycles(
            len(request.prompt_ids),
            request.max_new_tokens,
            size,
            is_clamped=compat == "published",
            is_right=lambda at, drafter=drafter, script=script: drafter.token(at) == script[at],
        )
        gained = [(s.trace or {}).get("tau", len(s.token_ids)) for s in steps[1:]]
        assert ([s.block_size for s in steps[1:]], gained) == expected
        assert [t for s in steps for t in s.token_ids] == script[len(request.prompt_ids) :][: request.max_new_tokens]


def test_a_candidate_that_is_right_is_chosen_and_its_context_kept(lab):
    """The second rank is the target's token at one place of each block: a candidate wins there, and nothing breaks."""
    request = request_for(3, limit=30, stop_token_ids=())
    truth = lab.alone(request)
    script = [*request.prompt_ids, *truth]

    class SecondBest(ScriptedDrafter):
        def logits(self, blocks, place):
            logits = super().logits(blocks, place)
            for at in range(min(3, logits.shape[1])):
                position = place.start + 1 + at
                if at == 2 and position < len(script):
                    logits[0, at, script[position]] = 9.0  # behind a wrong first choice of 10.0
                    logits[0, at, (script[position] + 1) % VOCABULARY] = 10.0
            return logits

    drafter = SecondBest(script, 1.0, VOCABULARY, inner=lab.draft)
    options = {"candidate_mode": "fixed_prefix_rank", "fixed_prefix_len": 3, "branch_top_k": 2, "max_candidates": 2}
    steps = lab.steps([request], drafter, block_size=6, **options)
    assert [token for step in steps for token in step.token_ids] == truth
    chosen = [step.trace["chosen_candidate_idx"] for step in steps[1:] if step.block_size == 6]
    assert chosen and set(chosen) == {1}
    assert all(len(step.token_ids) >= 4 for step in steps[1:] if step.block_size == 6)
