"""What goes wrong between a client and a server becomes a failed sample with its reason: nothing hangs, none counts."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import zlib
from email.utils import formatdate

import psutil
import pytest
from pydantic import ValidationError

from decodebench import BackendError, SampleError
from decodebench.core.contract.preflight import PlannedCell
from decodebench.core.records.workload import Workload
from decodebench.plugins.openai.backend import OpenAIBackend
from decodebench.plugins.openai.options import ClientOptions
from decodebench.plugins.openai.transport import Transport

from ..models import TINY, resolve
from .stub import BREAK, sse


def part(*ids, finish=None, count=None):
    usage = {} if count is None else {"usage": {"prompt_tokens": 3, "completion_tokens": count}}
    return {"choices": [{"token_ids": list(ids), "text": "x", "finish_reason": finish}], **usage}


WHOLE = sse(part(4), part(5), part(6), part(7, finish="length"))
FIRST, *_ = WHOLE


@pytest.mark.parametrize(
    ("script", "reason", "code"),
    [
        ([FIRST, BREAK], "the connection broke", "server-lost"),
        ([FIRST, WHOLE[1][:20]], "ended inside an event", "answer-invalid"),
        ([FIRST, b"data: {not json}\n\n"], "not JSON", "answer-invalid"),
        ([FIRST, b"data: [1]\n\n"], "not an object", "answer-invalid"),
        ([FIRST, WHOLE[1]], "ended after 2 tokens and does not say why", "answer-invalid"),
        ([], "ended after 0 tokens and does not say why", "answer-invalid"),
        ([FIRST, *sse({"error": {"message": "CUDA went away"}})], "CUDA went away", "server-error"),
        ([FIRST, *WHOLE], "5 tokens came; at most 4", "answer-invalid"),  # a repeated event
        (
            sse(part(4, count=1), part(5, finish="stop", count=3)),
            "2 token ids came, where the server counts 3",
            "answer-invalid",
        ),
        (
            sse(part(4, count=1), part(4, count=1), part(5, finish="stop", count=2)),
            "where the server counts 1",
            "answer-invalid",
        ),
        ([(500, {"error": "boom"})], "HTTP 500 Internal Server Error", "server-error"),
        ([(429, "slow down", {"Retry-After": "1"})], "HTTP 429", "server-busy"),
        ([(400, {"error": {"message": "too long"}})], "too long", "server-error"),
        ([BREAK], "the connection broke", "server-lost"),
        ([{}, BREAK], "the connection broke", "server-lost"),  # between headers and body
        (
            [(307, "", {"Location": "http://127.0.0.1:9/v1/completions"})],
            "redirects to http://127.0.0.1:9/v1",
            "server-error",
        ),
        ([FIRST, b'event: error\ndata: {"message": "out of memory"}\n\n'], "out of memory", "server-error"),
        ([FIRST, b'error: {"message": "slot gone"}\n\n'], "slot gone", "server-error"),
        ([b'{"choices": [{"text": "x", "finish_reason": "stop"}]}'], "stream of events", "answer-invalid"),
        (
            [b'{"choices": [{"token_ids": [4, 5, 6, 7], "finish_reason": "length"}]}\n'],
            "not a stream of events",
            "answer-invalid",
        ),
        (
            [FIRST, b'{"choices": [{"token_ids": [5, 6, 7], "finish_reason": "length"}]}\n'],
            "not a stream of events",
            "answer-invalid",
        ),
        ([FIRST, b'{"error": {"message": "bare and gone"}}\n'], "bare and gone", "server-error"),
        (sse({"choices": [{"index": 1, "token_ids": [4]}]}), "an event is of choice 1", "answer-invalid"),
        (sse({"choices": [{"token_ids": [4]}, {"token_ids": [5]}]}), "an event has 2 choices", "answer-invalid"),
        ([b"<html>Bad gateway</html>\n"], "not JSON: <html>Bad gateway", "answer-invalid"),
        ([FIRST, b"data: " + b"[" * 100_000 + b"\n\n"], "not JSON", "answer-invalid"),
        ([{"Content-Encoding": "gzip"}, b"\x1f\x8b no gzip"], "the answer cannot be unpacked", "server-lost"),
        (sse(part("x"), part(7, finish="length")), "token ids that are none: ['x']", "answer-invalid"),
        (sse(part(-1), part(7, finish="length")), "token ids that are none: [-1]", "answer-invalid"),
    ],
)
def test_a_fault_is_the_samples_reason_and_the_next_sample_is_whole(connect, script, reason, code):
    connected = connect(lambda number, body: script if number == 0 else WHOLE)
    last = connected.steps()[-1]
    assert reason in last.failure and (last.failure_code, last.finish) == (code, None)
    steps = connected.steps()
    assert [token for step in steps for token in step.token_ids] == [4, 5, 6, 7]
    assert steps[-1].finish == "length" and steps[-1].failure is None


def packed(*pieces):
    """Return what a server sends that packs its answer, whether or not it was asked to."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces] + [packer.flush()]


