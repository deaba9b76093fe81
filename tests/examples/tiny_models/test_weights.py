"""The shipped weights: they load in transformers, solve problems, and our network computes the same."""

import pytest

from decodebench.plugins.reference.family import WEIGHTS_FOLDER
from examples.tiny_models.evaluate import (
    Generation,
    acceptance,
    answer_problems,
    count_right,
    fake_quantised,
    held_out,
    load_tokenizer,
    load_weights,
    wilson_interval,
)
from examples.tiny_models.recipes import RECIPES

torch = pytest.importorskip("torch")
PROBLEMS = 60
SEED = 31_337


@pytest.fixture(scope="module")
def target():
    return load_weights(WEIGHTS_FOLDER / "target")


@pytest.fixture(scope="module")
def answers(target):
    tokenizer = load_tokenizer(WEIGHTS_FOLDER / "target")
    return answer_problems(target, RECIPES["target"].shape, tokenizer, held_out(PROBLEMS, SEED))


@pytest.mark.nightly
def test_target_solves_most_held_out_problems_in_transformers(answers):
    transformers = pytest.importorskip("transformers")
    folder = WEIGHTS_FOLDER / "target"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    problems = held_out(PROBLEMS, SEED)
    inputs = tokenizer([problem.prompt for problem in problems], return_tensors="pt", padding=True)
    with torch.inference_mode():
        outputs = model.generate(**inputs, max_new_tokens=160)
    width = inputs["input_ids"].shape[1]
    texts = tokenizer.batch_decode(outputs[:, width:], skip_special_tokens=True)
    generations = [Generation((), tuple(tokenizer.encode(text))) for text in texts]
    assert count_right(load_tokenizer(folder), problems, generations) >= 0.8 * PROBLEMS
    ours = [load_tokenizer(folder).decode(list(answer.output)) for answer in answers]
    assert sum(a == b for a, b in zip(texts, ours, strict=True)) >= PROBLEMS - 2  # padding may break a near tie


@pytest.mark.nightly
def test_draft_is_neither_useless_nor_a_copy_of_its_target(answers):
    measured = acceptance(load_weights(WEIGHTS_FOLDER / "draft"), RECIPES["draft"].shape, answers, 4)
    assert 0.6 < measured.rate < 0.95
    assert measured.tau > 3


@pytest.mark.nightly
def test_replayed_acceptance_of_the_target_by_itself_is_total(target, answers):
    measured = acceptance(target, RECIPES["target"].shape, answers[:10], 4)
    tokens = sum(len(answer.output) for answer in answers[:10])
    assert measured.rate == 1
    assert measured.committed == tokens - 10  # the prefill gives each answer's first token


def test_eight_bits_hardly_change_the_linear_weights(target):
    name = "model.layers.0.mlp.up_proj.weight"
    errors = [(fake_quantised(target, bits)[name] - target[name]).norm() / target[name].norm() for bits in (8, 4, 3)]
    assert errors[0] < 0.01 < errors[1] < errors[2]


def test_family_fits_into_a_package():
    assert sum(file.stat().st_size for file in WEIGHTS_FOLDER.rglob("*") if file.is_file()) < 30e6


def test_wilson_interval_matches_published_example():
    low, high = wilson_interval(81, 263)  # Newcombe 1998, table I, method 3
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
