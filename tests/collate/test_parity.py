import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


def parity(logs):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return compare(store).rows[1].parity


@pytest.fixture
def outputs(logs, make_sample, make_steps):
    """Write cell a with the ids 10..14 twice, and cell b with what is given."""

    def write(lengths=(5, 5), ids=(10, 10), **run):
        logs.write("a", content=[make_sample(i, make_steps()) for i in range(2)])
        made = [
            make_sample(i, make_steps(n=n, first_id=first))
            for i, (n, first) in enumerate(zip(lengths, ids, strict=True))
        ]
        logs.write("b", content=made, **run)
        return parity(logs)

    return write


def test_identical(outputs):
    found = outputs()
    assert (found.verdict, found.identical, found.compared) == ("identical", 2, 2)


def test_a_shorter_output_differs_where_it_ends(outputs):
    found = outputs(lengths=(5, 3))
    (divergence,) = found.divergences
    assert (found.verdict, divergence.sample_id, divergence.position) == ("differs", "p1", 3)
    assert (divergence.baseline_token, divergence.token) == (13, None)


def test_a_missing_problem_is_never_identical(outputs):
    found = outputs(lengths=(5,), ids=(10,))
    assert (found.verdict, found.compared) == ("not comparable", 1)
    assert "1 of 2" in found.reason


@pytest.mark.parametrize(("margin", "verdict"), [(1e-6, "ties only"), (0.1, "differs"), (None, "differs")])
def test_scored_divergences_tell_ties_from_differences(logs, outputs, margin, verdict):
    logs.parity(
        {"experiment": "exp", "baseline_cell": "cell-a", "cell": "cell-b", "sample_id": "p1", "position": 0,
         "baseline_token": 10, "token": 20, "logprob_gap": 0.5, "top2_margin": margin}
    )  # fmt: skip
    found = outputs(ids=(10, 20))
    assert found.verdict == verdict
    assert (found.divergences[0].logprob_gap, found.divergences[0].top2_margin) == (0.5, margin)


def test_sampled_outputs_are_not_comparable(outputs):
    assert "temperature" in outputs(sampling={"temperature": 1.0}).reason


def test_another_model_with_other_prompt_ids_is_compared_by_text(logs, make_sample, make_steps):
    logs.write("a")
    content = [make_sample(i, make_steps(first_id=90), prompt_hash="e" * 16, text="10 11 12 13 14") for i in range(2)]
    logs.write("b", content=content, model_hash="0" * 64)
    found = parity(logs)
    assert found.verdict == "identical" and "by text" in found.reason and found.divergences == ()


def test_the_same_model_with_other_prompts_is_not_comparable(logs, make_sample, make_steps):
    logs.write("a")
    logs.write("b", content=[make_sample(i, make_steps(), prompt_hash="e" * 16) for i in range(2)])
    found = parity(logs)
    assert found.verdict == "not comparable" and "prompt" in found.reason


def test_logs_without_outputs_are_not_comparable(logs, make_sample, make_steps):
    logs.write("a")
    logs.write("b", content=[make_sample(i, make_steps(), output_ids=None, text=None) for i in range(2)])
    assert parity(logs).verdict == "not comparable"
