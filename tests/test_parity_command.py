"""``decodebench parity``: real engines held against the reference, and a float32 cell that lies is caught."""

from __future__ import annotations

import io
import json
import math
import signal

import numpy as np
import pytest
from rich.console import Console

from decodebench.collate.parity.matrix import ParityMatrix, Tally, kl_divergence
from decodebench.viz.terminal.parity import parity_view

SMALL = ["--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 8]
EXACT = ["--set", "llama-cpp.kv_cache_type=f32", "--set", "llama-cpp.flash_attention=off"]
FORGER_EXACT = [setting.replace("llama-cpp", "forger") for setting in EXACT]
MATRIX = [
    *("parity", "-m", "tiny:target", "-b", "transformers", "-b", "llama-cpp", "-q", "f32", "-q", "q4_0"),
    *("-q", "q2_k", *EXACT, "--task", "tiny-gsm", "--samples", 8, "--max-new-tokens", 32),
]
PLUGIN = '''
"""A backend that claims float32 and changes one token, one whose scores fail, and a task with answers in words."""
from dataclasses import replace
from typing import Literal

from decodebench import BackendError, Score, Task, TaskSample, hookimpl
from decodebench.plugins.llama_cpp.backend import LlamaCppBackend
from decodebench.plugins.llama_cpp.options import LlamaCppOptions


class ForgerOptions(LlamaCppOptions):
    fault: Literal["token", "score"] = "token"


class Forger(LlamaCppBackend):
    name, summary, is_reference, Options = "forger", "the reference with one fault", False, ForgerOptions

    @classmethod
    def quantisations(cls):
        return [one for one in super().quantisations() if one.name == "f32"]

    def load(self, model, device, options):
        self.fault, self.calls = options.fault, 0
        return super().load(model, device, options)

    def generate(self, batch):
        self.calls += 1
        for index, step in enumerate(super().generate(batch)):
            is_wrong = self.fault == "token" and self.calls == 3 and index == 5  # warm-up is the first call
            yield replace(step, token_ids=[step.token_ids[0] ^ 1]) if is_wrong else step

    def score_continuations(self, prompt_ids, continuations, top_k=0):
        if self.fault == "score":
            raise BackendError("no logits today")
        return super().score_continuations(prompt_ids, continuations, top_k)


class Proverbs(Task):
    name, version, summary = "proverbs", "1", "answers of several words"

    def samples(self, n, seed):
        for i in range(n):
            yield TaskSample(f"proverbs/{i}", f"Anna has {i + 2} apples.", "Then Anna gets 7 more apples.")

    def score(self, sample, text):
        return Score(0.0)


@hookimpl
def decodebench_backends():
    return [Forger]


@hookimpl
def decodebench_tasks():
    return [Proverbs]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parity-command")


@pytest.fixture(scope="module")
def matrix(folder, cli_for):
    ended = cli_for(folder)(*MATRIX, "-o", folder, "--json")
    assert ended.code == 0, ended.err
    return ended.json


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """The environment in which the plugin above is installed, beside the one of the other tests."""
    place = tmp_path_factory.mktemp("forger")
    (place / "forger.py").write_text(PLUGIN)
    info = place / "forger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: forger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[decodebench]\nforger = forger\n")
    return {"PYTHONPATH": str(place)}


def rows(matrix) -> dict[str, dict]:
    return {f"{row['cell']['backend']} {row['cell']['quantisation']}": row for row in matrix["rows"]}


def outputs(folder, quantisation) -> dict[str, list[int]]:
    """Return the measured output ids by problem, straight from the raw logs."""
    (file,) = folder.glob(f"raw/*/*_{quantisation}_*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    samples = [line for line in lines if line["type"] == "sample" and not line["is_warmup"]]
    return {line["sample_id"]: line["output_ids"] for line in samples}


def test_the_reference_is_itself(matrix):
    ParityMatrix.model_validate(matrix)
    first = matrix["rows"][0]
    assert (first["cell"]["label"], matrix["reference"]) == ("transformers float32",) * 2
    assert (first["verdict"], first["identical"], first["compared"]) == ("reference", 8, 8)
    assert (first["tokens_identical"], first["top1_agreement"]) == (1, 1)
    assert (first["kl_mean"], first["kl_max"], first["max_logprob_diff"]) == (0, 0, 0)


def test_float32_is_identical_up_to_ties_in_both_engines(matrix):
    f32 = rows(matrix)["llama-cpp f32"]
    assert f32["verdict"] in ("identical", "ties only")
    assert f32["top1_agreement"] > 0.99
    assert f32["max_logprob_diff"] < 1e-3
    assert matrix["broken"] == [] and matrix["failed"] == []


def test_fewer_bits_are_further_away(matrix):
    found = rows(matrix)
    assert all(row["kl_is_exact"] for row in found.values()), "the tiny vocabulary is given whole"
    assert found["llama-cpp q4_0"]["kl_mean"] > found["llama-cpp f32"]["kl_mean"] > 0
    assert found["llama-cpp q2_k"]["kl_max"] > found["llama-cpp q2_k"]["kl_mean"] > found["llama-cpp q4_0"]["kl_mean"]
    assert found["llama-cpp q2_k"]["perplexity"] > found["llama-cpp f32"]["perplexity"] > 1
    assert {row["perplexity_text"] for row in found.values()} == {"reference outputs"}
    assert list(found) == ["transformers none", "llama-cpp f32", "llama-cpp q4_0", "llama-cpp q2_k"]


def test_shares_are_those_of_the_raw_logs(matrix, folder):
    theirs, ours = outputs(folder, "none"), outputs(folder, "q2_k")
    row = rows(matrix)["llama-cpp q2_k"]
    assert row["identical"] == sum(theirs[name] == ours[name] for name in theirs) < 8
    shared = 0
    for name, ids in theirs.items():
        while ids and ours[name] and ids[0] == ours[name][0]:
            ids, ours[name] = ids[1:], ours[name][1:]
            shared += 1
    assert row["tokens_identical"] == pytest.approx(shared / sum(map(len, outputs(folder, "none").values())))
    assert len(row["divergences"]) == 8 - row["identical"]
    assert all(d["logprob_gap"] is not None and d["top2_margin"] > 0 for d in row["divergences"])


def test_perplexity_is_that_of_the_model(matrix, folder):
    import torch
    from transformers import AutoModelForCausalLM

    from decodebench.core.sdk.tokenizer import Codec
    from decodebench.plugins.reference.family import WEIGHTS_FOLDER
    from decodebench.plugins.transformers.backend import TransformersBackend

    model = AutoModelForCausalLM.from_pretrained(WEIGHTS_FOLDER / "target", dtype=torch.float32)
    codec = Codec(WEIGHTS_FOLDER / "target", TransformersBackend())
    (file,) = folder.glob("raw/transformers/*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    total = count = 0
    for line in lines:
        if line["type"] == "sample" and not line["is_warmup"]:
            prompt, output = codec.encode(line["prompt"]), line["output_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + output])).logits[0].double().log_softmax(-1)
            total += sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(output))
            count += len(output)
    assert count == matrix["rows"][0]["positions"]
    assert matrix["rows"][0]["perplexity"] == pytest.approx(math.exp(-total / count), rel=1e-5)


def test_a_second_time_nothing_is_measured_or_scored(matrix, folder, cli_for):
    before = {path: path.read_bytes() for path in folder.glob("raw/**/*.jsonl")}
    again = cli_for(folder)(*MATRIX, "-o", folder, "--json")
    assert again.code == 0, again.err
    assert again.json == matrix
    assert "4 rounds kept, 0 to run" in again.err and "scoring" not in again.err
    assert {path: path.read_bytes() for path in folder.glob("raw/**/*.jsonl")} == before


def test_a_rebuilt_store_has_the_figures(matrix, folder, cli_for):
    cli = cli_for(folder)
    assert cli("collate", folder, "--rebuild").code == 0
    sql = "SELECT cell, verdict, kl_mean, perplexity, perplexity_text FROM parity_cells ORDER BY cell"
    stored = cli("query", sql, folder, "--json").rows
    wanted = ("verdict", "kl_mean", "perplexity", "perplexity_text")
    assert stored == sorted([row["cell"]["cell_id"], *(row[name] for name in wanted)] for row in matrix["rows"])


def test_the_table_fits_80_columns_and_is_plain_in_a_pipe(matrix, folder, cli_for):
    shown = cli_for(folder)(*MATRIX, "-o", folder)
    assert shown.code == 0 and "\x1b" not in shown.out
    assert "reference outputs" in shown.out and "(exact)" in shown.out
    text = io.StringIO()
    Console(file=text, width=80).print(parity_view(ParityMatrix.model_validate(matrix)))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for row in matrix["rows"]:
        line = next(line for line in lines if line.strip().startswith(row["cell"]["label"]))
        assert f"{row['identical']}/8" in line and row["verdict"] in line


def test_the_heat_map_is_drawn_from_the_store(matrix, folder, cli_for):
    drawn = cli_for(folder)("plot", folder, "--figure", "parity_heatmap", "--format", "svg", "--json")
    assert drawn.code == 0, drawn.err
    with open(drawn.json[0], encoding="utf-8") as file:
        text = file.read()
    for row in matrix["rows"]:
        assert row["cell"]["label"] in text
    assert "Blue: share of 8 greedy outputs" in text


def test_a_float32_cell_with_one_wrong_token_ends_loudly(cli, tmp_path, forged):
    arguments = ["parity", "-m", "tiny:target", "-b", "forger", "--reference", "llama-cpp:f32", *EXACT, *FORGER_EXACT]
    arguments += ["--task", "tiny-gsm", "--samples", 3, "--max-new-tokens", 10, "-o", tmp_path / "o", "--json"]
    ended = cli(*arguments, env=forged)
    assert ended.code == 3
    reference, forger = ended.json["rows"]
    assert (reference["cell"]["backend"], forger["verdict"], forger["identical"]) == ("llama-cpp", "differs", 2)
    assert forger["kl_mean"] < 1e-6, "its distributions are those of the reference"
    (divergence,) = forger["divergences"]
    assert (divergence["sample_id"], divergence["position"]) == ("tiny-gsm/42/1", 5)
    assert divergence["token"] == divergence["baseline_token"] ^ 1
    assert forger["tokens_identical"] == pytest.approx((10 + 5 + 10) / 30)
    (line,) = ended.json["broken"]
    words = ["forger", "tiny-gsm/42/1", "output token 5", f"{divergence['token']} instead of"]
    words += [str(divergence["baseline_token"]), f"{divergence['top2_margin']:.3g}", "1 of 3 prompts"]
    for word in words:
        assert word in line and word in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.nightly
def test_scores_that_fail_are_said_and_tried_again(cli, tmp_path, forged):
    arguments = ["parity", "-m", "tiny:draft", "-b", "forger", "--set", "fault=score", "--reference", "llama-cpp:f32"]
    arguments += [*EXACT, *FORGER_EXACT, *SMALL, "-o", tmp_path / "o"]
    ended = cli(*arguments, "--json", env=forged)
    assert ended.code == 1
    assert "could not be scored: no logits today" in ended.err
    row = ended.json["rows"][1]
    assert (row["verdict"], row["kl_mean"], row["perplexity"]) == ("identical", None, None)
    assert "no logits today" in row["reason"]
    again = cli(*arguments, env=forged)
    assert again.code == 1 and "0 to run" in again.err and "no logits today" in again.out


@pytest.mark.nightly
def test_perplexity_is_on_the_answers_of_a_task_that_has_texts(cli, tmp_path, forged):
    arguments = ["parity", "-m", "tiny:draft", "-b", "transformers", "--task", "proverbs", "--samples", 2]
    ended = cli(*arguments, "--max-new-tokens", 4, "-o", tmp_path / "o", "--json", env=forged)
    assert ended.code == 0, ended.err
    (row,) = ended.json["rows"]
    assert row["perplexity_text"] == "task references"
    assert row["positions"] <= 8, "the answers' own tokens are no positions of the outputs"
    assert row["perplexity"] > 2, "nobody would have guessed these answers"


@pytest.mark.nightly
def test_a_cell_that_fails_is_shown_with_its_reason(cli, tmp_path):
    arguments = ["parity", "-m", "tiny:draft", "-b", "faulty", "-b", "llama-cpp", "-q", "f32", "--reference"]
    arguments += ["llama-cpp:f32", "--set", "fault=raise-load", *SMALL, "-o", tmp_path / "o"]
    ended = cli(*arguments, "--json")
    assert ended.code == 1
    reference, faulty = ended.json["rows"]
    assert reference["cell"]["label"] == ended.json["reference"] == "llama-cpp f32"
    assert (faulty["verdict"], faulty["compared"]) == ("not comparable", 0)
    assert "failed: the engine does not like this model" in faulty["reason"]
    assert "the engine does not like this model" in ended.err
    assert "the engine does not like this model" in cli(*arguments).out


@pytest.mark.nightly
def test_without_its_reference_no_cell_is_comparable(cli, tmp_path):
    arguments = ["parity", "-m", "tiny:draft", "-b", "llama-cpp", "-q", "q8_0", "--reference", "faulty", *SMALL]
    ended = cli(*arguments, "--set", "faulty.fault=prepare", "-o", tmp_path / "o", "--json")
    assert ended.code == 1 and "Traceback" not in ended.err
    assert "tensor 'x' has no shape" in ended.err
    found = [(row["cell"]["backend"], row["verdict"], row["reason"]) for row in ended.json["rows"]]
    assert [name for name, _, _ in found] == ["faulty", "llama-cpp"]
    assert {verdict for _, verdict, _ in found} == {"not comparable"}
    assert "tensor 'x' has no shape" in found[0][2]


@pytest.mark.nightly
def test_ctrl_c_keeps_the_finished_cells(cli, gate, tmp_path):
    folder = tmp_path / "o"
    arguments = ["parity", "-m", "tiny:draft", "-b", "faulty", "--reference", "faulty", "--set", "step_s=0.0,0.001"]
    process = cli.start(*arguments, *SMALL, "-o", folder, env=gate.environment)
    gate.hold_when(lambda: list(folder.glob("raw/faulty/*.jsonl")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "finished rounds are kept, run again to complete" in err and "Traceback" not in err
    resumed = cli(*arguments, *SMALL, "-o", folder, "--json")
    assert resumed.code == 0 and "1 round kept, 1 to run" in resumed.err
    assert [row["identical"] for row in resumed.json["rows"]] == [2, 2]


@pytest.mark.nightly
def test_a_reference_without_scores_leaves_distances_out(cli, tmp_path):
    arguments = ["parity", "-m", "tiny:draft", "-b", "llama-cpp", "-q", "q8_0", "--reference", "faulty", *SMALL]
    ended = cli(*arguments, "-o", tmp_path / "o", "--json")
    assert ended.code == 0, ended.err
    faulty, llama = ended.json["rows"]
    assert (faulty["verdict"], faulty["reason"]) == ("reference", "backend 'faulty' cannot score")
    assert (llama["verdict"], llama["identical"], llama["tokens_identical"]) == ("differs", 0, 0)
    assert llama["kl_mean"] is None and llama["max_logprob_diff"] is None and "no KL divergence" in llama["reason"]
    assert llama["perplexity"] > 1
    again = cli(*arguments, "-o", tmp_path / "o", "--json")
    assert again.json == ended.json and "scoring" not in again.err
    drawn = cli("plot", tmp_path / "o", "--figure", "parity_heatmap", "--json")
    assert drawn.code == 0, drawn.err


@pytest.mark.nightly
def test_sets_apply_to_the_reference_with_their_first_value(cli, tmp_path):
    arguments = ["parity", "-m", "tiny:draft", "-b", "faulty", "--reference", "faulty:f32", *SMALL, "-o", tmp_path]
    ended = cli(*arguments, "--set", "step_s=0.0,0.001", "--json")
    assert ended.code == 0, ended.err
    found = [(row["verdict"], row["cell"]["options"]["step_s"]) for row in ended.json["rows"]]
    assert found == [("reference", "0.0"), ("identical", "0.001")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-b", "faulty"], ["Missing option", "--model"]),
        (["-m", "tiny:draft", *SMALL], ["Missing option", "--backend"]),
        (["-m", "tiny:draft", "-b", "faulty"], ["Missing option", "--task"]),
        (["-m", "tiny:draft", "-b", "faulty", *SMALL, "--temperature", 1], ["No such option", "--temperature"]),
        (["-m", "tiny:draft", "-b", "faulty", *SMALL, "--reference", "faulti"], ["did you mean 'faulty'?"]),
        (["-m", "tiny:draft", "-b", "faulty", *SMALL, "--reference", "faulty:f23"], ["did you mean 'f32'?"]),
        (["-m", "tiny:draft", "-b", "faulty", *SMALL, "-q", "q9"], ["unknown quantisation 'q9'"]),
        (["-m", "tiny:draft", "-b", "faulty", *SMALL, "--set", "falt=none"], ["did you mean 'fault'?"]),
    ],
)
def test_bad_input_is_refused_in_a_line_or_two(cli, tmp_path, arguments, words):
    ended = cli("parity", *arguments, "-o", tmp_path / "o")
    assert ended.code == 2
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


def evaluation(logits, top_k, tokens=None):
    """Return what a worker would say of positions with these logits [n, V]."""
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    top = np.argsort(-rows, axis=1)[:, :top_k]
    tokens = top[:, 0] if tokens is None else tokens
    return {
        "vocabulary_size": logits.shape[1],
        "logprobs": np.take_along_axis(rows, tokens[:, None], axis=1)[:, 0].tolist(),
        "is_greedy": (top[:, 0] == tokens).tolist(),
        "top_ids": top.tolist(),
        "top_logprobs": np.take_along_axis(rows, top, axis=1).tolist(),
    }


@pytest.fixture
def logits():
    rng = np.random.default_rng(3)
    theirs = 3 * rng.normal(size=(5, 300))
    return theirs, theirs + 0.3 * rng.normal(size=theirs.shape)


def direct(theirs, ours):
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (theirs, ours))
    return (p * np.log(p / q)).sum(axis=1)


def test_the_divergence_over_the_whole_vocabulary_is_exact(logits):
    values, is_exact = kl_divergence(evaluation(logits[0], 300), evaluation(logits[1], 300))
    assert is_exact and values == pytest.approx(direct(*logits))


def test_the_divergence_of_the_likeliest_ids_and_a_tail_is_a_lower_bound(logits):
    exact = direct(*logits)
    values, is_exact = kl_divergence(evaluation(logits[0], 64), evaluation(logits[1], 64))
    assert not is_exact
    assert np.all(values > 0.3 * exact) and np.all(values < exact)
    coarser, _ = kl_divergence(evaluation(logits[0], 4), evaluation(logits[1], 4))
    assert coarser.sum() < values.sum()


def test_a_tally_adds_up_over_sequences(logits):
    theirs, ours = logits
    tally = Tally()
    for part in (slice(0, 2), slice(2, 5)):
        own, base = evaluation(theirs[part], 300), evaluation(theirs[part], 300)
        tokens = np.array(base["top_ids"])[:, 0]
        own = evaluation(ours[part], 300, tokens)
        tally.add(own, base)
    figures = tally.figures()
    assert figures["positions"] == 5 and figures["kl_is_exact"]
    assert figures["kl_mean"] == pytest.approx(direct(theirs, ours).mean())
    assert figures["kl_max"] == pytest.approx(direct(theirs, ours).max())
    chosen = evaluation(ours, 300, theirs.argmax(axis=1))
    assert tally.perplexity == pytest.approx(math.exp(-np.mean(chosen["logprobs"])))
    assert figures["top1_agreement"] == np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))


def test_scores_that_are_no_numbers_give_no_figures(logits):
    broken = evaluation(logits[1], 300)
    broken["logprobs"] = [math.nan] * 5
    tally = Tally()
    tally.add(broken, evaluation(logits[0], 300))
    assert tally.perplexity is None
    assert tally.figures() == {"positions": 5, "reason": "its log-probabilities are not finite"}
