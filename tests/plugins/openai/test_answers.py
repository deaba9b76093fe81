"""What servers have answered is read as it was meant: ids, pieces, ends, counts and the servers' own times."""

from __future__ import annotations

import json
import re

import pytest

from decodebench import ModelError
from decodebench.plugins.openai.events import EventLines

from .conftest import recorded
from .stub import sse


def replayed(name):
    return lambda number, body: [recorded(name)]


def in_pieces(name, size):
    content = recorded(name)
    return lambda number, body: [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("size", [7, 100_000])
def test_vllm_gives_ids_several_in_one_event(connect, size):
    connected = connect(in_pieces("vllm.sse", size), prefix_cache="avoid")
    *steps, last = connected.steps(stop_token_ids=(2,))
    assert [list(step.token_ids) for step in steps] == [[325], [457, 25, 220]]
    assert (last.finish, last.token_ids) == ("length", ())
    assert last.counters.figures() == {"server_prompt_tokens": 3, "server_output_tokens": 4, "server_cached_tokens": 0}
    assert connected.facts.context_length == 512 and connected.facts.settings["token_ids"] == "server"
    body = connected.stub.bodies[0]
    assert (body["prompt"], body["stop_token_ids"], body["ignore_eos"]) == ([5, 6, 7], [2], True)
    assert body["cache_salt"] and (body["top_k"], body["repetition_penalty"]) == (0, 1.0)


def test_llama_server_tells_the_size_of_its_vocabulary(connect):
    pages = {"/v1/models": recorded("llama_server_models.json")}
    connected = connect(replayed("llama_server.sse"), pages=pages)
    assert connected.facts.settings["api"] == "llama-server" and connected.facts.vocabulary_size == 512


def test_vllms_counters_grow_between_samples(connect):
    page = recorded("vllm_metrics.txt").decode()
    pages = {"/metrics": page}
    connected = connect(replayed("vllm.sse"), pages=pages)
    connected.stub.pages["/metrics"] = re.sub(
        r"(queries_total\{.*\}) (\S+)", lambda m: f"{m[1]} {float(m[2]) + 7}", page
    )
    connected.steps()
    counters = connected.backend.counters().figures()
    assert counters["server_prefix_cache_asked_tokens"] == 7 and counters["server_prefix_cache_hit_tokens"] == 0
    assert counters["client_events"] == 3 and 0 < counters["client_cpu_s"] <= counters["client_wall_s"]


@pytest.mark.parametrize("first", [None, "vllm:prefix_cache_queries_total{} soon\n", {"no": "text"}])
def test_what_counted_before_the_first_page_is_no_growth(connect, first):
    connected = connect(replayed("vllm.sse"), pages={} if first is None else {"/metrics": first})
    seen = []
    for page in ("5", "7", "x", "+Inf", "9"):
        connected.stub.pages["/metrics"] = f"vllm:prefix_cache_queries_total{{}} {page}\n"
        connected.steps()
        seen.append(connected.backend.counters().figures().get("server_prefix_cache_asked_tokens"))
    assert seen == [None, 2, None, None, None]


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("llama_cpp_python.sse", [" That", "3", "+", "3", "=", "4"], [None] * 6),
        (
            "mlx_lm.sse",
            ["That", "3", "+", "3", "=", "3"],
            [1] * 6,
        ),  # its usage counts as many tokens as there are pieces
        ("tgi.sse", [" That", "3", "+", "3", "=", "4"], [1] * 6),
        ("mlc.sse", [" That", "3", "+", "3", "=", "4"], [1] * 6),
    ],
)
def test_servers_without_ids_give_pieces_of_text(connect, name, text, counts):
    connected = connect(replayed(name), owner="me")
    *steps, last = connected.steps(prompt=(402, 309), limit=6)
    assert [step.text for step in steps] == text and [step.text_tokens for step in steps] == counts
    assert last.finish == "length" and connected.facts.settings["token_ids"] == "re-tokenised"
    assert connected.stub.bodies[0]["prompt"] == " To start"


def llama(*tokens, text="x", done=None, **more):
    return {"tokens": list(tokens), "content": text, "stop": done is not None, "stop_type": done, **more}


def test_llama_server_gives_ids_and_its_own_times(connect):
    timings = {"cache_n": 2, "prompt_ms": 12.5, "predicted_ms": 40.0, "draft_n": 6, "draft_n_accepted": 3}
    end = llama(done="limit", text="", tokens_predicted=2, tokens_evaluated=3, timings=timings)
    events = [llama(4, tokens_predicted=1), llama(5, tokens_predicted=2), end]
    connected = connect(lambda n, body: sse(*events, done=False), owner="llamacpp", pages={"/props": {}})
    *steps, last = connected.steps(limit=2)
    assert [list(step.token_ids) for step in steps] == [[4], [5]] and last.finish == "length"
    assert last.counters.figures() == {
        "server_prompt_tokens": 3, "server_output_tokens": 2, "server_cached_tokens": 2, "draft_tokens": 6,
        "accepted_draft_tokens": 3, "server_prefill_s": 0.0125, "server_decode_s": 0.04,
    }  # fmt: skip
    assert connected.stub.bodies[0]["cache_prompt"] is False


def test_a_recorded_answer_of_llama_server_is_read(connect):
    connected = connect(replayed("llama_server.sse"), owner="llamacpp", pages={"/props": {"build_info": "b1-abc"}})
    *steps, last = connected.steps()
    assert [list(step.token_ids) for step in steps] == [[25], [220], [17], [9]] and last.finish == "length"
    assert (last.counters.own["server_prompt_tokens"], last.counters.own["server_cached_tokens"]) == (3, 0)
    assert 0 < last.counters.own["server_decode_s"] < 1 and connected.backend.server.version == "b1-abc"


