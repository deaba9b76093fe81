"""Tasks of choices: where a choice begins, how it is judged, and what a round of them measures and records."""

from __future__ import annotations

import json
import math

import pytest

from decodebench import Backend, BackendError, Scores, Task, TaskSample, UsageError
from decodebench.core.cache import ModelCache
from decodebench.core.contract.task import Likelihood
from decodebench.core.errors import SampleError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.choices import encode_choices, encode_pair, score_choices, told
from decodebench.core.measure.job import PromptJob
from decodebench.core.measure.plan import build
from decodebench.core.records import raw_log as rawlog
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.tokenizer import Codec

from ..refusals import refused


class Quiz(Task):
    name, version, summary = "quiz", "1", "a quiz"

    def samples(self, n, seed):
        yield TaskSample("quiz/1", "Capital of France?", "B", choices=(" Rome", " Paris", " Nice"))


@pytest.fixture(scope="module")
def codec(cache):
    return Codec(resolve("tiny:target", all_plugins().models, ModelCache(cache)).path, None)


def judged(logprobs, reference="B", choices=(" Rome", " Paris", " Nice")):
    sample = TaskSample("quiz/1", "Capital of France?", reference, choices=choices)
    return Quiz().score_choices(sample, [Likelihood(value, False) for value in logprobs])


def test_the_likeliest_choice_counts_and_the_first_of_two():
    assert judged([-3.0, -2.0, -4.0]).value == 1 and judged([-3.0, -2.0, -4.0]).extracted == "B"
    assert judged([-2.0, -2.0, -4.0]).value == 0 and judged([-2.0, -2.0, -4.0], "0").extracted == "0"


def test_length_normalised_by_characters_and_by_bytes_without_the_joining_space():
    # " Ünübertroffen" has 13 characters and 15 bytes: -14 / 13 < -4.2 / 4 = -1.05, but -14 / 15 > -4.2 / 4
    score = judged([-4.2, -14.0], "1", (" Rome", " Ünübertroffen"))
    assert score.value == 0 and score.further == {"accuracy_norm": 0.0, "accuracy_bytes": 1.0}


@pytest.mark.parametrize("reference", ["D", "3", "-1", "", "Paris", "é"])
def test_a_reference_that_names_no_choice_is_refused(reference):
    with pytest.raises(UsageError, match="write 0 to 2, or A to C"):
        judged([-1.0, -2.0, -3.0], reference)


def test_space_at_the_end_of_a_prompt_belongs_to_the_choice(codec):
    with_space, without = encode_pair(codec, "Answer: ", "12"), encode_pair(codec, "Answer:", " 12")
    assert with_space == without
    assert codec.decode(with_space.continuation_ids).strip() == "12"
    assert list(with_space.prompt_ids) == codec.encode("Answer:")


def test_a_token_over_the_boundary_is_scored_whole(codec):
    whole, start = "Question: Anna has", len("Question: A")
    assert codec.encode(whole[:start])[-1] not in codec.encode(whole)  # the tokenizer joins over this boundary
    pair = encode_pair(codec, whole[:start], whole[start:])
    assert [*pair.prompt_ids, *pair.continuation_ids] == codec.encode(whole)
    assert codec.decode(pair.continuation_ids).strip().startswith("Anna")


def test_an_empty_prompt_is_the_begin_token(codec):
    pair = encode_pair(codec, "", " 12")
    assert pair.prompt_ids == (codec.begin_id(),) and list(pair.continuation_ids) == codec.encode_behind(" 12")


def test_an_empty_choice_has_nothing_to_score(codec):
    with refused("cannot-score", "Answer:"):
        encode_pair(codec, "Answer:", "")


def test_choices_may_have_prompts_of_their_own(codec):
    job = PromptJob(sample_id="w", is_warmup=False, choices=(" is", " is"), contexts=("Anna", "Ben"))
    first, second = encode_choices(job, "", codec, is_rendered=False)
    assert first.prompt_ids != second.prompt_ids and first.continuation_ids == second.continuation_ids


class Fixed(Backend):
    """Gives the same log-probability for every token; its clock is the test's."""

    name, summary, kind = "fixed", "", "autoregressive"
    supports = frozenset({"score"})
    logprob = -1.0
    probe = quantisations = load = generate = None

    def score(self, tokens, top_k=0):
        return Scores([math.nan] + [self.logprob] * (len(tokens) - 1), [False] + [True] * (len(tokens) - 1))


Fixed.__abstractmethods__ = frozenset()


def test_what_is_recorded_of_a_problem(codec):
    job = PromptJob(sample_id="x", is_warmup=False, choices=(" 1 2 3", " 4"))
    pairs = encode_choices(job, "Answer:", codec, is_rendered=False)
    ticks = iter([1_000_000_000, 3_500_000_000])
    line = told(job, pairs, score_choices(Fixed(), pairs, lambda: next(ticks)))
    assert line["choice_logprobs"] == [-float(len(pair.continuation_ids)) for pair in pairs]
    assert line["choice_is_greedy"] == [True, True] and line["chosen"] == 1 and line["text"] == "4"
    assert line["duration_s"] == 2.5 and line["scored_tokens"] == sum(len(pair) for pair in pairs)
    assert line["output_tokens"] is None and line["prompt_tokens"] == len(codec.encode("Answer:"))


def test_a_log_probability_that_is_no_number_fails_the_problem(codec):
    job = PromptJob(sample_id="x", is_warmup=False, choices=(" 1", " 4"))
    pairs = encode_choices(job, "Answer:", codec, is_rendered=False)
    broken = Fixed()
    broken.logprob = -math.inf
    with pytest.raises(SampleError, match="choice 0 has no finite log-probability"):
        told(job, pairs, score_choices(broken, pairs))
    assert issubclass(SampleError, BackendError)


