"""Answers of servers as HTTP clients print them: what is around a body costs nothing, and refusals say why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.parsers.foreign import recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers
PRINTED = [
    ("llama-server", "curl_v.txt", "llama_cpp/server_answer.json"),
    ("llama-server", "curl_i.txt", "llama_cpp/server_answer.json"),
    ("llama-server", "httpie_colour.txt", "llama_cpp/server_answer.json"),
    ("llama-server", "curl_v_stream.txt", "servers/llama_server.sse"),
    ("llama-server", "curl_i_stream.txt", "servers/llama_server.sse"),
    ("ollama", "curl_meter_ollama.txt", "serving/ollama.json"),
    ("ollama", "curl_w_ollama.txt", "serving/ollama.json"),
    ("ollama", "httpie_ollama.txt", "serving/ollama.json"),
    ("openai-answers", "curl_v_vllm.txt", "servers/vllm.sse"),
]


def read(file):
    (name,) = recognise(file, PARSERS)
    return name, [record.model_dump(exclude={"run_id", "source_line"}) for record in PARSERS[name]().read(file)]


@pytest.mark.parametrize(("name", "file", "body"), PRINTED, ids=[file for _, file, _ in PRINTED])
def test_an_exchange_gives_what_its_body_gives(name, file, body):
    assert read(DATA / "exchanges" / file) == read(DATA / body) == (name, read(DATA / body)[1])


def test_figures_of_lists_and_of_the_clients_clock():
    _, (run, sample) = read(DATA / "exchanges" / "powershell.txt")
    assert (run["model"], run["quantisation"]) == ("llama3.2:3b-instruct-q4_K_M", "q4_k_m")
    assert (sample["decode_tokens"], sample["decode_s"], sample["prompt_tokens"]) == (290, 4.709213, 26)
    _, (run, *samples) = read(DATA / "exchanges" / "curl_w_usage.jsonl")
    assert [(one["output_tokens"], one["duration_s"], one["finish"]) for one in samples] == [
        (12, 1.25, "stop"), (12, 0.75, "length"),
    ]  # fmt: skip
    assert run["model"] == "a/b" and run["status"] == "ok"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ((DATA / "exchanges" / "curl_v_503.txt").read_text(), "HTTP 503"),
        ((DATA / "servers" / "llama_cpp_python.sse").read_text(), "without its times or usage"),
        ("* connect to ::1 port 80 failed\ncurl: (7) Failed to connect to localhost port 80\n", "no answer"),
    ],
)
def test_an_exchange_that_measures_nothing_is_refused_with_its_reason(tmp_path, text, why):
    file = tmp_path / "x.txt"
    file.write_text(text)
    with pytest.raises(RawLogError, match=why):
        recognise(file, PARSERS)


COMMANDS = [
    "$ curl -s http://localhost:11434/api/generate -d '{\"model\": \"a\"}'",
    'me@host:~/x$ curl localhost:11434/api/generate -d \'{\n  "model": "a",\n  "prompt": "it is"\n}\'',
    "curl http://localhost:11434/api/generate \\\n  -H 'Content-Type: application/json' \\\n  -d @body.json",
    "PS C:\\Users\\me> curl.exe -s http://localhost:11434/api/generate -d '@body.json'",
    "```console",
    "HTTP/1.1 200 OK\nContent-Type: application/x-ndjson\n",
    "< HTTP/2 200 \n< server: x\n< \n{ [312 bytes data]\n"
    "100   312  100   283  100    29  43245   4431 --:--:-- --:--:-- --:--:-- 52000",
    "Here is what it said:",
    "",
]  # fmt: skip
BEHIND = ["", "* Connection #0 to host localhost left intact", " \n\ntime_total: 0.5\n", "\nme@host:~$ ", "0.006273"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(COMMANDS), st.sampled_from(BEHIND)), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
)
def test_answers_among_whatever_clients_print_are_all_read(tmp_path, parts, end):
    """An answer after each piece; the first one says that this is a client's output, as a page of words does not."""
    answer = (DATA / "serving" / "ollama.json").read_text().strip()
    pieces = [COMMANDS[0], *(f"{before}\n{answer}{behind}" for before, behind in parts)]
    file = tmp_path / "x.txt"
    file.write_bytes("\n".join(pieces).replace("\n", end).encode())
    name, (run, *samples) = read(file)
    alone = read(DATA / "serving" / "ollama.json")[1][1]
    assert name == "ollama" and (run["status"], len(samples)) == ("ok", len(parts))
    assert all({**sample, "index": 0} == alone for sample in samples)


def test_half_an_answer_at_the_end_is_said(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text((DATA / "exchanges" / "curl_v_stream.txt").read_text() + 'data: {"index":0,"content":":","tok')
    _, (run, *samples) = read(file)
    assert len(samples) == 1 and run["status"] == "incomplete" and "cut" in run["reason"]


@pytest.mark.parametrize("body", sorted({body for _, _, body in PRINTED}))
def test_a_body_in_the_colours_of_jq_is_the_body(tmp_path, body):
    painted = re.sub(
        r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|true|false|null', "\x1b[0;32m\\g<0>\x1b[0m", (DATA / body).read_text()
    )
    (tmp_path / Path(body).name).write_text(painted)
    assert read(tmp_path / Path(body).name) == read(DATA / body)
