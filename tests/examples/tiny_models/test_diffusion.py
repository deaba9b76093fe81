"""Training of the diffusion models: where they begin, what is masked, who sees whom, and what is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decodebench.plugins.reference.family import END_ID, MASK_ID, VOCAB_SIZE, WEIGHTS_FOLDER
from decodebench.plugins.reference.shapes import BlockDiffusionShape
from examples.tiny_models import shift_layer
from examples.tiny_models import train_diffusion as training
from examples.tiny_models.diffusion_network import LladaShape, begin_as, published
from examples.tiny_models.evaluate import answer_problems, count_right, held_out, load_weights
from examples.tiny_models.network import forward
from examples.tiny_models.packing import batches
from examples.tiny_models.recipes import DIFFUSION_RECIPES, RECIPES
from examples.tiny_models.tokenizer import build_tokenizer

torch = pytest.importorskip("torch")
TARGET_SHAPE = RECIPES["target"].shape
BLOCK = 16


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def digits(tokenizer):
    return torch.tensor([tokenizer.token_to_id(digit) for digit in "0123456789"])


@pytest.fixture(scope="module")
def target():
    return load_weights(WEIGHTS_FOLDER / "target")


@pytest.fixture(scope="module")
def text(tokenizer, digits):
    return training.text_of(next(batches(training.whole_blocks(tokenizer, 0, BLOCK), 4)), digits)


@pytest.mark.nightly
def test_a_start_without_head_norms_still_solves_most_problems(target, tokenizer):
    shape = DIFFUSION_RECIPES["llada"].shape
    begun = begin_as(target, TARGET_SHAPE, shape, next(batches(training.whole_blocks(tokenizer, 0, BLOCK), 16)))
    assert set(begun) == set(shape.tensors())
    assert not any("q_norm" in name for name in begun)
    problems = held_out(40)
    assert count_right(tokenizer, problems, answer_problems(begun, shape, tokenizer, problems)) > 20


@pytest.mark.nightly
def test_documents_fill_whole_blocks_and_answers_alone_are_learned(text, tokenizer):
    first = text.documents[0] == 0
    tokens, answer = text.tokens[0][first], text.is_answer[0][first]
    assert len(tokens) % BLOCK == 0 and tokens[-1] == END_ID
    assert tokenizer.decode(tokens[~answer].tolist()).endswith("Answer:")
    assert tokenizer.decode(tokens[answer].tolist()).startswith(" ")
    assert not (text.is_answer & (text.documents < 0)).any()


def test_noise_masks_answers_only_and_never_the_first_token_of_a_block(text):
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        noise = training.block_noise(text, BLOCK, generator)
        masked = noise > 0
        assert masked.any() and not (masked & ~text.is_answer).any()
        assert not (masked & (text.positions % BLOCK == 0)).any()
        canvas = training.canvas_noise(text, generator)
        assert (canvas > 0).any() and not ((canvas > 0) & ~text.is_answer).any()


@pytest.mark.nightly
def test_a_noised_block_does_not_see_its_own_clean_tokens(target, text):
    """Changing the clean text of a block must leave the logits of its noised copy as they are."""
    shape = DIFFUSION_RECIPES["block-diffusion"].shape
    weights = begin_as(target, TARGET_SHAPE, shape, replace(text, tokens=text.tokens))
    mask = training._block_mask(text.documents, text.positions // BLOCK)
    noised = torch.where(text.is_answer, MASK_ID, text.tokens)

    def logits(clean):
        both = torch.cat([clean, noised], dim=1)
        return forward(weights, shape, both, text.positions.repeat(1, 2), mask).logits

    length = text.tokens.shape[1]
    last = int((text.documents[0] == 0).sum()) - BLOCK  # the last block of the first document
    changed = text.tokens.clone()
    changed[0, last : last + BLOCK] = 5
    ours, theirs = logits(text.tokens), logits(changed)
    assert torch.equal(ours[:, length:], theirs[:, length:])
    assert not torch.equal(ours[0, last], theirs[0, last])
    earlier = text.tokens.clone()
    earlier[0, last - 1] = 5
    assert not torch.equal(logits(earlier)[0, length + last], ours[0, length + last])


@pytest.mark.nightly
@pytest.mark.parametrize(
    "shape",
    [
        BlockDiffusionShape(64, 1, 64, 1, 1, VOCAB_SIZE, block_size=BLOCK),
        LladaShape(64, 2, 64, 1, 1, VOCAB_SIZE),
    ],
)
def test_equal_seeds_train_equal_weights(shape, tokenizer, monkeypatch):
    from decodebench.plugins.reference.shapes import Shape
    from examples.tiny_models.network import initial_weights
    from examples.tiny_models.recipes import DiffusionRecipe, Recipe

    monkeypatch.setattr(shift_layer, "_STEPS", 3)
    small = Recipe(Shape(64, 1, 64, 1, 1, VOCAB_SIZE), steps=1, learning_rate=1e-3, seed=1)
    monkeypatch.setitem(RECIPES, "target", small)
    target = initial_weights(small.shape, torch.Generator().manual_seed(1))
    recipe = DiffusionRecipe(shape, rows=2, phases=((1, 1e-3), (1, 5e-4)), seed=3)
    runs = [
        training.train_diffusion(recipe, target, tokenizer, compiled=False, save=lambda weights: None) for _ in range(2)
    ]
    assert all(torch.equal(weight, runs[1][name]) for name, weight in runs[0].items())
    assert any(not torch.equal(weight, target[name]) for name, weight in runs[0].items() if name in target)


@pytest.mark.nightly
def test_a_first_layer_learns_to_move_the_text_on_by_one_place(target, tokenizer, monkeypatch):
    """A few steps of what training does: the token before is the nearest one to most outputs, masked or not."""
    from decodebench.plugins.reference.shapes import EMBEDDING
    from examples.tiny_models.network import View, layer, rotary

    monkeypatch.setattr(shift_layer, "_STEPS", 150)
    shape = DIFFUSION_RECIPES["llada"].shape
    stream = batches(training.canvases(tokenizer, 3), 4)
    generator = torch.Generator().manual_seed(3)
    fitted = shift_layer.fit_shift(target, shape, lambda: training._half_masked(next(stream), generator), generator)
    tokens, positions, documents = training._half_masked(next(stream), generator)
    embedding = target[EMBEDDING]
    own = embedding[tokens]
    mask = (documents[:, :, None] == documents[:, None, :])[:, None]
    moved, _ = layer(fitted, "model.layers.0.", shape, own, rotary(shape, positions, own), View(mask))
    used = (documents >= 0) & (positions > 0)
    nearest = torch.cdist(moved[used], embedding).argmin(-1)
    before = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)[used]
    assert (nearest == before).float().mean() > 0.5


def test_the_penalty_on_what_stands_ahead_falls_to_nothing():
    found = list(training._falling(10))
    assert found[0] == training.AHEAD_PENALTY
    assert found == sorted(found, reverse=True)
    assert found[6:] == [0.0] * 4


def test_llada_is_written_under_its_published_names():
    shape = DIFFUSION_RECIPES["llada"].shape
    names = published({name: None for name in shape.tensors()}, shape)
    assert {
        "model.transformer.wte.weight",
        "model.transformer.ln_f.weight",
        "model.transformer.blocks.0.q_proj.weight",
        "model.transformer.blocks.3.attn_out.weight",
        "model.transformer.blocks.0.ff_proj.weight",
        "model.transformer.blocks.0.ff_out.weight",
    } <= set(names)
    assert not any("layers" in name or "self_attn" in name or "mlp" in name for name in names)
