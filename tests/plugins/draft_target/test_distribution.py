"""Sampled decoding follows the target's distribution: chi-square tests on 200,000 continuations of two tokens."""

from __future__ import annotations

from collections import Counter
from functools import cache, partial

import pytest
import torch
from scipy import stats

from decodebench import Request
from decodebench.plugins.draft_target.decoder import Decoder
from decodebench.plugins.draft_target.draft_length import DraftLength
from decodebench.plugins.draft_target.drafters.prompt_lookup import PromptLookup
from decodebench.plugins.draft_target.drafters.small_model import SmallModel
from decodebench.plugins.draft_target.draws import Draws, Purpose, pick
from decodebench.plugins.draft_target.models import CausalModel, TokenSequence
from decodebench.plugins.draft_target.models.own_layers import OwnLayers
from decodebench.plugins.draft_target.rules import rule_for
from decodebench.plugins.draft_target.verifier import EmbeddedVerifier

from ..models import save_checkpoint

DRAWS = 200_000
FEWER = 12_500
V = 8
PROMPT = (1, 4, 2)
TEMPERATURE = 0.9


class Remembered(CausalModel):
    """A model with a tiny vocabulary whose logits are looked up once per context: 200,000 continuations share them."""

    def __init__(self, folder) -> None:
        self._model = OwnLayers(folder, torch.float32, "cpu")
        self.vocabulary, self.context, self.device = V, 64, "cpu"

    @cache  # noqa: B019 - lives as long as the test
    def logits(self, ids):
        with torch.inference_mode():
            sequence = self._model.begin()
            row = sequence.feed(ids, logits=1)[0]
            sequence.close()
        return row

    def begin(self, positions=0):
        return _Remembered(self)


class _Remembered(TokenSequence):
    def __init__(self, model) -> None:
        self._model, self._ids, self.length = model, (), 0

    def feed(self, ids, *, logits=None):
        self._ids = (*self._ids, *ids)
        self.length = len(self._ids)
        wanted = len(ids) if logits is None else logits
        return torch.stack([self._model.logits(self._ids[: self.length - back]) for back in range(wanted)][::-1])

    def feed_candidates(self, anchor, candidates):
        self._candidates = [(*self._ids, anchor, *ids) for ids in candidates]
        ends = range(self.length + 1, self.length + 2 + len(candidates[0]))
        return torch.stack([torch.stack([self._model.logits(ids[:end]) for end in ends]) for ids in self._candidates])

    def keep(self, candidate, count):
        self._ids = self._candidates[candidate][: self.length + 1 + count]
        self.length = len(self._ids)

    def crop(self, length):
        self._ids = self._ids[:length]
        self.length = len(self._ids)

    def close(self):
        pass


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A second thread has nothing to do with eight logits but to wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    shape = dict(vocab_size=V, eos_token_id=None, pad_token_id=None)
    target = save_checkpoint(tmp_path_factory.mktemp("t"), "Qwen2", **shape)
    draft = save_checkpoint(tmp_path_factory.mktemp("d"), "Llama", **shape, num_hidden_layers=1)
    return Remembered(target), Remembered(draft)


def p_value(models, draws, *, rule=None, candidates=1, drafter="model", optimistic=False, top_k=0, top_p=1.0):
    """Return the p-value of the first two tokens against the target's own distribution, and the acceptance rate."""
    target, draft = models
    name = "probabilistic-approx" if rule else None
    if drafter == "model":
        drafting = SmallModel(draft, V, candidates=candidates, needs_logprobs=rule is not None)
    else:
        drafting = PromptLookup(2, 1)
    verifier = EmbeddedVerifier(target, partial(rule_for, name), is_concurrent=False)
    decoder = Decoder(drafting, verifier, lambda: DraftLength(3), is_optimistic=optimistic)
    counts: Counter = Counter()
    drafted = accepted = 0
    # The first token is the target's own; the two behind it come out of drafts.
    for seed in range(draws):
        request = Request(PROMPT, 3, temperature=TEMPERATURE, top_k=top_k, top_p=top_p, seed=seed)
        steps = list(decoder.generate(request))
        first, second, third = (token for step in steps for token in step.token_ids)
        counts[first, second, third] += 1
        drafted += sum(step.drafted or 0 for step in steps)
        accepted += sum(step.accepted or 0 for step in steps)
    expected = expectations(target, Request(PROMPT, 3, temperature=TEMPERATURE, top_k=top_k, top_p=top_p))
    assert set(counts) <= set(expected)
    likely = [key for key, chance in expected.items() if chance * draws >= 5]
    rest = draws - sum(counts[key] for key in likely)
    observed = [counts[key] for key in likely] + [rest]
    mass = [expected[key] * draws for key in likely]
    mass.append(draws - sum(mass))
    if mass[-1] < 1:
        observed, mass = observed[:-1], [value * sum(observed[:-1]) / sum(mass[:-1]) for value in mass[:-1]]
    return float(stats.chisquare(observed, mass).pvalue), accepted / drafted


def expectations(target, sampling):
    from decodebench.core.sdk.torch_sampling import probabilities

    def after(ids):
        return probabilities(target.logits(ids)[None], sampling)[0].double().tolist()

    return {
        (a, b, c): pa * pb * pc
        for a, pa in enumerate(after(PROMPT))
        for b, pb in enumerate(after((*PROMPT, a)))
        for c, pc in enumerate(after((*PROMPT, a, b)))
        if pa * pb * pc > 0
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("draws", [DRAWS // 16, pytest.param(DRAWS, marks=pytest.mark.nightly)])
def test_rejection_sampling_keeps_the_targets_distribution(models, draws):
    p, rate = p_value(models, draws)
    assert p > 1e-3
    assert 0.2 < rate < 0.9


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_prototypes_rule_does_not(models):
    p, _ = p_value(models, FEWER, rule="probabilistic-approx")  # fails with a quarter of the draws
    assert p < 1e-9


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({"candidates": 3}, marks=pytest.mark.nightly),
        pytest.param({"drafter": "prompt-lookup"}, marks=pytest.mark.nightly),
        pytest.param({"optimistic": True}, marks=pytest.mark.nightly),
        pytest.param({"top_k": 4, "top_p": 0.9}, marks=pytest.mark.nightly),
        pytest.param({"candidates": 2, "top_k": 5}, marks=pytest.mark.nightly),
    ],
    ids=str,
)
def test_neither_candidates_nor_look_ups_nor_guesses_change_it(models, way):
    p, _ = p_value(models, 10_000, **way)
    assert p > 1e-3


def test_the_numbers_are_uniform_and_independent_of_their_neighbours():
    numbers = torch.tensor([[Draws(seed).uniform(9, purpose) for purpose in Purpose] for seed in range(20_000)])
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlations = torch.corrcoef(numbers.T) - torch.eye(len(Purpose))
    assert correlations.abs().max() < 0.03
    along = torch.tensor([Draws(3).uniform(position, Purpose.TARGET) for position in range(20_000)])
    assert stats.kstest(along, "uniform").pvalue > 1e-3


def test_a_token_without_a_chance_is_never_picked():
    chances = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    picked = {pick(chances, number) for number in (0.0, 0.1, 0.2499, 0.25, 0.26, 0.5, 1 - 2**-53)}
    assert picked == {1, 3}