def test_ids_of_a_character_that_came_whole_are_found_in_its_text(connect):
    from tokenizers import Tokenizer

    from ..models import TINY

    ids = Tokenizer.from_file(str(TINY / "tokenizer.json")).encode("é", add_special_tokens=False).ids
    assert len(ids) > 1
    events = [
        llama(ids[-1], text="é", tokens_predicted=len(ids)),
        llama(done="eos", text="", tokens_predicted=len(ids)),
    ]
    connected = connect(lambda n, body: sse(*events), owner="llamacpp", pages={"/props": {}})
    assert list(connected.steps(limit=9)[0].token_ids) == ids


def test_a_documented_answer_of_sglang_is_read(connect):
    connected = connect(replayed("sglang.sse"), owner="sglang", pages={"/get_server_info": {"version": "0.5"}})
    *steps, last = connected.steps()
    assert [list(step.token_ids) for step in steps] == [[325], [457, 25, 220]] and last.finish == "length"
    assert last.counters.own == {
        "server_prompt_tokens": 3, "server_output_tokens": 4, "server_cached_tokens": 1, "server_latency_s": 0.25,
    }  # fmt: skip
    counted = last.counters.speculation_rounds, last.counters.draft_tokens, last.counters.accepted_draft_tokens
    assert counted == (2, 4, 2)
    body = connected.stub.bodies[0]
    assert body["input_ids"] == [5, 6, 7] and body["extra_key"]


@pytest.mark.parametrize("cumulative", [True, False])
def test_sglang_gives_all_ids_or_the_new_ones(connect, cumulative):
    about = {"prompt_tokens": 3, "cached_tokens": 1, "spec_verify_ct": 2, "spec_num_proposed_drafts": 5}
    second = [8, 9, 10] if cumulative else [10]
    events = [
        {"output_ids": [8, 9], "meta_info": {**about, "completion_tokens": 2, "finish_reason": None}},
        {"output_ids": second, "meta_info": {**about, "completion_tokens": 3, "finish_reason": {"type": "stop"}}},
    ]
    *steps, last = connect(lambda n, body: sse(*events), owner="sglang").steps()
    assert [list(step.token_ids) for step in steps] == [[8, 9], [10]] and last.finish == "stop"
    assert (last.counters.speculation_rounds, last.counters.draft_tokens) == (2, 5)
    assert last.counters.own["server_cached_tokens"] == 1


@pytest.mark.parametrize(("reason", "finish"), [("length", "length"), ("stop", "stop")])
def test_ollama_gives_lines_of_text_and_nanoseconds(connect, reason, finish):
    content = recorded("ollama.jsonl").replace(b'"done_reason":"length"', f'"done_reason":"{reason}"'.encode())
    content = content.replace(b'"eval_count":6', b'"eval_count":7') if reason == "stop" else content  # an end token
    connected = connect(lambda n, body: [content[:200], content[200:]], owner="library")
    *steps, last = connected.steps(prompt=(402, 309), limit=7)
    assert [(step.text, step.text_tokens) for step in steps] == [(text, 1) for text in (" That", *"3+3=4")]
    assert last.finish == finish and last.counters.own["server_prefill_s"] == pytest.approx(0.130079)
    assert (last.counters.own["server_prompt_tokens"], last.counters.own["server_decode_s"]) == (
        2,
        pytest.approx(4.23271),
    )
    body = connected.stub.bodies[0]
    assert (body["raw"], body["prompt"], body["options"]["num_predict"]) == (True, " To start", 7)


@pytest.mark.parametrize(
    ("owner", "event", "reason"),
    [
        ("library", {"response": "3+3=4", "done": True, "eval_count": 5}, "not a stream: its 5 tokens"),
        ("llamacpp", {"tokens": [4], "content": "x", "index": 1}, "of choice 1"),
        ("sglang", {"output_ids": [4], "index": 1, "meta_info": {"completion_tokens": 1}}, "of choice 1"),
    ],
)
def test_what_was_not_asked_for_is_no_answer(connect, owner, event, reason):
    lines = [f"{json.dumps(event)}\n".encode()] if owner == "library" else sse(event)
    connected = connect(lambda n, body: lines, owner=owner)
    assert reason in connected.steps(prompt=(402, 309), limit=7)[-1].failure


def test_an_event_is_read_at_its_carriage_return():
    lines = EventLines(is_event_stream=True)
    assert [list(lines.feed(data)) for data in (b'data: {"a": 1}\r', b'\ndata: {"b": 2}\r\r', b"\n")] == [
        [{"a": 1}], [{"b": 2}], []
    ]  # fmt: skip


def test_an_answer_ends_at_its_stop_token_whatever_the_server_does(connect):
    events = [llama(4), llama(2), llama(5), llama(6), llama(done="limit", text="")]
    connected = connect(lambda n, body: sse(*events), owner="llamacpp", pages={"/props": {}})
    *steps, last = connected.steps(stop_token_ids=(2,), limit=9)
    assert [list(step.token_ids) for step in steps] == [[4], [2]] and last.finish == "stop"


def test_connections_are_kept(connect):
    connected = connect(replayed("vllm.sse"))
    for _ in range(3):
        connected.steps()
    assert len(connected.stub.connections) == 1


def test_another_tokenizer_is_noticed(connect):
    pages = {"/tokenize": {"tokens": [1, 2, 3]}}
    with pytest.raises(ModelError, match="another tokenizer"):
        connect(replayed("vllm.sse"), pages=pages)