STREAM = b"".join(WHOLE)
USAGE = {"choices": [], "usage": {"prompt_tokens": float("nan"), "completion_tokens": 4, "total": 10**400}}
ODD = {"error": False, "choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": True}}


@pytest.mark.parametrize(
    "script",
    [
        [b": ping\r\nretry: 5\r\nid: 1\r\nevent: message\r\n", STREAM.replace(b"\n", b"\r\n")],
        [STREAM.replace(b"\n", b"\r")],
        [piece for line in STREAM.split(b"\n") for piece in (line, b"\r", b"\n") if piece],
        [STREAM.replace(b"\n", b"\r\n")[at : at + 1] for at in range(len(STREAM.replace(b"\n", b"\r\n")))],
        [STREAM.replace(b"data: ", b"data:")],
        [STREAM.replace(b'"choices":', b'\ndata: "choices":\ndata:')],
        [STREAM.replace(b"\n\n", b"\n")],
        [b"\xef\xbb\xbf" + STREAM],
        [STREAM[at : at + 1] for at in range(len(STREAM))],
        [{"Content-Encoding": "gzip"}, *packed(*WHOLE)],
        [*WHOLE[:-1], *sse(USAGE, ODD), b"data:\n\n", *sse({"choices": None}, {"choices": [None]}, {})],
    ],
    ids=[
        "CRLF",
        "CR",
        "CRLF in two",
        "single bytes of CRLF",
        "no space",
        "several lines",
        "no empty lines",
        "BOM",
        "single bytes",
        "gzip",
        "empty choices",
    ],
)
def test_a_stream_in_another_manner_is_the_same_answer(connect, script):
    *steps, last = connect(lambda number, body: list(script)).steps()
    assert [list(step.token_ids) for step in steps] == [[4], [5], [6], [7]]
    assert (last.finish, last.failure) == ("length", None)
    assert last.counters.own in ({}, {"server_output_tokens": 4})


def test_a_character_may_come_in_halves(connect):
    """Cut within its bytes, as two events, or as two halves of a surrogate pair."""
    event = {"choices": [{"text": "😀é", "finish_reason": "stop"}]}
    whole = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    pieces = [whole[at : at + 1] for at in range(len(whole))]
    halves = b"".join(sse({"choices": [{"text": "x", "finish_reason": None}]}, event)).replace(b'"x"', b'"\\ud83d"')
    halves = halves.replace(b"\\ud83d\\ude00", b"\\ude00")
    for script in (pieces, [halves]):
        *steps, last = connect(lambda n, body, script=script: script, owner="me").steps()
        assert "".join(step.text for step in steps) == "😀é" and last.finish == "stop"


def test_an_answer_without_usage_is_whole_and_has_no_figures(connect):
    assert connect(lambda number, body: WHOLE).steps()[-1].counters.figures() == {}


def test_a_server_that_falls_silent_fails_one_request_of_a_batch(connect):
    never = threading.Event()
    connected = connect(lambda n, body: [FIRST, never] if body["prompt"][-1] == 8 else WHOLE, silence_timeout_s=0.3)
    steps = connected.batch(3)
    never.set()
    ends = {step.row: step for step in steps if step.finish or step.failure}
    assert [ends[row].finish for row in (0, 2)] == ["length", "length"]
    assert "nothing came for 0.3 s" in ends[1].failure


def test_a_server_at_random_answers_each_request_once(connect):
    connected = connect(lambda n, body: [(500, {})] if n % 3 == 1 else WHOLE)
    for _ in range(2):
        steps = connected.batch(8)
        ends = [step.row for step in steps if step.finish or step.failure]
        assert sorted(ends) == list(range(8))
        tokens = {row: sum(len(step.token_ids) for step in steps if step.row == row) for row in range(8)}
        failed = {step.row for step in steps if step.failure}
        assert all(tokens[row] == (0 if row in failed else 4) for row in range(8)) and failed


