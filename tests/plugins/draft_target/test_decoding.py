"""Decoding with an embedded target: the output is the target's own, whatever is drafted and however."""

from __future__ import annotations

import itertools

import pytest
import torch

from decodebench import Request
from decodebench.plugins.draft_target.decoder import Decoder
from decodebench.plugins.draft_target.draft_length import DraftLength
from decodebench.plugins.draft_target.drafters import Drafter
from decodebench.plugins.draft_target.models.hugging_face import HuggingFace
from decodebench.plugins.draft_target.models.opening import open_model
from decodebench.plugins.draft_target.models.own_layers import OwnLayers
from decodebench.plugins.draft_target.proposal import Proposal
from decodebench.plugins.draft_target.rules import rule_for
from decodebench.plugins.draft_target.verifier import EmbeddedVerifier

from ...at_night import a_few
from ..models import save_checkpoint, torch_logits, torch_model

WAYS = [{"num_draft_tokens": k} for k in range(1, 9)] + [
    {"adaptive": True},
    {"optimistic": True},
    {"optimistic": True, "adaptive": True, "num_draft_tokens": 2},
    {"num_candidates": 3},
    {"num_candidates": 2, "adaptive": True},
    {"drafter": "prompt-lookup"},
    {"target_backend": "transformers"},
    {"target_backend": "transformers", "draft_backend": "transformers", "num_candidates": 3},
]


def named(way):
    return ",".join(f"{key}={value}" for key, value in way.items())


@pytest.mark.parametrize("way", a_few(3, WAYS), ids=named)
def test_the_output_is_the_targets_greedy_one(tiny, way):
    backend = tiny.backend(**way)
    for prompt in tiny.prompts[:8]:
        steps = tiny.steps(backend, prompt)
        tiny.assert_greedy(prompt, [token for step in steps for token in step.token_ids])
        assert [len(step.token_ids) for step in steps[:1]] == [1]
        for step in steps[1:-1]:
            assert len(step.token_ids) == step.accepted + 1
            assert step.accepted <= step.drafted == step.block_size - 1
        assert all(step.forwards == 1 for step in steps)
    backend.close()


def test_drafts_are_accepted_and_rounds_saved(tiny):
    backend = tiny.backend(num_draft_tokens=5)
    steps = [step for prompt in tiny.prompts[:8] for step in tiny.steps(backend, prompt)[1:]]
    tokens, rounds = sum(len(step.token_ids) for step in steps), len(steps)
    assert tokens / rounds > 3.5
    assert all(step.draft_s > 0 and step.verify_s > 0 and step.wire_s is None for step in steps)


def test_a_stop_token_in_a_draft_ends_the_text_and_the_limit_is_kept(tiny):
    backend = tiny.backend(num_draft_tokens=8)
    prompt = tiny.prompts[0]
    whole = tiny.alone(prompt)
    for limit in (1, 2, 3, 9, len(whole) - 1):
        output = [t for s in backend.generate([tiny.request(prompt, limit)]) for t in s.token_ids]
        assert output == whole[:limit]
    beyond = list(backend.generate([Request(prompt, len(whole) + 12, stop_token_ids=(whole[-1],), ignore_eos=True)]))
    assert sum(len(step.token_ids) for step in beyond) == len(whole) + 12


def test_a_generation_that_is_closed_early_leaves_nothing_behind(tiny):
    backend = tiny.backend(optimistic=True)
    for prompt in tiny.prompts[:3]:
        stream = backend.generate([tiny.request(prompt)])
        next(stream)
        next(stream)
        stream.close()
        tiny.assert_greedy(prompt, tiny.output(backend, prompt))
    assert len(backend._target._free) == 1  # one cache served all of them


@pytest.mark.nightly
def test_optimistic_drafts_are_counted(tiny):
    backend = tiny.backend(optimistic=True)
    steps = [step for prompt in tiny.prompts[:6] for step in tiny.steps(backend, prompt)[1:]]
    guesses = [step for step in steps if step.trace and "optimistic" in step.trace]
    hits = [step for step in guesses if step.trace["optimistic"] == "hit"]
    assert 0 < len(hits) < len(guesses)
    assert {step.discarded for step in hits} == {1}  # the guess of the bonus token is never verified
    assert all(step.discarded > 1 for step in guesses if step not in hits)
    plain = tiny.backend()
    same = [step for prompt in tiny.prompts[:6] for step in tiny.steps(plain, prompt)[1:]]
    assert [step.token_ids for step in steps] == [step.token_ids for step in same]


def test_adaptive_drafts_grow_and_shrink():
    length = DraftLength(4, 6)
    for drafted, accepted, then in ((4, 4, 5), (5, 5, 6), (6, 6, 6), (6, 2, 3), (3, 0, 1), (1, 1, 2)):
        assert length.tokens == drafted
        length.observe(drafted, accepted)
        assert length.tokens == then
    fixed = DraftLength(4)
    fixed.observe(4, 0)
    assert fixed.tokens == 4
    length.observe(1, 1)  # a draft cut short by the token limit says nothing of a longer one
    assert length.tokens == 2
    length.observe(0, 0)
    assert length.tokens == 2
    length = DraftLength(6, 8)
    length.observe(4, 1)  # ... but a rejection always tells
    assert length.tokens == 2


