"""The block draft: published names and keys, training sees what decoding sees, and what is shipped drafts well."""

import json
import stat
from dataclasses import replace
from itertools import islice

import pytest
from safetensors import safe_open

from decodebench.core.cache import ModelCache
from decodebench.core.sdk.models import resolve
from decodebench.plugins.reference import decodebench_models
from decodebench.plugins.reference.family import END_ID, MASK, MASK_ID, VOCAB_SIZE, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import training_problems
from decodebench.plugins.reference.shapes import DraftShape
from examples.tiny_models import train as training
from examples.tiny_models import train_dflash
from examples.tiny_models.dflash_network import Block, context_features, draft_block, draft_logits
from examples.tiny_models.evaluate import answer_problems, block_acceptance, held_out, load_tokenizer, load_weights
from examples.tiny_models.network import forward, initial_weights
from examples.tiny_models.optimise import in_bfloat16
from examples.tiny_models.packing import IGNORED, batches, causal_mask
from examples.tiny_models.recipes import DFLASH_RECIPE, RECIPES
from examples.tiny_models.tokenizer import build_tokenizer

torch = pytest.importorskip("torch")
FOLDER = WEIGHTS_FOLDER / "dflash"
SHAPE = DFLASH_RECIPE.shape
TARGET_SHAPE = RECIPES["target"].shape
LAYER_SIZES = {
    "input_layernorm": [256],
    "self_attn.q_proj": [256, 256],
    "self_attn.k_proj": [128, 256],
    "self_attn.v_proj": [128, 256],
    "self_attn.o_proj": [256, 256],
    "self_attn.q_norm": [64],
    "self_attn.k_norm": [64],
    "post_attention_layernorm": [256],
    "mlp.gate_proj": [768, 256],
    "mlp.up_proj": [768, 256],
    "mlp.down_proj": [256, 768],
}


@pytest.fixture(scope="module")
def target():
    return load_weights(WEIGHTS_FOLDER / "target")


@pytest.fixture(scope="module")
def draft():
    return load_weights(FOLDER)


@pytest.fixture(scope="module")
def answers(target):
    return answer_problems(target, TARGET_SHAPE, load_tokenizer(WEIGHTS_FOLDER / "target"), held_out(20, seed=515))


@pytest.fixture(scope="module")
def batch():
    drawn = next(batches(training.written_solutions(build_tokenizer(), seed=11)))
    return drawn, (drawn.tokens, drawn.positions, drawn.labels, drawn.documents)


def blocks_of(batch, seed=0):
    drawn = train_dflash.draw_blocks(batch, torch.Generator().manual_seed(seed))
    return drawn.anchors, drawn.offsets, drawn.numbers, drawn.weights


# what is shipped


def test_file_has_exactly_the_published_names_and_the_shapes_of_its_config():
    expected = {"fc.weight": [256, 3 * 256], "hidden_norm.weight": [256], "norm.weight": [256]}
    expected |= {f"layers.{n}.{part}.weight": size for n in range(2) for part, size in LAYER_SIZES.items()}
    with safe_open(FOLDER / "model.safetensors", framework="pt") as file:
        assert {name: file.get_slice(name).get_shape() for name in file.keys()} == expected
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}
    assert stat.S_IMODE((FOLDER / "model.safetensors").stat().st_mode) == 0o644