def test_refusals_for_now_are_tried_again_where_that_is_wanted(connect):
    refusal = (429, "later", {"Retry-After": "0"})
    connected = connect(lambda n, body: [refusal] if n < 2 else WHOLE, retries=2)
    assert connected.steps()[-1].counters.own == {"failed_attempts": 2}
    assert len(connected.stub.bodies) == 3
    connected = connect(lambda n, body: [(429, "later", {"Retry-After": "86400"})], retries=2)
    assert "HTTP 429" in connected.steps()[-1].failure and len(connected.stub.bodies) == 1  # a day is not waited for


def test_a_date_to_come_back_at_is_kept(connect):
    later = formatdate(time.time() + 86400, usegmt=True)
    connected = connect(lambda n, body: [(503, "later", {"Retry-After": later})], retries=2)
    assert "HTTP 503" in connected.steps()[-1].failure and len(connected.stub.bodies) == 1  # a day is not waited for
    soon = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
    connected = connect(lambda n, body: [(503, "soon", soon)] if n == 0 else WHOLE, retries=1)
    begin = time.monotonic()
    assert connected.steps()[-1].finish == "length" and time.monotonic() - begin > 0.9  # a date has whole seconds


def test_a_request_that_broke_off_is_never_sent_again(connect):
    connected = connect(lambda n, body: [FIRST, BREAK], retries=3)
    assert "broke" in connected.steps()[-1].failure and len(connected.stub.bodies) == 1


def test_a_connection_that_is_closed_between_requests_is_opened_anew(connect):
    connected = connect(lambda n, body: [*WHOLE, b"", BREAK])  # the end of the answer, and of the connection
    for _ in range(3):
        assert connected.steps()[-1].finish == "length"
        connected.stub.wait_until_closed()
    assert len(connected.stub.bodies) == 3


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_server_that_never_reads_a_request_is_given_up():
    async def asked(deaf):
        address = deaf.getsockname()
        transport = Transport(f"http://127.0.0.1:{address[1]}", ClientOptions(silence_timeout_s=0.2))
        try:
            await transport.stream("/v1/completions", {"prompt": "x" * 2**25}, print)
        finally:
            await transport.close()
            deaf.close()  # until then the client's socket keeps what was not read
            while any(one.raddr == address for one in psutil.Process().net_connections("tcp")):
                await asyncio.sleep(0.01)

    with pytest.raises(SampleError, match="nothing came"):
        asyncio.run(asked(socket.create_server(("127.0.0.1", 0))))


def test_a_dead_server_fails_samples_and_its_counters_are_empty(connect):
    connected = connect(lambda n, body: [(500, {})])
    connected.stub.__exit__()
    assert connected.stub.url in connected.steps()[-1].failure
    assert "server_preemptions" not in connected.backend.counters().figures()


def test_closing_early_leaves_a_usable_client(connect):
    never = threading.Event()
    connected = connect(lambda n, body: [FIRST, never] if n == 0 else WHOLE)
    from decodebench import Request

    steps = connected.backend.generate([Request((5, 6, 7), 4)])
    assert list(next(steps).token_ids) == [4]
    steps.close()
    assert [token for step in connected.steps() for token in step.token_ids] == [4, 5, 6, 7]
    never.set()


def test_keys_come_from_the_environment_and_are_in_no_reason(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    connected = connect(lambda n, body: [(401, {"error": "bad key sk-very-secret"})], api_key_env="MY_KEY")
    failure = connected.steps()[-1].failure
    assert "401" in failure and "sk-very" not in failure
    assert connected.stub.headers[0]["Authorization"] == "Bearer sk-very-secret"
    with pytest.raises(BackendError, match="NO_SUCH_KEY"):
        connect(lambda n, body: WHOLE, api_key_env="NO_SUCH_KEY")
    monkeypatch.setenv("MY_KEY", "sk-very-secret\n")
    with pytest.raises(BackendError, match="line break") as refused:
        connect(lambda n, body: WHOLE, api_key_env="MY_KEY")
    assert "sk-very" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host"},
        {"url": "http://user:pass@host"},
        {"url": "http://host/?key=1"},
        {"url": "http://far.example.com", "api_key_env": "K"},
        {"extra_body": {"apiKey": "x"}},
        {"extra_body": {"headers": {"authorization": "Bearer x"}}},
        {"extra_body": '{"min_p": '},
        {"api": "nonsense"},
        {"api_key_env": "not a name"},
    ],
)
def test_options_refuse_what_would_be_recorded_or_sent_in_the_clear(options):
    with pytest.raises(ValidationError):
        OpenAIBackend.Options(**options)
    assert (
        json.loads(OpenAIBackend.Options(url="http://localhost:1/v1/").model_dump_json())["url"] == "http://localhost:1"
    )


