"""The model card states what is shipped: sizes, steps, and intervals that follow from its counts."""

import re

import pytest
from safetensors import safe_open

from decodebench.plugins.reference.family import DFLASH, WEIGHTS_FOLDER
from examples.tiny_models.evaluate import Acceptance, Accuracy, Report, markdown, wilson_interval
from examples.tiny_models.recipes import DFLASH_RECIPE, DIFFUSION_RECIPES, RECIPES

CARD = (WEIGHTS_FOLDER.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
STEPS = {name: recipe.steps for name, recipe in (RECIPES | {DFLASH: DFLASH_RECIPE}).items()}
STEPS |= {name: sum(steps for steps, _ in recipe.phases) for name, recipe in DIFFUSION_RECIPES.items()}
ROW = re.compile(r"\| (tiny:\w+) \| (\w+) \| (\d+) of (\d+) \| ([\d.]+) \| ([\d.]+)-([\d.]+) \|")


@pytest.mark.parametrize("member", STEPS)
def test_card_states_sizes_and_steps_of_what_is_shipped(member):
    file = WEIGHTS_FOLDER / member / "model.safetensors"
    with safe_open(file, framework="np") as weights:
        parameters = sum(weights.get_tensor(name).size for name in weights.keys())
    for number in (parameters, file.stat().st_size, STEPS[member]):
        assert f" {number:,} " in CARD


def test_every_accuracy_and_interval_follows_from_its_count():
    rows = ROW.findall(CARD)
    assert {(model, weights) for model, weights, *_ in rows} == {
        (f"tiny:{member}", weights) for member in RECIPES for weights in ("float32", "int8", "int4", "int3")
    }
    for _, _, right, n, share, low, high in rows:
        interval = wilson_interval(int(right), int(n))
        assert (share, low, high) == tuple(f"{x:.3f}" for x in (int(right) / int(n), *interval))


def test_card_states_acceptance_for_each_draft_length_and_block_size():
    for setting in ("k=2", "k=4", "k=8", "b=4", "b=8", "b=16"):
        drafted, accepted, share = re.search(
            rf"\| {setting} \| (\d+) \| (\d+) \| (0\.\d+) \| \d+\.\d+ \|", CARD
        ).groups()
        assert share == f"{int(accepted) / int(drafted):.3f}"


def test_tables_are_written_as_the_card_quotes_them():
    report = Report(
        1,
        {"target": {"int4": Accuracy(9, 10, 5, 50.0)}},
        2,
        {"k=4": Acceptance(40, 30, 10, 40)},
        {"b=8": Acceptance(70, 21, 10, 31)},
    )
    table = markdown(report)
    assert "| tiny:target | int4 | 9 of 10 | 0.900 | 0.596-0.982 | 0.500 | 50.0 |" in table
    assert "| k=4 | 40 | 30 | 0.750 | 4.00 |" in table
    assert "| b=8 | 70 | 21 | 0.300 | 3.10 |" in table
