"""Sampled decoding follows the target's distribution: chi-square tests on 200,000 draws over a small vocabulary."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy import stats

from decodebench import Request
from decodebench.core.sdk.torch_layers.place import Span
from decodebench.plugins.dflash.acceptance import Equality, Rejection
from decodebench.plugins.dflash.draft import Draft
from decodebench.plugins.dflash.drafters.block_diffusion import BlockDiffusionDrafter
from decodebench.plugins.dflash.loops import make_loop
from decodebench.plugins.dflash.options import DFlashOptions
from decodebench.plugins.dflash.sampler import Sampler
from decodebench.plugins.dflash.target import Target

from ...at_night import a_few
from .checkpoints import save_random_draft, save_target

DRAWS = 200_000
V = 5
ANCHOR = 0


def tables():
    """Random target logits for the token behind the anchor and behind each token, and draft logits that differ."""
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(V, generator=generator) * 1.5, torch.randn(V, V, generator=generator) * 1.5
    draft = torch.randn(1, 1, V, generator=generator) * 1.5
    return first, second, draft


def chi_square(counts: Counter, chances: torch.Tensor) -> float:
    """Return the p-value of counts of pairs against the chances [V, V] (of 200,000)."""
    observed = [counts[a, b] for a in range(V) for b in range(V)]
    expected = (chances.double() / chances.double().sum()).flatten() * sum(observed)
    return float(stats.chisquare(observed, expected.tolist()).pvalue)


def pairs_of(rule, draws: int, seed: int = 0):
    """Draw pairs of tokens: a cycle of block 2, and where it gave one token only a second draw behind it."""
    first, second, draft = tables()
    sampler = Sampler(Request((1,), 2, temperature=1.0, seed=seed), "cpu")
    counts: Counter = Counter()
    accepted_total = 0
    after = second.softmax(-1)
    with torch.inference_mode():
        for _ in range(draws):
            drafted = rule.draft(draft, [sampler])
            token = drafted[0, 0]
            blocks = torch.stack([torch.tensor(ANCHOR), token])[None]
            logits = torch.stack([first, second[token]])[None]
            accepted, block, last = rule.judge(blocks, logits, [sampler])[0]
            accepted_total += accepted
            pair = (block[1], last) if accepted else (last, int(sampler.draw(after[last : last + 1])))
            counts[pair] += 1
    return counts, accepted_total / draws


def joint() -> torch.Tensor:
    first, second, _ = tables()
    return first.softmax(-1)[:, None] * second.softmax(-1)


@pytest.mark.parametrize("draws", [DRAWS // 16, pytest.param(DRAWS, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(("rule", "exact_acceptance"), a_few(1, [(Rejection, True), (Equality, False)]))
def test_both_rules_draw_from_the_targets_distribution(rule, exact_acceptance, draws):
    counts, acceptance = pairs_of(rule(), draws)
    assert chi_square(counts, joint()) > 0.001
    first, _, draft = tables()
    p, q = first.softmax(-1), draft[0, 0].softmax(-1)
    # Leviathan et al. 2023: the acceptance is the overlap; under equality it is the target's chance of the greedy draft
    expected = torch.minimum(p, q).sum() if exact_acceptance else p[q.argmax()]
    assert acceptance == pytest.approx(float(expected), abs=4 * (0.25 / draws) ** 0.5)


@pytest.mark.nightly
def test_the_test_finds_a_rule_that_is_not_exact():
    class Careless(Rejection):
        """Draws from the target again where it rejected, instead of from the residual."""

        def judge(self, blocks, logits, samplers):
            accepted, block, last = super().judge(blocks, logits, samplers)[0]
            if accepted == 0:
                last = int(samplers[0].draw(samplers[0].probabilities(logits[0, :1])))
            return [(accepted, block, last)]

    counts, _ = pairs_of(Careless(), 20_000)
    assert chi_square(counts, joint()) < 1e-6


@pytest.mark.parametrize("top_k", [0, 3])
def test_rejection_keeps_to_the_requests_own_filters(top_k):
    first, second, draft = tables()
    rule, sampler = Rejection(), Sampler(Request((1,), 2, temperature=0.7, top_k=top_k, seed=1), "cpu")
    seen = set()
    for _ in range(500):
        drafted = rule.draft(draft, [sampler])
        blocks = torch.stack([torch.tensor(ANCHOR), drafted[0, 0]])[None]
        accepted, block, last = rule.judge(blocks, torch.stack([first, second[drafted[0, 0]]])[None], [sampler])[0]
        seen.add(block[1] if accepted else last)
    allowed = set(first.topk(top_k or V).indices.tolist())
    assert seen <= allowed
    assert len(seen) == len(allowed)


@pytest.mark.nightly
@pytest.mark.parametrize("draws", [DRAWS // 16, pytest.param(DRAWS, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("compat", ["none", "published"])
def test_multi_round_sampling_draws_from_the_targets_distribution(tmp_path, compat, draws):
    """The token behind the first one of a real target and draft, whose answers are computed once."""
    small = {"vocab_size": 6, "pad_token_id": None, "eos_token_id": None}
    target = Target(save_target(tmp_path / "target", **small, tie_word_embeddings=True), torch.float64, "cpu")
    draft_folder = save_random_draft(tmp_path / "draft", vocab_size=6, dflash_config={"mask_token_id": 5})
    drafter = BlockDiffusionDrafter(Draft(draft_folder, torch.float64, "cpu"), target)
    options = DFlashOptions(round_block_sizes=(8, 4, 1) if compat == "none" else (8, 4), compat=compat)
    decoder = make_loop(target, drafter, options)
    sampler = Sampler(Request((1,), 1, temperature=1.0, seed=9), "cpu")
    prompt = [1, 4, 2]
    with torch.inference_mode():
        target.reserve(1, 32)
        drafter.reserve(1, 32)
        _, features = target.prefill_row(torch.tensor([prompt]), 0, drafter.taps)
        drafter.absorb(features, Span(0, 3))
        logits, more = target.evaluate(torch.tensor([[3]]), Span(3, 1), drafter.taps)
        p = sampler.probabilities(logits[0])
        first = decoder._first_seen(3, more)
        proposals = {
            size: decoder._proposal(sampler, 3, Span(3, size, first)) for size in options.round_block_sizes if size > 1
        }
        decoder._proposal = lambda sampler, anchor, place: proposals[place.n]
        found = [decoder._token(sampler, p, 3, 3, more) for _ in range(draws)]
    counts = Counter(one.token for one in found)
    observed = [counts[token] for token in range(6)]
    chances = p[0].double() / p[0].double().sum()
    assert stats.chisquare(observed, (chances * draws).tolist()).pvalue > 0.001
    rounds = Counter(one.number for one in found)
    assert rounds[1] > 0 and set(rounds) <= {1, 2, 3, 4}
    overlap = float(torch.minimum(p, proposals[8]).sum())
    assert rounds[1] / draws == pytest.approx(overlap, abs=4 * (0.25 / draws) ** 0.5)