def test_config_has_the_published_keys_and_fits_the_target():
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    of_target = json.loads((WEIGHTS_FOLDER / "target" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["DFlashDraftModel"]
    assert config["auto_map"] == {"AutoModel": "dflash.DFlashDraftModel"}
    assert config["model_type"] == "qwen3"
    assert config["dflash_config"] == {"mask_token_id": MASK_ID, "target_layer_ids": [0, 1, 2]}
    assert (config["block_size"], config["num_hidden_layers"], config["dtype"]) == (16, 2, "float16")
    assert config["layer_types"] == ["full_attention", "full_attention"]
    assert config["num_target_layers"] == of_target["num_hidden_layers"]
    for shared in (
        "hidden_size",
        "vocab_size",
        "rope_theta",
        "rms_norm_eps",
        "max_position_embeddings",
        "eos_token_id",
    ):
        assert config[shared] == of_target[shared]
    assert set(of_target) - {"torch_dtype"} <= set(config)
    assert config == SHAPE.hf_config(eos_token_id=END_ID, pad_token_id=config["pad_token_id"], dtype="float16")


def test_mask_token_is_the_tokenizers():
    assert load_tokenizer(WEIGHTS_FOLDER / "target").token_to_id(MASK) == SHAPE.mask_id < VOCAB_SIZE


def test_target_brings_its_block_draft(tmp_path):
    sources = {source.name: source for source in decodebench_models()}
    draft = resolve(sources["tiny:target"].companions["dflash"], sources, ModelCache(tmp_path))
    assert (draft.name, draft.path, draft.architecture) == ("tiny:dflash", FOLDER, "DFlashDraftModel")


@pytest.mark.nightly
def test_shipped_draft_is_accepted_for_three_tokens_and_more(target, draft, answers):
    measured = {size: block_acceptance(target, TARGET_SHAPE, draft, SHAPE, answers, size) for size in (2, 4, 8, 16)}
    assert measured[8].tau >= 3
    assert 1 < measured[2].tau < measured[4].tau < measured[8].tau
    tokens = sum(len(answer.output) for answer in answers)
    for size, one in measured.items():
        assert one.committed == tokens - len(answers)  # the prefill gives each answer's first token
        assert one.tau <= size
        assert one.committed - one.cycles <= one.accepted <= min(one.drafted, one.committed)


@pytest.mark.nightly
def test_untrained_draft_is_hardly_ever_right(target, answers):
    weights = initial_weights(SHAPE, torch.Generator().manual_seed(0))
    assert block_acceptance(target, TARGET_SHAPE, weights, SHAPE, answers[:3], 8).tau < 1.5


# the network


def test_every_guess_sees_the_whole_block_and_the_whole_context(draft, target):
    features = torch.randn(1, 9, 3 * 256, generator=torch.Generator().manual_seed(1))
    positions = torch.arange(9 + 4)[None]
    block = Block(torch.tensor([[5, MASK_ID, MASK_ID, MASK_ID]]), positions)
    plain = draft_logits(draft, SHAPE, target, block, features)
    ends_in_7 = Block(torch.tensor([[5, MASK_ID, MASK_ID, 7]]), positions)
    other_end = draft_logits(draft, SHAPE, target, ends_in_7, features)
    other_start = draft_logits(draft, SHAPE, target, block, torch.cat([-features[:, :1], features[:, 1:]], 1))
    for changed in (other_end, other_start):
        assert (changed[0, 1] - plain[0, 1]).abs().max() > 1e-4


@pytest.mark.nightly
def test_a_block_in_a_packed_row_gets_the_logits_of_decoding_it_alone(draft, target, batch):
    drawn, tensors = batch
    blocks = blocks_of(drawn)
    outputs = forward(target, TARGET_SHAPE, drawn.tokens, drawn.positions, causal_mask(drawn.documents)).outputs
    inputs = train_dflash.block_inputs(tensors, blocks, MASK_ID)
    packed = draft_logits(draft, SHAPE, target, inputs, context_features(outputs, SHAPE))
    anchors, offsets, numbers, _ = blocks
    for row in range(4):
        size = int(offsets[row].max()) + 1
        for number in (0, int(numbers[row].max())):
            anchor = int(anchors[row, number * size])
            text = drawn.tokens[row][drawn.documents[row] == drawn.documents[row, anchor]]
            at = int(drawn.positions[row, anchor])
            alone = forward(target, TARGET_SHAPE, text[None], torch.arange(len(text))[None]).outputs
            features = context_features(alone, SHAPE)[:, :at]
            guesses = draft_block(draft, SHAPE, target, int(text[at]), features, size)
            in_row = packed[row, number * size + 1 : (number + 1) * size]
            block = Block(torch.tensor([[int(text[at])] + [MASK_ID] * (size - 1)]), torch.arange(at + size)[None])
            by_itself = draft_logits(draft, SHAPE, target, block, features)
            torch.testing.assert_close(in_row, by_itself[0, 1:], atol=1e-3, rtol=1e-3)
            assert guesses == in_row.argmax(-1).tolist()


# training


def test_blocks_begin_inside_answers_and_have_the_sizes_asked_for(batch):
    drawn, (tokens, _, labels, documents) = batch
    anchors, offsets, numbers, weights = blocks_of(drawn)
    assert set((offsets.max(1).values + 1).tolist()) == {4, 8, 16}
    rows = torch.arange(len(tokens))[:, None]
    assert (labels[rows, anchors - 1] == tokens[rows, anchors]).all()  # an anchor is itself a token of the answer
    assert (labels[rows, anchors] >= 0).all() and (documents[rows, anchors] >= 0).all()
    assert (weights[offsets == 0] == 0).all() and (weights[offsets == 1] == 1).all()
    assert (numbers * (offsets.max(1, keepdim=True).values + 1) + offsets == torch.arange(240)).all()


def test_labels_are_the_tokens_of_the_answer_at_the_places_of_the_block(batch):
    drawn, tensors = batch
    blocks = blocks_of(drawn, seed=3)
    labels = train_dflash.block_labels(tensors, blocks)
    anchors, offsets, numbers, _ = blocks
    for row in range(len(labels)):
        size = int(offsets[row].max()) + 1
        for number in range(int(numbers[row].max()) + 1):
            anchor = int(anchors[row, number * size])
            is_own = drawn.documents[row] == drawn.documents[row, anchor]
            answer = drawn.labels[row][is_own].tolist()  # the label of a token is the one behind it
            at = int(drawn.positions[row, anchor])
            expected = [IGNORED, *answer[at : at + size - 1]]
            expected += [IGNORED] * (size - len(expected))
            assert labels[row, number * size : (number + 1) * size].tolist() == expected
    assert (labels == END_ID).any()


@pytest.mark.nightly
def test_documents_are_the_targets_own_greedy_answers_in_another_order_each_time(target):
    tokenizer = build_tokenizer()
    stream = train_dflash.own_answers(target, TARGET_SHAPE, tokenizer, seed=9, problems=4)
    answers = answer_problems(target, TARGET_SHAPE, tokenizer, islice(training_problems(9), 4))
    expected = sorted([*a.prompt, *a.output] for a in answers)
    first, second = list(islice(stream, 4)), list(islice(stream, 4))
    assert sorted(ids for ids, _ in first) == sorted(ids for ids, _ in second) == expected
    assert first != second
    for ids, prompt_tokens in first:
        assert tokenizer.decode(ids[:prompt_tokens]).endswith("Answer:")
        assert ids[-1] == END_ID


@pytest.mark.nightly
def test_training_lowers_the_loss_and_repeats_itself(target, batch):
    shape = DraftShape(256, 1, 64, 1, 1, VOCAB_SIZE, target_layers=4, taps=(0, 2))
    recipe = replace(DFLASH_RECIPE, shape=shape, problems=3, steps=3, learning_rate=5e-3)
    tokenizer, frozen = build_tokenizer(), in_bfloat16(target)

    def train():
        return train_dflash.train_draft(recipe, target, TARGET_SHAPE, tokenizer, compiled=False, save=lambda _: None)

    def loss(weights):
        drawn, tensors = batch
        with torch.no_grad():
            return float(train_dflash.block_loss(weights, shape, frozen, TARGET_SHAPE, tensors, blocks_of(drawn)))

    trained, again = train(), train()
    assert loss(trained) < loss(initial_weights(shape, torch.Generator().manual_seed(recipe.seed))) - 0.5
    assert all(torch.equal(weight, again[name]) for name, weight in trained.items())


@pytest.mark.nightly
def test_command_trains_the_draft_writes_it_and_reports_tau(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(training, "DFLASH_RECIPE", replace(DFLASH_RECIPE, problems=3))
    threads = torch.get_num_threads()
    training.main(["--model", "dflash", "--out", str(tmp_path), "--steps", "1", "--problems", "2", "--no-compile"])
    torch.set_num_threads(threads)
    told = capsys.readouterr().err
    assert "step 1/1  loss " in told and "dflash: tau 1." in told and "at block 8 on 2 held-out problems" in told
    folder = tmp_path / "dflash"
    assert (folder / "config.json").read_bytes() == (FOLDER / "config.json").read_bytes()
    assert {name: tuple(weight.shape) for name, weight in load_weights(folder).items()} == SHAPE.tensors()


def test_problems_of_training_are_not_those_of_the_test():
    trained = {problem.prompt for problem in islice(training_problems(DFLASH_RECIPE.seed), 2000)}
    assert not trained & {problem.prompt for problem in held_out(200)}
