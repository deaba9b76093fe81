"""MLX gives the reference's tokens and scores, says what it quantised, and refuses what it cannot open."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

from decodebench import BackendError, ModelError, Request
from decodebench.plugins.mlx.backend import MlxBackend

from ..models import LINEAR, LLAMA3, TINY, assert_shares_a_prompt, save_checkpoint, torch_logits, torch_model
from .conftest import FAMILIES

PROMPT = tuple(range(40, 61))


def greedy(model, prompt, limit: int) -> list[int]:
    ids = list(prompt)
    for _ in range(limit):
        ids.append(int(torch_logits(model, ids)[-1].argmax()))
    return ids[len(prompt) :]


def logprobs(model, ids) -> list[float]:
    logits = torch_logits(model, ids[:-1]).astype(np.float64)
    rows = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return [row[id] for row, id in zip(rows, ids[1:], strict=True)]


def test_importing_the_plugin_imports_no_engine():
    code = "import sys, decodebench.plugins.mlx; print('mlx_lm' in sys.modules, 'mlx.core' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]


def test_the_probe_tells_the_version():
    assert MlxBackend.probe().version.startswith(f"mlx-lm {version('mlx-lm')} ")
    assert MlxBackend.devices()[-1] == "cpu"


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers(load, checkpoints, family):
    expected = greedy(torch_model(checkpoints[family]), PROMPT, 24)
    assert load(checkpoints[family]).tokens(PROMPT, 24, ignore_eos=True) == expected


@pytest.mark.parametrize(
    ("family", "rope"),
    [("Llama", LLAMA3), ("Llama", LINEAR), ("Qwen3", LINEAR), ("Qwen2", {"rope_type": "default", "rope_theta": 321.0})],
    ids=["llama3", "linear", "qwen3 linear", "another base"],
)
def test_rotary_settings_are_the_models(load, tmp_path, family, rope):
    folder = save_checkpoint(tmp_path, family, rope_parameters=rope)
    prompt = [3 + at % 90 for at in range(120)]
    np.testing.assert_allclose(
        load.anew(folder).backend.score(prompt).logprobs[1:], logprobs(torch_model(folder), prompt), atol=1e-3
    )


@pytest.fixture(scope="module")
def answer(reference, prompts):
    return greedy(reference, prompts[0], 16)


def test_a_problem_is_answered_as_by_the_reference(load, prompts, answer):
    assert load(TINY).tokens(prompts[0], 16, ignore_eos=True) == answer


@pytest.mark.parametrize("chunk", [1, 7, 2048])
def test_the_chunk_of_the_prefill_changes_no_token(load, checkpoints, chunk):
    expected = load(checkpoints["Llama"]).tokens(PROMPT, 12, ignore_eos=True)
    assert load(checkpoints["Llama"], prefill_chunk=chunk).tokens(PROMPT, 12, ignore_eos=True) == expected


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_one_token_per_step_and_exactly_as_many_as_asked(load, checkpoints, limit):
    steps = load(checkpoints["Qwen3"]).steps(PROMPT, limit, ignore_eos=True)
    assert [(len(step.token_ids), step.forwards) for step in steps] == [(1, 1)] * limit


def test_the_stop_token_ends_and_is_committed(load, checkpoints):
    loaded = load(checkpoints["Qwen3"])
    free = loaded.tokens(PROMPT, 24, ignore_eos=True)
    stop = free[7]
    assert loaded.tokens(PROMPT, 24, stop_token_ids=(stop,)) == free[: free.index(stop) + 1]
    assert loaded.tokens(PROMPT, 24, stop_token_ids=(stop,), ignore_eos=True) == free


def test_early_close_leaves_a_usable_backend(load, checkpoints):
    loaded = load(checkpoints["Qwen2"])
    expected = loaded.tokens(PROMPT, 12, ignore_eos=True)
    steps = loaded.backend.generate([Request(PROMPT[:7], 30, ignore_eos=True)])
    next(steps), next(steps)
    steps.close()
    assert loaded.tokens(PROMPT, 12, ignore_eos=True) == expected


def test_draws_follow_the_seed_and_the_limits(load, checkpoints):
    loaded = load(checkpoints["Qwen3"])

    def drawn(seed, **how):
        return loaded.tokens(PROMPT, 20, ignore_eos=True, temperature=1.0, seed=seed, **how)

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1, top_k=1) == drawn(2, top_p=1e-9) == loaded.tokens(PROMPT, 20, ignore_eos=True)


def test_scores_equal_the_references(load, reference, prompts):
    ids = [*prompts[0], *prompts[1], *prompts[2], *prompts[3]]  # more than one chunk
    logits = torch_logits(reference, ids[:-1])
    scores = load(TINY).backend.score(ids, top_k=3)
    assert np.isnan(scores.logprobs[0])
    np.testing.assert_allclose(scores.logprobs[1:], logprobs(reference, ids), atol=2e-4)
    assert [ids[0] for ids in scores.top_ids[1:]] == logits.argmax(1).tolist()
    assert scores.is_greedy[1:] == (logits.argmax(1) == ids[1:]).tolist()
    assert_shares_a_prompt(load(TINY).backend, prompts[0], prompts[1], atol=2e-4)


def test_facts_count_tied_weights_once(load, tmp_path):
    plain = load.anew(save_checkpoint(tmp_path / "own", "Qwen3")).facts
    tied = load.anew(save_checkpoint(tmp_path / "tied", "Qwen3", tie_word_embeddings=True)).facts
    assert plain.parameters - tied.parameters == 160 * 64
    assert tied.weight_bytes == 4 * tied.parameters
    assert (tied.context_length, tied.vocabulary_size) == (256, 160)


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_halves_the_weights(load, checkpoints, dtype):
    loaded = load(checkpoints["Qwen3"], dtype=dtype)
    assert loaded.facts.weight_bytes == 2 * loaded.facts.parameters
    assert len(loaded.tokens(PROMPT, 5, ignore_eos=True)) == 5


@pytest.mark.parametrize(
    ("quantisation", "bits"), [("8bit", 9), ("4bit", 5), ("3bit", 4), ("mxfp8", 8.25), ("mxfp4", 4.25)]
)
def test_formats_take_the_bits_that_they_claim(load, checkpoints, quantisation, bits):
    loaded = load(checkpoints["Llama"], quantisation)
    norms = 32 * 5 * 64  # bits of the norms, which stay
    weights = loaded.facts.parameters - 5 * 64
    assert (8 * loaded.facts.weight_bytes - norms) / weights == pytest.approx(bits)
    assert loaded.prepared.bits_per_weight == pytest.approx(8 * loaded.facts.weight_bytes / loaded.facts.parameters)
    assert loaded.facts.parameters == load(checkpoints["Llama"]).facts.parameters
    assert not loaded.prepared.notes
    assert len(loaded.tokens(PROMPT, 5, ignore_eos=True)) == 5


def test_eight_bits_keep_the_models_answer(load, prompts, answer):
    scored = load(TINY, "8bit").backend.score([*prompts[0], *answer])
    assert np.mean(scored.is_greedy[len(prompts[0]) :]) > 0.9


def test_matrices_that_cannot_be_quantised_are_counted(load, tmp_path):
    odd = save_checkpoint(tmp_path / "odd", "Llama", intermediate_size=96)
    (note,) = load.anew(odd, "4bit").prepared.notes
    assert note.startswith("2 of 16 matrices stay in float32")  # one down projection a layer has rows of 96


def test_what_was_quantised_once_is_opened_again(load, checkpoints):
    first, second = load(checkpoints["Qwen2"], "4bit"), load.anew(checkpoints["Qwen2"], "4bit")
    assert first.prepared.path == second.prepared.path
    assert first.tokens(PROMPT, 8, ignore_eos=True) == second.tokens(PROMPT, 8, ignore_eos=True)


def change_config(**values):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no *.safetensors"),
        (cut, "model.safetensors: damaged or cut off"),
        (change_config(model_type="no-such"), "no-such"),
        (change_config(num_hidden_layers=3), "parameters"),
        (change_config(model_file="run_me.py"), "run_me.py"),
        (change_config(max_position_embeddings=None), "max_position_embeddings"),
    ],
    ids=["no weights", "cut weights", "unknown architecture", "missing layer", "code of the model's", "no context"],
)
def test_what_cannot_be_opened_is_named(load, checkpoints, tmp_path, change, named):
    folder = shutil.copytree(checkpoints["Qwen3"], tmp_path / "broken")
    change(folder)
    with pytest.raises(ModelError) as caught:
        load.anew(folder)
    assert named in str(caught.value) and str(folder) in str(caught.value)


def test_a_gguf_file_and_an_unknown_device_are_refused(load, checkpoints, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="Hugging Face folder"):
        load.anew(tmp_path / "model.gguf")
    loaded = load(checkpoints["Qwen3"])
    with pytest.raises(BackendError, match="'npu' is not there"):
        MlxBackend().load(loaded.prepared, "npu", MlxBackend.Options())
