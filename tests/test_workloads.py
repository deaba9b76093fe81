"""Every kind of workload through real engines: fixed lengths, chat, stop strings, sampling, an empty task."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

RUN = ["run", "-b", "llama-cpp", "-m", "tiny:draft", "-q", "f16", "--rounds", 1, "--set", "n_threads=1", "--json"]
TASK = ["--task", "tiny-gsm", "--samples", 3]


def rows(cli, folder, sql: str) -> list:
    ended = cli("query", sql, folder, "--json")
    assert ended.code == 0, ended.err
    return ended.rows


def samples(cli, folder, columns: str) -> list:
    return rows(cli, folder, f"SELECT {columns} FROM samples WHERE NOT is_warmup ORDER BY index")


@pytest.fixture(scope="module")
def plain(cli_for, tmp_path_factory):
    """A folder with one run that several tests look at, and the command line that made it."""
    folder = tmp_path_factory.mktemp("plain")
    cli = cli_for(folder)
    assert cli(*RUN, *TASK, "-o", folder).code == 0
    return cli, folder


def test_fixed_lengths_are_exact_and_the_same_ids_for_every_engine(cli, tmp_path):
    fixed = ["--prompt-tokens", 20, "--output-tokens", 9, "--depth", 12, "--ignore-eos", "--samples", 2]
    both = ["run", "-b", "llama-cpp", "-b", "mlx", *RUN[3:5], "--rounds", 1, "--json"]
    ended = cli(*both, *fixed, "-o", tmp_path)
    assert ended.code == 0, ended.err
    found = rows(
        cli, tmp_path, "SELECT r.backend, prompt_tokens, output_tokens, prompt_hash, r.depth, r.task FROM samples "
        "JOIN runs r USING (run_id) WHERE NOT is_warmup ORDER BY 1, index",
    )  # fmt: skip
    assert {(row[1], row[2], row[4], row[5]) for row in found} == {(32, 9, 12, None)}
    hashes = [[row[3] for row in found if row[0] == name] for name in ("llama-cpp", "mlx")]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 2


def test_the_chat_template_is_applied_on_request(cli, tmp_path):
    assert cli(*RUN, *TASK, "--chat", "-o", tmp_path).code == 0
    for prompt, tokens in samples(cli, tmp_path, "prompt, prompt_tokens"):
        assert prompt.startswith("<|im_start|>user\n") and prompt.endswith("<|im_start|>assistant\n")
        assert tokens > 10


@pytest.mark.nightly
def test_a_stop_string_ends_the_text_before_it(cli, plain, tmp_path):
    assert cli(*RUN, *TASK, "--stop", "####", "-o", tmp_path).code == 0
    whole = samples(*plain, "text, output_tokens")
    found = samples(cli, tmp_path, "text, output_tokens, finish")
    for (text, tokens), (shorter, fewer, finish) in zip(whole, found, strict=True):
        if "####" in text:
            assert finish == "stop-string"
            assert shorter == text.split("####")[0]
            assert fewer < tokens
    assert any(row[2] == "stop-string" for row in found)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["llama-cpp", "transformers"])
def test_sampling_depends_on_the_seed_alone(cli, tmp_path, backend):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = ["run", "-b", backend, "-m", "tiny:draft", "--rounds", 1, *TASK, "--temperature", 0.9, "--top-p", 0.95]
        assert cli(*run, "--top-k", 40, "--seed", seed, "-o", tmp_path / name).code == 0
        texts.append(samples(cli, tmp_path / name, "output_ids"))
    assert texts[0] == texts[1] != texts[2]


def test_the_pieces_of_the_steps_join_to_the_text(plain):
    sql = "SELECT s.text, string_agg(t.text, '' ORDER BY t.index) FROM samples s JOIN steps t ON t.run_id = s.run_id "
    for text, joined in rows(*plain, sql + "AND t.sample = s.index GROUP BY s.index, s.text"):
        assert joined == text


def test_warm_up_never_uses_a_measured_prompt(cli, tmp_path):
    assert cli(*RUN, *TASK, "--warmup", 4, "-o", tmp_path).code == 0
    counts = rows(cli, tmp_path, "SELECT is_warmup, count(DISTINCT prompt_hash) FROM samples GROUP BY 1 ORDER BY 1")
    assert counts == [[False, 3], [True, 4]]
    assert rows(cli, tmp_path, "SELECT count(DISTINCT prompt_hash) FROM samples") == [[7]]


def test_an_empty_task_is_refused(cli, tmp_path):
    ended = cli("run", "-b", "faulty", "-m", "tiny:draft", "--task", "no-problems", "-o", tmp_path)
    assert ended.code == 2
    assert "task 'no-problems' has no problems" in ended.err


@pytest.mark.nightly
def test_names_can_be_hidden(cli, tmp_path):
    assert cli(*RUN, *TASK, "--anonymise", "-o", tmp_path).code == 0
    (log,) = tmp_path.glob("raw/*/*.jsonl")
    environment = json.loads(log.read_text().splitlines()[0])["environment"]
    for name in ("hostname", "username"):
        assert len(environment[name]) == 8 and int(environment[name], 16) >= 0
    assert log.name.startswith(environment["hostname"])


def test_csv_columns_are_the_contract(plain):
    cli, folder = plain
    (file,) = cli("export", folder, "--json").json
    with open(file, encoding="utf-8") as handle:
        header = handle.readline().strip().split(",")
    contract = (
        "step,enqueue_latency_ms,total_latency_ms,tokens_per_sec,memory_throughput_gb_s,param_throughput_gb_s,"
        "generated_text,platform,release,device,username,hostname,size,quantize,seed,uuid"
    )
    assert header[:16] == contract.split(",")
    assert file.endswith("llama-cpp.csv")


@pytest.mark.nightly
@pytest.mark.parametrize(
    "flags",
    [
        [*TASK, "--temperature", 0.5, "--stop", "#", "--seed", 7],
        ["--prompt-tokens", 5, "--output-tokens", 4, "--depth", 3, "--ignore-eos", "--samples", 1],
    ],
)
def test_the_plan_on_the_page_measures_the_same_cells(cli, tmp_path, flags):
    run = ["run", "-b", "llama-cpp", "-m", "tiny:draft", "-q", "f16", "-q", "q4_0", "--set", "n_batch=512,1024"]
    assert cli(*run, *flags, "--rounds", 1, "-o", tmp_path).code == 0
    page = Path(cli("report", tmp_path, "--json").json["report"]).read_text()
    plan = html.unescape(page.split("<pre><code>")[1].split("</code></pre>")[0])
    (tmp_path / "plan.toml").write_text(plan)
    again = cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json")
    assert again.code == 0, again.err
    measured = rows(cli, tmp_path, "SELECT DISTINCT cell_id FROM runs")
    assert sorted(cell["cell_id"] for cell in again.json["cells"]) == sorted(row[0] for row in measured)