def test_what_an_api_has_no_field_for_fails_unless_it_is_named(connect):
    ended = sse({"choices": [{"text": "x", "finish_reason": "stop"}]})
    connected = connect(lambda n, body: ended, owner="me")
    assert "ignore_eos" in connected.steps(ignore_eos=True)[-1].failure
    assert "top_k = 4" in connected.steps(top_k=4)[-1].failure and len(connected.stub.bodies) == 1
    connected = connect(lambda n, body: ended, owner="me", extra_body={"top_k": 4})
    assert connected.steps(top_k=4)[-1].finish == "stop" and connected.stub.bodies[0]["top_k"] == 4
    assert "top_k = 5" in connected.steps(top_k=5)[-1].failure


def test_further_fields_are_sent_as_a_flag_gives_them(connect):
    connected = connect(lambda n, body: WHOLE, extra_body='{"typical_p": 0.1, "allowed_token_ids": [4]}')
    connected.steps()
    body = connected.stub.bodies[0]
    assert (body["typical_p"], body["allowed_token_ids"]) == (0.1, [4])


@pytest.mark.parametrize(
    ("owner", "extra", "named"),
    [
        ("me", {"temperature": 1.0}, "temperature"),
        ("me", {"max_completion_tokens": 9, "logprobs": 1}, "max_completion_tokens"),
        ("me", {"n": 2, "best_of": 2}, "n, best_of"),
        ("me", {"options": {"num_predict": 1}}, "options.num_predict"),
        ("vllm", {"min_p": 0.1}, "min_p"),
        ("vllm", {"stream_options": {"include_usage": False}}, "stream_options.include_usage"),
        ("llamacpp", {"samplers": ["top_k"]}, "samplers"),
        ("sglang", {"sampling_params": {"n": 2, "stop": "x"}}, "sampling_params.n, sampling_params.stop"),
        ("sglang", {"sampling_params": None}, "sampling_params"),
        ("library", {"options": {"temperature": 1.0, "num_ctx": 9}}, "options.temperature"),
        ("library", {"Prompt": "x"}, "Prompt"),
    ],
)
def test_further_fields_may_not_change_the_workload(connect, owner, extra, named):
    apis = {"me": "completions", "vllm": "vllm", "llamacpp": "llama-server", "sglang": "sglang", "library": "ollama"}
    with pytest.raises(BackendError, match=f"extra_body may not have {named}:"):
        connect(lambda n, body: WHOLE, owner=owner, extra_body=extra)
    options = OpenAIBackend.Options(url="http://127.0.0.1:9", api=apis[owner], extra_body=extra)
    (fault,) = OpenAIBackend.preflight(PlannedCell(resolve(TINY), "served", "unknown", options, Workload())).errors
    assert f"may not have {named}:" in fault


@pytest.mark.parametrize(
    ("owner", "place", "field"),
    [("library", "options", {"num_ctx": 99}), ("sglang", "sampling_params", {"min_new_tokens": 1})],
)
def test_further_fields_of_an_object_are_beside_its_own(connect, owner, place, field):
    connected = connect(lambda n, body: [(500, {})], owner=owner, extra_body={place: field})
    connected.steps(limit=7)
    (body,) = connected.stub.bodies
    assert body[place].items() >= field.items() and body[place]["temperature"] == 0
    assert 7 in body[place].values()


def test_a_server_that_is_not_there_or_not_named_is_an_error(connect):
    cell = PlannedCell(resolve(TINY), "served", "unknown", OpenAIBackend.Options(), Workload())
    assert "openai.url" in OpenAIBackend.preflight(cell).errors[0]
    listed = {"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}}
    with pytest.raises(BackendError, match="set served_model to one of a, b"):
        connect(lambda n, body: WHOLE, pages=listed)