@pytest.fixture(scope="module")
def measured(cli_for, tmp_path_factory):
    """The task tiny-choice through two engines, one round each."""
    folder = tmp_path_factory.mktemp("choices")
    cli = cli_for(folder)
    command = ["run", "-b", "mlx", "-b", "llama-cpp", "-m", "tiny:target", "-q", "none", "-q", "f32"]
    command += ["--task", "tiny-choice", "--samples", "12", "--rounds", "1", "--set", "n_threads=1", "-o", folder]
    result = cli(*command)
    assert result.code == 0, result.err
    return cli, folder, result


def test_a_round_of_choices_records_every_choice_and_generates_nothing(measured):
    _, folder, _ = measured
    (log,) = (folder / "raw" / "llama-cpp").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    samples = [line for line in lines if line["type"] == "sample"]
    assert not any(line["type"] == "step" for line in lines)
    assert [sample["is_warmup"] for sample in samples].count(False) == 12
    for sample in samples:
        assert len(sample["choices"]) == len(sample["choice_logprobs"]) == 4
        assert sample["chosen"] == sample["choice_logprobs"].index(max(sample["choice_logprobs"]))
        assert sample["duration_s"] > 0 and sample["scored_tokens"] > 4 * sample["prompt_tokens"]
    scores = [line for line in lines if line["type"] == "score"]
    assert len(scores) == 12 and all(set(line["scores"]) == {"accuracy_norm", "accuracy_bytes"} for line in scores)


def test_engines_agree_and_scoring_speed_is_what_is_compared(measured):
    cli, folder, _ = measured
    comparison = cli("compare", folder, "--json").json
    assert comparison["metric"] == "scored_tokens_per_s"
    base, other = comparison["rows"]
    assert base["accuracy"]["value"]["n"] == 12 and 0.4 < base["accuracy"]["value"]["value"] <= 1
    assert other["accuracy"]["value"]["value"] == base["accuracy"]["value"]["value"]
    assert other["parity"]["verdict"] == "identical" and other["parity"]["compared"] == 12
    assert "accuracy_norm" in base["accuracy"]["further"]
    assert "decode_tokens_per_s" not in base["metrics"] and "e2e_tokens_per_s" not in base["metrics"]
    (theirs,), (ours,) = ((folder / "raw" / name).glob("*.jsonl") for name in ("mlx", "llama-cpp"))
    for one, two in zip(rawlog.read(theirs).samples, rawlog.read(ours).samples, strict=True):
        assert one.choice_logprobs == pytest.approx(
            two.choice_logprobs, abs=0.05
        )  # llama.cpp keeps keys and values in 16 bits


def expanded(backend, cache, model="tiny:target", task="tiny-choice", options=None, **workload):
    content = {"workload": {"model": model, "task": task, **workload}}
    plan = build(content | {"cells": [{"backend": backend, "options": options or {}}]}, "test")
    return expand(plan, all_plugins(), ModelCache(cache))


def test_settings_of_generation_are_said_to_have_no_effect(cache):
    notes = expanded("llama-cpp", cache, max_new_tokens=7, temperature=0.5, stop=["x"]).notes
    for words in ("max_new_tokens = 7", "temperature = 0.5", "stop = ['x']"):
        assert f"{words} has no effect: task 'tiny-choice' scores choices, nothing is generated" in notes


def test_a_backend_that_cannot_score_is_refused_before_anything_is_measured(cli, tmp_path):
    result = cli("run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-choice", "-o", tmp_path)
    assert result.code == 2 and "[not-supported]" in result.err and not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("backend", "model", "option", "value"),
    [
        ("fast-dllm", "tiny:block-diffusion", "threshold", 0.5),
        ("fast-dllm", "tiny:block-diffusion", "small_block_size", 4),
        ("dflash", "tiny:target", "block_size", 8),
        ("draft-target", "tiny:target", "num_draft_tokens", 2),
        ("transformers", "tiny:target", "cache", "static"),
    ],
)
def test_an_option_of_the_decoding_loop_is_warned_of_where_choices_are_scored(cache, backend, model, option, value):
    (note,) = expanded(backend, cache, model, options={option: value}).notes
    assert note.startswith(f"{backend}: {option} = {value!r} has no effect") and "scoring does not read it" in note
    assert not any("scoring" in note for note in expanded(backend, cache, model, "tiny-gsm", {option: value}).notes)


def test_a_sweep_of_the_layer_reuse_is_refused_where_choices_are_scored(cache):
    sweep = {"cache": "sub-block", "reuse": "published", "layer_subset": ["first", "last"], "reuse_k": [1, 2, 3]}
    with refused("same-cells"):
        expanded("fast-dllm", cache, "tiny:block-diffusion", options=sweep)
    assert len(expanded("fast-dllm", cache, "tiny:block-diffusion", "tiny-gsm", sweep).cells) == 6


def test_the_way_of_scoring_is_an_option_that_generation_does_not_read(cache):
    model = "tiny:block-diffusion"
    assert len(expanded("fast-dllm", cache, model, options={"scoring": ["reading-order", "published"]}).cells) == 2
    with refused("same-cells"):
        expanded("fast-dllm", cache, model, "tiny-gsm", {"scoring": ["reading-order", "published"]})
    with pytest.raises(UsageError, match="scoring = 'published' is that of v2 models"):
        expanded("fast-dllm", cache, "tiny:llada", options={"scoring": "published"})
