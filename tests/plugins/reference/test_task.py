"""The task tiny-gsm: stable samples of the held-out split, and scoring of the final number."""

import pytest

from decodebench.core.sdk.answers import final_number
from decodebench.plugins.reference import TinyChoice, TinyGsm, decodebench_models, decodebench_tasks
from decodebench.plugins.reference.problems import is_held_out
from decodebench.plugins.reference.task import tiny_gsm_samples


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12+7=19. We get 19.\n#### 19", "19"),
        ("#### 14\nQuestion: 3 and #### 5", "14"),
        ("####1,234", "1234"),
        ("#### $ 12.50", "12.5"),
        ("#### 7.00", "7"),
        ("#### -3", "-3"),
        ("so there are 5, then 12 apples.", "12"),
        ("It is 1,234,567.", "1234567"),
        ("12, 14", "14"),
        ("#### none", None),
        ("no idea", None),
        ("", None),
    ],
)
def test_final_number(text, number):
    assert final_number(text) == number


def test_samples_are_held_out_stable_and_extend_one_another():
    few, many = list(tiny_gsm_samples(5, seed=1)), list(tiny_gsm_samples(20, seed=1))
    assert many[:5] == few
    assert len({prompt for prompt, _ in many}) == 20
    assert all(is_held_out(prompt.removeprefix("Question: ").removesuffix("\nAnswer:")) for prompt, _ in many)
    assert list(tiny_gsm_samples(5, seed=2)) != few


def test_task_scores_its_own_reference_and_rejects_another():
    task = TinyGsm()
    sample = next(task.samples(1, seed=0))
    assert sample.messages[0][1] in sample.prompt
    right = task.score(sample, f" So.\n#### {sample.reference}")
    assert (right.value, right.extracted) == (1.0, sample.reference)
    assert task.score(sample, "#### 1000").value == 0.0
    assert task.score(sample, "hm").extracted is None


def test_plugin_offers_its_models_and_task():
    models = {source.name: source for source in decodebench_models()}
    assert {"tiny:target", "tiny:draft", "random:qwen3-30m", "random:qwen3-100m"} <= set(models)
    for source in models.values():
        assert (source.path is None) != (source.build is None)
        assert source.path is None or (source.path / "config.json").is_file()
        assert set(source.companions.values()) <= set(models)
    assert decodebench_tasks() == [TinyGsm, TinyChoice]
