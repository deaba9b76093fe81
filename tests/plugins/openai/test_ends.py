"""How answers end and what is missing in them: streams that stay open, text elsewhere, limits of servers."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from decodebench import BackendError
from decodebench.plugins.openai.launched.process import ServerProcess, free_port

from ...refusals import refused
from .stub import BREAK, sse
from .test_answers import llama
from .test_faults import WHOLE, part


def text(piece, finish=None, **more):
    return {"choices": [{"text": piece, "finish_reason": finish, **more}]}


def counted(tokens):
    return {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}


PIECES = [text(piece) for piece in "abc"]
LINES = [b'{"response": "ab", "done": false}\n', b'{"response": "", "done": true, "done_reason": "stop"}\n']


@pytest.mark.parametrize(
    ("owner", "script"),
    [
        ("vllm", [*WHOLE, b"data: [DONE]\n\n"]),
        ("me", [*sse(*PIECES, text("d", "length"), counted(4))]),
        ("llamacpp", sse(llama(4, 5, 6, 7), llama(done="limit", text=""), done=False)),
        ("library", LINES),
    ],
)
def test_an_answer_ends_with_its_last_event_whenever_the_server_closes_the_stream(connect, owner, script):
    never = threading.Event()
    connected = connect(lambda n, body: [*script, never], owner=owner, pages={"/props": {}}, silence_timeout_s=20)
    begin = time.monotonic()
    steps = connected.batch(2)
    assert sorted(step.row for step in steps if step.finish) == [0, 1] and not any(step.failure for step in steps)
    assert time.monotonic() - begin < 10
    never.set()


def test_a_stream_that_closes_a_little_later_leaves_the_connection_open(connect):
    def script(number, body):
        return [*WHOLE[:-1], b"data: [DONE]\n\n", late[number]]

    late = [threading.Event() for _ in range(3)]
    connected = connect(script)
    for event in late:
        threading.Timer(0.1, event.set).start()
        assert connected.steps()[-1].finish == "length"
    assert len(connected.stub.connections) == 1


@pytest.mark.parametrize(
    ("owner", "events", "reason"),
    [
        ("me", [text("", delta={"role": "assistant"}), *PIECES, text("d", "stop")], None),
        ("me", [text(None), *PIECES, text(None, "stop")], None),
        ("me", [text("", "stop", delta={"content": "abc"})], "text in 'content'"),
        ("me", [text("", reasoning_content="so"), *PIECES, text("", "stop")], "text in 'reasoning_content'"),
        ("me", [text("", "stop"), counted(4)], "no text came, where the server counts 4"),
        ("me", [text("", "stop"), counted(1)], None),  # an end token alone
        ("me", [*PIECES, text("d", "stop"), text("d", "stop")], "goes on behind its end"),
        ("me", [*PIECES, text("", "length"), counted(2)], "a limit of its own, below the 8 tokens"),
        ("me", [*PIECES, text("", "length")], None),  # nobody knows how many that were
        ("me", [*PIECES, text("", "length"), counted(7)], None),  # and an end token
        ("vllm", [part(4), part(5, finish="length")], "after 2 tokens at a limit of its own"),
        ("vllm", [text("", "length")], "after 0 tokens at a limit of its own"),
        ("vllm", [part(4), part(5, finish="stop"), part(5, finish="stop")], "goes on behind its end"),
        ("vllm", [text("x"), text("y", "length"), counted(2)], "text and no token ids"),
        ("llamacpp", [llama(4), llama(done="limit", text="", tokens_predicted=1, truncated=True)], "limit of its own"),
    ],
)
def test_what_is_missing_in_an_answer_is_its_failure(connect, owner, events, reason):
    connected = connect(lambda n, body: sse(*events), owner=owner, pages={"/props": {}})
    last = connected.steps(limit=8)[-1]
    assert (last.finish is None) == (reason is not None)
    assert last.failure is None if reason is None else reason in last.failure


def test_thoughts_that_ollama_sets_apart_are_not_lost_in_silence(connect):
    lines = [b'{"response": "", "thinking": "hm", "done": false}\n', *LINES]
    connected = connect(lambda n, body: lines, owner="library")
    assert "text in 'thinking'" in connected.steps()[-1].failure


class Pause(threading.Event):
    """A moment between two actions of the stub."""

    def wait(self, timeout=None):
        time.sleep(0.05)


def test_comments_that_keep_a_stream_open_are_no_answer(connect):
    connected = connect(lambda n, body: [b": still here\n\n", Pause()] * 60, silence_timeout_s=0.4)
    begin = time.monotonic()
    assert "nothing came for 0.4 s" in connected.steps()[-1].failure and time.monotonic() - begin < 2
    connected = connect(lambda n, body: [b": still here\n\n", Pause(), *WHOLE], silence_timeout_s=5)
    assert connected.steps()[-1].finish == "length"


def test_a_key_that_a_stream_quotes_is_in_no_reason(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", "plain-words-of-mine")
    for script in (
        sse({"error": {"message": "no such key: plain-words-of-mine"}}),
        [b"data: plain-words-of-mine\n\n"],
        [b"<html>plain-words-of-mine</html>\n"],
        [WHOLE[0], b'data: {"plain-words-of-mine', BREAK],
    ):
        failure = connect(lambda n, body, script=script: script, api_key_env="MY_KEY").steps()[-1].failure
        assert failure and "plain-words" not in failure


def test_a_key_that_a_server_prints_before_it_dies_is_kept_nowhere(tmp_path):
    with (tmp_path / "printed").open("w+b") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            command = [sys.executable, "-c", "import sys; sys.exit('the key is plain-words-of-mine')"]
            process = ServerProcess(command, f"http://127.0.0.1:{free_port()}", "plain-words-of-mine")
            with pytest.raises(BackendError, match="the key is") as ended:
                process.wait_until_ready("/health", 30)
            process.end()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    assert "plain-words" not in str(ended.value)
    assert (tmp_path / "printed").read_text() == f"the key is {'*' * 19}\n"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_cannot_say_what_it_is_is_not_taken_for_another_kind(connect, status):
    with refused("server-error", f"HTTP {status}"):
        connect(lambda n, body: WHOLE, statuses={"/v1/models": status})
    named = connect(lambda n, body: WHOLE, statuses={"/v1/models": status}, api="vllm", served_model="tiny")
    assert named.steps()[-1].finish == "length"


def test_a_model_that_is_listed_twice_is_one(connect):
    listed = {"/v1/models": {"data": [{"id": "tiny", "owned_by": "vllm"}, {"id": "tiny"}, {"id": None}, "odd"]}}
    connected = connect(lambda n, body: WHOLE, pages=listed)
    assert connected.steps()[-1].finish == "length" and connected.stub.bodies[0]["model"] == "tiny"


def test_counters_that_do_not_come_hold_nothing_up(connect, monkeypatch):
    monkeypatch.setattr("decodebench.plugins.openai.served._METRICS_S", 0.2)
    connected = connect(lambda n, body: WHOLE)
    never = threading.Event()
    connected.stub.waits["/metrics"] = never
    begin = time.monotonic()
    assert connected.steps()[-1].finish == "length" and "client_events" in connected.backend.counters().figures()
    assert time.monotonic() - begin < 10
    never.set()