class Scripted(Drafter):
    """Proposes given continuations, right or wrong."""

    def __init__(self, proposals):
        self._proposals = itertools.cycle(proposals)

    def begin(self, request):
        pass

    def draft(self, context, count):
        return Proposal(tuple(tuple(ids[:count]) for ids in next(self._proposals)))

    def end(self):
        pass


FAMILIES = {
    "OPT": {"ffn_dim": 96, "word_embed_proj_dim": 64, "do_layer_norm_before": True},
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
}


@pytest.mark.parametrize("family", a_few(2, FAMILIES))
@pytest.mark.parametrize("candidates", [1, 3])
def test_every_family_verifies_any_draft_with_a_cache_that_is_only_cut(tmp_path, family, candidates):
    """Wrong and right drafts of random tiny checkpoints, in either engine; transformers says what is greedy."""
    folder = save_checkpoint(tmp_path, family, **FAMILIES[family])
    architecture = f"{family}ForCausalLM"
    model = open_model(folder, architecture, "auto", "float32", "cpu", is_compiled=False)
    assert isinstance(model, HuggingFace if family == "OPT" else OwnLayers)
    judge = torch_model(folder)
    prompt, greedy = [5, 9, 3, 77, 12], []
    for _ in range(24):
        greedy.append(int(torch_logits(judge, [*prompt, *greedy])[-1].argmax()))
    right = [[greedy[at : at + 4] for _ in range(candidates)] for at in range(20)]
    wrong = [[[(token + 1) % 160 for token in ids] for ids in group] for group in right]
    half = [[[ids[0], *bad[1:]], *group[1:]] for group, (ids, *_), (bad, *_) in zip(wrong, right, wrong, strict=True)]
    engines = [model] if isinstance(model, HuggingFace) else [model, HuggingFace(folder, "float32", "cpu")]
    for engine in engines:
        for proposals in (right, wrong, half):
            rule = lambda temperature: rule_for(None, temperature)  # noqa: E731
            verifier = EmbeddedVerifier(engine, rule, is_concurrent=False)
            drafter = Scripted(proposals)
            steps = list(Decoder(drafter, verifier, lambda: DraftLength(4)).generate(Request(tuple(prompt), 20)))
            assert [token for step in steps for token in step.token_ids] == greedy[:20]


def test_a_model_whose_cache_cannot_be_cut_is_refused(tmp_path):
    from decodebench.core.errors import ModelError

    folder = save_checkpoint(tmp_path, "Mistral", sliding_window=8)
    with pytest.raises(ModelError, match="cannot be cut back"):
        open_model(folder, "MistralForCausalLM", "transformers", "float32", "cpu", is_compiled=False)


def test_prompts_longer_than_a_chunk_and_than_the_room_at_first(tmp_path):
    folder = save_checkpoint(tmp_path, "Qwen2", max_position_embeddings=2048)
    model = OwnLayers(folder, torch.float64, "cpu")
    ids = torch.randint(0, 160, (1300,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.inference_mode():
        whole = model.begin(1300).feed(ids)
        growing = model.begin()
        growing.feed(ids[:700], logits=1)
        last = growing.feed(ids[700:], logits=1)
        growing.crop(600)
        again = growing.feed(ids[600:610])
    torch.testing.assert_close(last[0], whole[-1])
    torch.testing.assert_close(again, whole[600:610])


def test_a_draft_with_a_shorter_context_or_another_padded_vocabulary(tmp_path):
    from decodebench.plugins.draft_target.drafters.small_model import SmallModel

    target = OwnLayers(save_checkpoint(tmp_path / "t", "Qwen2"), torch.float32, "cpu")
    small = save_checkpoint(tmp_path / "d", "Llama", max_position_embeddings=16, vocab_size=192)
    draft = OwnLayers(small, torch.float32, "cpu")
    rule = lambda temperature: rule_for(None, temperature)  # noqa: E731
    for temperature in (0.0, 1.0):
        request = Request((5, 9, 3), 30, temperature=temperature, seed=4)
        outputs = []
        for drafter in (None, SmallModel(draft, target.vocabulary)):
            verifier = EmbeddedVerifier(target, rule, is_concurrent=False)
            steps = list(Decoder(drafter, verifier, lambda: DraftLength(4)).generate(request))
            outputs.append([token for step in steps for token in step.token_ids])
        assert len(outputs[1]) == 30
        assert max(outputs[1]) < 160
        if temperature == 0:
            assert outputs[0] == outputs[1]
    assert steps[-1].drafted == 0  # no room in the draft's context any more
