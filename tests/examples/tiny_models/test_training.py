"""The training script: packing keeps documents apart, recipes are reproducible, what it writes loads again."""

import pytest

from decodebench.plugins.reference.family import VOCAB_SIZE
from decodebench.plugins.reference.shapes import Shape
from examples.tiny_models import train as training
from examples.tiny_models.evaluate import load_weights
from examples.tiny_models.model_folder import write_model
from examples.tiny_models.network import forward, initial_weights
from examples.tiny_models.packing import batches, causal_mask
from examples.tiny_models.recipes import RECIPES, Recipe
from examples.tiny_models.tokenizer import build_tokenizer

torch = pytest.importorskip("torch")
SMALL = Recipe(Shape(64, 1, 64, 1, 1, VOCAB_SIZE), steps=2, learning_rate=1e-3, seed=3)


def test_packed_rows_hold_whole_documents_and_label_only_answers():
    tokenizer = build_tokenizer()
    batch = next(batches(training.written_solutions(tokenizer, seed=0)))
    assert (batch.documents >= 0).float().mean() > 0.9
    row, first = batch.tokens[0], batch.documents[0] == 0
    text = tokenizer.decode(row[first].tolist())
    assert text.startswith("Question: ")
    labels = [label for label in batch.labels[0][first].tolist() if label >= 0]
    assert tokenizer.decode(labels, skip_special_tokens=False).endswith("<|endoftext|>")
    assert tokenizer.decode(labels) == text[text.index("Answer:") + len("Answer:") :]


def test_a_document_does_not_see_its_neighbours_in_the_row():
    shape = SMALL.shape
    weights = initial_weights(shape, torch.Generator().manual_seed(0))
    batch = next(batches(training.written_solutions(build_tokenizer(), seed=0)))
    second = batch.documents[0] == 1
    alone = forward(weights, shape, batch.tokens[:1, second], batch.positions[:1, second]).logits
    packed = forward(weights, shape, batch.tokens[:1], batch.positions[:1], causal_mask(batch.documents[:1])).logits
    torch.testing.assert_close(packed[:, second], alone)


def test_cached_steps_give_the_same_logits_as_one_run():
    shape = Shape(64, 2, 64, 2, 1, VOCAB_SIZE)
    weights = initial_weights(shape, torch.Generator().manual_seed(1))
    tokens, positions = torch.arange(10)[None], torch.arange(10)[None]
    whole = forward(weights, shape, tokens, positions).logits
    cache = forward(weights, shape, tokens[:, :9], positions[:, :9]).cache
    last = forward(weights, shape, tokens[:, 9:], positions[:, 9:], cache=cache).logits
    torch.testing.assert_close(last[:, 0], whole[:, 9])


@pytest.mark.nightly
def test_equal_seeds_train_equal_weights_and_the_file_gives_them_back(tmp_path):
    tokenizer = build_tokenizer()
    runs = [training.train(SMALL, tokenizer, compiled=False, save=lambda weights: None) for _ in range(2)]
    for name, weight in runs[0].items():
        assert torch.equal(weight, runs[1][name])
    write_model(tmp_path, runs[0], SMALL.shape, tokenizer)
    for name, weight in load_weights(tmp_path).items():
        assert torch.equal(weight, runs[0][name].half().float())


@pytest.mark.nightly
def test_command_trains_writes_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "draft", SMALL)
    monkeypatch.setattr(training, "keep_freed_memory", lambda: None)
    threads = torch.get_num_threads()
    training.main(["--model", "draft", "--out", str(tmp_path), "--steps", "1", "--problems", "2", "--no-compile"])
    torch.set_num_threads(threads)
    assert "accuracy 0.000 on 2 held-out problems" in capsys.readouterr().err
    assert (tmp_path / "draft" / "model.safetensors").is_file()
