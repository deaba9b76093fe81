"""Chats from the command line to the records: templates, their arguments, containers, and what the context holds."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from decodebench import ModelCache
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.measure.prompts import Prompts
from decodebench.core.sdk.gguf.preparation import prepare_gguf
from decodebench.plugins.reference.family import WEIGHTS_FOLDER

from .plugins.models import resolve
from .test_workloads import rows, samples

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is false %}{{ 'THINK NOT\n' }}"
    "{% endif %}{% endif %}"
)
SHORT = ["--rounds", 1, "--warmup", 0, "--max-new-tokens", 6, "--set", "n_threads=1", "--json"]
TASK = ["--task", "tiny-gsm", "--samples", 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = shutil.copytree(WEIGHTS_FOLDER / "draft", tmp_path_factory.mktemp("chats") / "model")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def gguf(folder, cache, tmp_path_factory):
    """The same model in the other container."""
    made = prepare_gguf(resolve(folder), "f16", ModelCache(tmp_path_factory.mktemp("cache")))
    return shutil.copy(made.path, folder.parent / "model.gguf")


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_unique_prefix_is_the_first_line_of_the_first_message(folder, cache, tmp_path, system):
    said = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    talks = [{"messages": [{"role": role, "content": content} for role, content in said]}] * 2
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    workload = {"task": f"conversations:{tmp_path / 'talks.jsonl'}?turns=2", "samples": 4, "warmup": 0, "chat": True}
    workload |= {"unique_prefix": True, "concurrency": 1, **({"system": system} if system else {})}
    registry = all_plugins()
    table = {"cells": [{"backend": "llama-cpp"}], "workload": {"model": str(folder), **workload}}
    plan = build(table, "unique")
    (cell,) = expand(plan, registry, ModelCache(cache)).cells
    prompts = Prompts.of(plan, registry, [cell])
    begin = f"<|im_start|>{'system' if system else 'user'}\n"
    rounds = [[job.text for job in prompts.jobs_of(cell, occasion)] for occasion in ("e:0", "e:1")]
    for texts in rounds:
        assert all(re.match(re.escape(begin) + "[0-9a-f]{16}\n" + (system or "one"), text) for text in texts)
        digits = [text.removeprefix(begin)[:16] for text in texts]
        assert digits[0] == digits[1] != digits[2] == digits[3] and texts[1].count(digits[0]) == 1
        assert texts[1].startswith(texts[0].removesuffix("<|im_start|>assistant\n"))
    assert not set(rounds[0]) & set(rounds[1])
    assert rounds[0] == [job.text for job in prompts.jobs_of(cell, "e:0")]


@pytest.mark.nightly
def test_an_argument_of_the_template_is_swept_like_an_option(cli, folder, tmp_path):
    run = ["run", "-b", "llama-cpp", "-q", "f16", "-m", folder, *SHORT, *TASK, "--chat", "-o", tmp_path]
    ended = cli(*run, "--template-arg", "enable_thinking=true,false")
    assert ended.code == 0 and ended.json["done"] == 2, ended.err
    labels = [row["cell"]["label"] for row in ended.json["comparison"]["rows"]]
    assert [label.split()[-1] for label in labels] == [
        "template.enable_thinking=true",
        "template.enable_thinking=false",
    ]
    found = rows(
        cli,
        tmp_path,
        "SELECT json_extract(r.options, '$.\"template.enable_thinking\"')::VARCHAR, r.changed_options, s.prompt "
        "FROM runs r JOIN samples s USING (run_id) ORDER BY r.cell_index, s.index",
    )
    assert [(value, "THINK NOT" in prompt) for value, _, prompt in found] == [("true", False)] * 2 + [
        ("false", True)
    ] * 2
    assert all("template.enable_thinking" in changed for _, changed, _ in found)
    again = cli(*run, "--template-arg", "enable_thinking=false")
    assert again.json["kept"] == 1 and again.json["done"] == 0


@pytest.mark.nightly
def test_a_model_is_asked_and_stopped_alike_in_both_containers(cli, folder, gguf, tmp_path):
    both = ["run", "-b", "llama-cpp", "-q", "f16", "-m", folder, "-m", gguf]
    ended = cli(*both, *SHORT, *TASK, "--chat", "--system", "Be brief.", "-o", tmp_path)
    assert ended.code == 0, ended.err
    asked = "SELECT prompt, prompt_hash, output_ids, text FROM samples s JOIN runs r USING (run_id) "
    found = rows(cli, tmp_path, asked + "ORDER BY r.cell_index, s.index")
    assert found[:2] == found[2:]
    assert found[0][0].startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    told = rows(cli, tmp_path, "SELECT system, stop_token_ids, context_length FROM runs")
    assert told[0] == told[1] and told[0][0] == "Be brief." and told[0][2] == 2048
    names = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ends = {token["id"] for token in names if token["content"] in ("<|endoftext|>", "<|im_end|>")}
    assert set(told[0][1]) == ends


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--system", "x"], "system needs chat"),
        (["--template-arg", "enable_thinking=false"], "template_args needs chat"),
        (["--chat", "--template-arg", "enable_thinkin=false"], "did you mean 'enable_thinking'"),
        (["--chat", "--template-arg", "enable_thinking"], "write NAME=VALUE or NAME=V1,V2"),
    ],
)
def test_what_changes_nothing_is_refused_before_anything_loads(cli, folder, tmp_path, flags, words):
    ended = cli("run", "-b", "llama-cpp", "-q", "f16", "-m", folder, *SHORT, *TASK, *flags, "-o", tmp_path / "out")
    assert ended.code == 2 and words in ended.err and not (tmp_path / "out" / "raw").exists()


def test_a_template_that_leaves_the_system_message_out_is_refused(cli, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "model")
    (other / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    run = ["run", "-b", "llama-cpp", "-q", "f16", "-m", other, *SHORT, *TASK, "--chat", "-o", tmp_path / "out"]
    ended = cli(*run, "--system", "Be brief.")
    assert ended.code == 2 and "--system" in ended.err


@pytest.mark.nightly
def test_outputs_are_clipped_only_where_that_is_allowed(cli, folder, tmp_path):
    run = ["run", "-b", "llama-cpp", "-q", "f16", "-m", folder, *SHORT, *TASK, "--set", "n_ctx=64", "-o", tmp_path]
    run += ["--max-new-tokens", 60, "--ignore-eos"]
    refused = cli(*run)
    assert refused.code == 1 and "the context of 64 tokens holds" in refused.json["failed"][0]["reason"]
    assert samples(cli, tmp_path, "text") == []
    allowed = cli(*run, "--allow-clipped")
    assert allowed.code == 0, allowed.err
    found = samples(cli, tmp_path, "prompt_tokens, output_tokens, token_limit")
    assert [(prompt + output, limit) for prompt, output, limit in found] == [(64, output) for _, output, _ in found]
    checks = [finding["check"] for finding in allowed.json["comparison"]["findings"]]
    assert "clipped-outputs" in checks and "capped-outputs" not in checks


def test_answers_that_a_stop_string_begins_are_a_finding(cli, folder, tmp_path):
    stops = [flag for digit in "0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ" for flag in ("--stop", digit)]
    ended = cli("run", "-b", "llama-cpp", "-q", "f16", "-m", folder, *SHORT, *TASK, *stops, "-o", tmp_path)
    assert ended.code == 0, ended.err
    empty = [text.strip() == "" for text, finish in samples(cli, tmp_path, "text, finish") if finish == "stop-string"]
    told = [f["text"] for f in ended.json["comparison"]["findings"] if f["check"] == "empty-answers"]
    assert any(empty) and len(told) == 1 and f"{sum(empty)} of 2 answers are empty" in told[0]
