"""The verification server as a process of its own: the same outputs as embedded, and what it refuses."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from decodebench.core.errors import BackendError, SampleError, UsageError
from decodebench.plugins.draft_target.proto import verification_pb2 as pb
from decodebench.plugins.draft_target.proto.verification_pb2_grpc import VerificationStub
from decodebench.plugins.reference.family import END_ID

from ...at_night import a_few
from ...refusals import refused
from .serving import Cuttable

Code = grpc.StatusCode
WAYS = [
    {"num_draft_tokens": 1},
    {"num_draft_tokens": 4},
    {"num_draft_tokens": 8},
    {"adaptive": True, "optimistic": True},
    {"num_candidates": 3},
    {"drafter": "prompt-lookup"},
    {"num_draft_tokens": 0},
]
SAMPLED = [{}, {"optimistic": True}, {"num_candidates": 2}, {"rule": "probabilistic-approx"}]


def named(way):
    return ",".join(f"{key}={value}" for key, value in way.items()) or "default"


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.address) as channel:
        yield VerificationStub(channel)


def asked(session=None, prefix=(5, 6, 7), start=0, draft=(), **fields):
    return pb.VerificationRequest(
        session_id=session or uuid.uuid4().hex,
        prefix_start=start,
        prefix_token_ids=prefix,
        draft_token_ids=draft,
        **fields,
    )


def code_of(call, request, **how):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **how)
    return caught.value.code()


@pytest.mark.parametrize("way", a_few(2, WAYS), ids=named)
def test_the_output_is_the_targets_greedy_one(tiny, server, way):
    backend = tiny.backend(server=server.address, **way)
    for prompt in tiny.prompts[:4]:
        steps = tiny.steps(backend, prompt)
        tiny.assert_greedy(prompt, [token for step in steps for token in step.token_ids])
        assert all(step.wire_s >= 0 and step.verify_s > 0 for step in steps)
    backend.close()


@pytest.mark.parametrize("way", a_few(1, SAMPLED), ids=named)
def test_draws_are_the_same_on_either_side_of_the_wire(tiny, server, way):
    near, far = tiny.backend(**way), tiny.backend(server=server.address, **way)
    for sampling in ({"temperature": 0.9}, {"temperature": 1.2, "top_k": 20, "top_p": 0.9}):
        for prompt in tiny.prompts[:2]:
            assert tiny.output(near, prompt, **sampling, seed=5) == tiny.output(far, prompt, **sampling, seed=5)
    far.close()


@pytest.mark.parametrize(
    "way", a_few(1, [{"optimistic": True, "adaptive": True}, {}, {"num_candidates": 2}]), ids=named
)
def test_a_connection_that_is_cut_at_random_costs_time_and_no_token(tiny, server, way):
    relay = Cuttable(server.address)
    backend = tiny.backend(server=relay.address, reconnects=8, **way)
    stopped, rng = threading.Event(), random.Random(3)

    def cut_now_and_then():
        while relay.cuts < 20 and not stopped.wait(rng.uniform(0.02, 0.25)):
            relay.cut()

    cutter = threading.Thread(target=cut_now_and_then)
    cutter.start()
    reconnects = 0
    for prompt in itertools.cycle(tiny.prompts[:6]):
        steps = tiny.steps(backend, prompt)
        tiny.assert_greedy(prompt, [token for step in steps for token in step.token_ids])
        reconnects += sum((step.trace or {}).get("reconnects", 0) for step in steps)
        if relay.cuts == 20:
            break
    stopped.set()
    cutter.join()
    backend.close()
    relay.close()
    assert reconnects > 0


@pytest.mark.nightly
def test_a_forgotten_session_is_sent_again(tiny, serve):
    forgetful = serve("-m", "tiny:target", "--threads", 1, "--idle-timeout", 0.2)
    backend = tiny.backend(server=forgetful.address)
    prompt = tiny.prompts[0]
    output, resent = [], 0
    for number, step in enumerate(backend.generate([tiny.request(prompt)])):
        output += step.token_ids
        resent += (step.trace or {}).get("resent_tokens", 0)
        if number == 2:
            forgetful.wait_for("session expired")
    tiny.assert_greedy(prompt, output)
    assert resent > len(prompt)
    backend.close()


@pytest.mark.nightly
def test_kill_9_gives_one_clear_error_and_a_restarted_server_serves_again(tiny, serve):
    mortal = serve("-m", "tiny:target", "--threads", 1)
    backend = tiny.backend(server=mortal.address, reconnects=2)
    stream = backend.generate([tiny.request(tiny.prompts[0])])
    next(stream)
    mortal.kill()
    with pytest.raises(SampleError, match=f"target server {mortal.address}: unavailable"):
        list(stream)
    mortal.restart()
    tiny.assert_greedy(tiny.prompts[1], tiny.output(backend, tiny.prompts[1]))
    backend.close()


@pytest.mark.nightly
def test_a_killed_server_is_a_failed_sample_of_the_run(cli, serve, tmp_path):
    mortal = serve("-m", "tiny:target", "--threads", 1)
    run = ["run", "-b", "draft-target", "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 40, "--rounds", 1]
    run += ["--set", f"server={mortal.address}", "--set", "reconnects=1", "--set", "n_threads=1", "-o", tmp_path]
    running = cli.start(*run, "--show-log")
    for line in running.stderr:
        if line.startswith("question 3:"):
            mortal.kill()
            break
    _, rest = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "samples failed: target server" in rest
    assert "Traceback" not in rest
    counts = dict(cli("query", "SELECT status, count(*) FROM samples GROUP BY status", tmp_path, "--json").rows)
    assert counts["ok"] >= 3
    assert counts["failed"] >= 1
    assert counts["ok"] + counts["failed"] == 41  # warm-up included


def test_requests_that_cannot_be_are_refused_and_hurt_nobody(stub):
    good = asked("good", (5, 6, 7))
    first = stub.VerifyDraft(good)
    vocabulary = stub.Info(pb.InfoRequest()).vocabulary_size
    row = pb.Distribution(probabilities=b"\0\0\0\0" * 7)
    half = pb.Distribution(probabilities=b"\0\0\0\x3f", ids=[5])
    refused = {
        "no prompt": (asked(prefix=()), Code.INVALID_ARGUMENT),
        "prefix outside the vocabulary": (asked(prefix=(vocabulary,)), Code.INVALID_ARGUMENT),
        "draft outside the vocabulary": (asked(draft=(2**31,)), Code.INVALID_ARGUMENT),
        "no session": (pb.VerificationRequest(prefix_token_ids=[5]), Code.INVALID_ARGUMENT),
        "a name without end": (asked("x" * 129), Code.INVALID_ARGUMENT),
        "unknown session": (asked("never seen", start=3), Code.NOT_FOUND),
        "a gap in the prefix": (asked("good", (8,), start=9), Code.FAILED_PRECONDITION),
        "beyond the context": (asked(prefix=[5] * 2048), Code.OUT_OF_RANGE),
        "negative temperature": (asked(temperature=-1.0), Code.INVALID_ARGUMENT),
        "no number": (asked(temperature=float("nan")), Code.INVALID_ARGUMENT),
        "top_p beyond 1": (asked(temperature=1.0, top_p=1.5), Code.INVALID_ARGUMENT),
        "unknown rule": (asked(rule=17), Code.INVALID_ARGUMENT),
        "a rule that does not go with the temperature": (asked(rule=pb.RULE_PROBABILISTIC), Code.INVALID_ARGUMENT),
        "too few distributions": (
            asked(draft=(5, 6), temperature=1.0, draft_distributions=[row]),
            Code.INVALID_ARGUMENT,
        ),
        "a draft that was not drawn": (
            asked(draft=(5,), temperature=1.0, draft_distributions=[row]),
            Code.INVALID_ARGUMENT,
        ),
        "drafts beyond all measure": (asked(draft=[5] * 600), Code.OUT_OF_RANGE),
        "a distribution without its tail": (
            asked(draft=(5,), temperature=1.0, draft_distributions=[half]),
            Code.INVALID_ARGUMENT,
        ),
        "a log-probability of nothing": (
            asked(draft=(5,), temperature=1.0, draft_logprobs=[-1000.0], rule=pb.RULE_PROBABILISTIC_APPROX),
            Code.INVALID_ARGUMENT,
        ),
        "a temperature of nearly nothing": (asked(temperature=1e-30), Code.INVALID_ARGUMENT),
        "half a float": (
            asked(draft=(5,), temperature=1.0, draft_distributions=[pb.Distribution(probabilities=b"123")]),
            Code.INVALID_ARGUMENT,
        ),
    }
    for name, (request, code) in refused.items():
        assert code_of(stub.VerifyDraft, request) == code, name
    unlike = pb.BatchVerificationRequest(requests=[asked("two", draft=(5,)), asked("two", draft=(5, 6))])
    assert code_of(stub.BatchVerify, unlike) == Code.INVALID_ARGUMENT
    again = stub.VerifyDraft(asked("good", (5, 6, 7)))
    assert again.next_token_id == first.next_token_id
    onward = stub.VerifyDraft(asked("good", (), start=4, draft=(first.next_token_id, 9)))
    assert len(onward.acceptance_mask) >= 1
    stub.CloseSession(pb.CloseSessionRequest(session_id="good"))
    stub.CloseSession(pb.CloseSessionRequest(session_id="good"))


def test_a_response_tells_what_the_protocol_says(stub, tiny):
    prompt, greedy = tiny.prompts[0], tiny.alone(tiny.prompts[0])
    opened = stub.VerifyDraft(asked("told", prompt))
    assert (opened.next_token_id, opened.has_bonus, list(opened.acceptance_mask)) == (greedy[0], True, [])
    assert not opened.HasField("acceptance_rate")
    draft = (*greedy[1:4], (greedy[4] + 1) % 100, 5)
    found = stub.VerifyDraft(asked("told", (), start=len(prompt) + 1, draft=draft, request_id="r2"))
    assert (found.request_id, found.session_id, found.num_accepted_tokens) == ("r2", "told", 3)
    assert list(found.acceptance_mask) == [True] * 3 + [False]
    assert list(found.corrected_token_ids) == [found.next_token_id] == [greedy[4]]
    assert found.corrected_logprobs[0] == found.next_token_logprob <= 0
    assert not found.has_bonus
    assert found.acceptance_rate == pytest.approx(0.6)
    assert found.verification_time_ms > 0
    rewound = stub.VerifyDraft(asked("told", (), start=len(prompt) + 1, draft=draft))
    assert rewound.next_token_id == found.next_token_id  # a repeated request is answered alike


def test_a_batch_of_sessions_and_of_candidates(stub, tiny):
    prompts = tiny.prompts[:2]
    greedy = [tiny.alone(prompt) for prompt in prompts]
    requests = [asked(f"b{i}", prompt) for i, prompt in enumerate(prompts)]
    opened = stub.BatchVerify(pb.BatchVerificationRequest(requests=requests))
    assert [response.next_token_id for response in opened.responses] == [ids[0] for ids in greedy]
    wrong, right = (9, 9, 9), tuple(greedy[0][1:4])
    start = len(prompts[0]) + 1
    candidates = [asked("b0", (), start=start, draft=draft) for draft in (wrong, right, right)]
    other = asked("b1", (), start=len(prompts[1]) + 1, draft=tuple(greedy[1][1:3]))
    found = stub.BatchVerify(pb.BatchVerificationRequest(requests=[*candidates, other])).responses
    assert [response.is_chosen for response in found] == [False, True, False, True]
    assert (found[1].num_accepted_tokens, found[1].next_token_id) == (3, greedy[0][4])
    assert found[3].num_accepted_tokens == 2


def test_generate_and_stream_give_the_same_text(stub, tiny):
    prompt = tiny.prompts[3]
    request = pb.GenerateRequest(request_id="g", prompt_token_ids=prompt, max_new_tokens=96)
    whole = stub.Generate(request)
    tiny.assert_greedy(prompt, list(whole.token_ids))
    assert whole.metrics.total_tokens == len(whole.token_ids)
    assert not whole.metrics.HasField("acceptance_rate")
    chunks = list(stub.StreamInference(request))
    assert [token for chunk in chunks for token in chunk.token_ids] == list(whole.token_ids)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.is_final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    metrics = chunks[-1].metrics
    assert metrics.speculation_rounds == len(chunks) - 2  # the first chunk is the prefill's
    assert 0 < metrics.draft_tokens_accepted <= metrics.draft_tokens_generated
    by_text = stub.Generate(pb.GenerateRequest(prompt="How many", max_new_tokens=3, ignore_eos=True))
    assert len(by_text.token_ids) == 3
    for bad in (pb.GenerateRequest(max_new_tokens=3), pb.GenerateRequest(prompt="x"), None):
        bad = bad or pb.GenerateRequest(prompt="x", prompt_token_ids=[5], max_new_tokens=1)
        assert code_of(stub.Generate, bad) == Code.INVALID_ARGUMENT
    assert END_ID == whole.token_ids[-1]


def test_deadlines_and_cancels(stub, server):
    server.freeze()  # else it may have answered before the deadline was looked at
    try:
        assert code_of(stub.VerifyDraft, asked(), timeout=0.1) == Code.DEADLINE_EXCEEDED
    finally:
        server.signal(signal.SIGCONT)
    call = stub.StreamInference(pb.GenerateRequest(prompt="How many", max_new_tokens=1500, ignore_eos=True))
    next(call)
    call.cancel()
    assert stub.VerifyDraft(asked("after")).next_token_id >= 0


@pytest.mark.nightly
def test_a_server_that_hangs_is_given_up_at_the_deadline(tiny, serve):
    hanging = serve("-m", "tiny:target", "--threads", 1)
    for is_optimistic in (False, True):
        backend = tiny.backend(server=hanging.address, deadline_s=1, optimistic=is_optimistic)
        stream = backend.generate([tiny.request(tiny.prompts[0])])
        next(stream)
        hanging.freeze()
        began = time.monotonic()
        with pytest.raises(SampleError, match="deadline exceeded: no answer within 1 s"):
            list(stream)
        assert time.monotonic() - began < 5  # one second for the answer, two to close the session
        hanging.signal(signal.SIGCONT)
        tiny.assert_greedy(tiny.prompts[1], tiny.output(backend, tiny.prompts[1]))
        backend.close()


def test_a_stream_answers_each_request_and_a_refusal_ends_it(stub):
    rounds = [asked("streamed", draft=(8, 9)), asked("streamed", (10,), start=3)]
    alone = [stub.VerifyDraft(request) for request in rounds]
    stub.CloseSession(pb.CloseSessionRequest(session_id="streamed"))
    batches = [pb.BatchVerificationRequest(requests=[request]) for request in rounds]
    refused = pb.BatchVerificationRequest(requests=[asked("streamed", start=77)])
    answers = stub.VerifyStream(iter([*batches, refused]))
    for expected in alone:
        assert next(answers).responses[0].next_token_id == expected.next_token_id
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() == Code.FAILED_PRECONDITION
    assert stub.VerifyDraft(asked("streamed", (11,), start=4)).next_token_id >= 0


@pytest.mark.nightly
def test_streams_have_a_limit_and_idle_ones_are_ended(serve):
    small = serve("-m", "tiny:target", "--threads", 1, "--max-sessions", 2, "--idle-timeout", 2)
    end = threading.Event()

    def quiet(name):
        yield pb.BatchVerificationRequest(requests=[asked(name)])
        end.wait(60)

    with grpc.insecure_channel(small.address) as channel:
        stub = VerificationStub(channel)
        streams = [stub.VerifyStream(quiet(name)) for name in ("one", "two")]
        for stream in streams:
            next(stream)
        third = pb.BatchVerificationRequest(requests=[asked("one", (8,), start=3)])
        assert code_of(lambda batch: next(stub.VerifyStream(iter([batch]))), third) == Code.RESOURCE_EXHAUSTED
        for stream in streams:
            assert code_of(lambda _, stream=stream: next(stream), None) == Code.CANCELLED
        end.set()
        assert next(stub.VerifyStream(quiet("three"))).responses


@pytest.mark.nightly
def test_limits_of_sessions_and_messages(serve):
    small = serve("-m", "tiny:target", "--threads", 1, "--max-sessions", 2, "--max-message", "4K")
    with grpc.insecure_channel(small.address) as channel:
        stub = VerificationStub(channel)
        for name in ("one", "two"):
            stub.VerifyDraft(asked(name))
        assert code_of(stub.VerifyDraft, asked("three")) == Code.RESOURCE_EXHAUSTED
        stub.VerifyDraft(asked("one", (8,), start=4))
        stub.CloseSession(pb.CloseSessionRequest(session_id="one"))
        stub.VerifyDraft(asked("three"))
        assert code_of(stub.VerifyDraft, asked("two", request_id="x" * 8192)) == Code.RESOURCE_EXHAUSTED
        stub.VerifyDraft(asked("two", (8,), start=4))


def test_a_signal_lets_open_sessions_end_and_opens_none(serve):
    ending = serve("-m", "tiny:target", "--threads", 1, "--drain-timeout", 20)
    with grpc.insecure_channel(ending.address) as channel:
        stub, health = VerificationStub(channel), health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service="decodebench.verification.v1.Verification")
        assert health.Check(check).status == health_pb2.HealthCheckResponse.SERVING
        stub.VerifyDraft(asked("open"))
        ending.signal(signal.SIGTERM)
        states = (answer.status for answer in health.Watch(check, timeout=20))
        assert next(state for state in states if state != health_pb2.HealthCheckResponse.SERVING)
        assert code_of(stub.VerifyDraft, asked("new")) == Code.UNAVAILABLE
        assert stub.VerifyDraft(asked("open", (8,), start=4)).next_token_id >= 0
        stub.CloseSession(pb.CloseSessionRequest(session_id="open"))
    assert ending.wait() == 0
    assert ending.events("stopped")[0]["cut_sessions"] == 0


@pytest.mark.nightly
def test_a_generation_on_the_server_takes_a_place(serve):
    narrow = serve("-m", "tiny:target", "--threads", 1, "--max-sessions", 1)
    long = pb.GenerateRequest(prompt="How many", max_new_tokens=1500, ignore_eos=True)
    with grpc.insecure_channel(narrow.address) as channel:
        stub = VerificationStub(channel)
        stream = stub.StreamInference(long)
        next(stream)
        assert code_of(stub.Generate, long) == Code.RESOURCE_EXHAUSTED
        assert code_of(stub.VerifyDraft, asked()) == Code.RESOURCE_EXHAUSTED
        assert stub.Info(pb.InfoRequest(), timeout=10).open_sessions == 1
        stream.cancel()


@pytest.mark.nightly
def test_a_second_signal_does_not_wait(serve):
    busy = serve("-m", "tiny:target", "--threads", 1, "--drain-timeout", 120)
    with grpc.insecure_channel(busy.address) as channel:
        VerificationStub(channel).VerifyDraft(asked("open"))
        busy.signal(signal.SIGTERM)
        busy.wait_for("draining")
        busy.signal(signal.SIGTERM)
        assert busy.wait(timeout=20) == 0


@pytest.mark.nightly
def test_another_model_is_refused_by_both_names(tiny, serve):
    other = serve("-m", "tiny:draft", "--threads", 1)
    with refused("model-mismatch", "'tiny:draft'", "'tiny:target'"):
        tiny.backend(server=other.address)


@pytest.mark.nightly
def test_no_server_is_said(tiny):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BackendError, match=r"no verification server answers at .*serve-target"):
        tiny.backend(server=f"localhost:{port}")


def made_certificate(folder):
    """Return a key and a certificate of localhost, signed by itself."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


@pytest.mark.nightly
def test_tokens_and_tls(tiny, serve, tmp_path):
    key, certificate = made_certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    closed = serve(
        "-m", "tiny:target", "--threads", 1, "--tls-cert", certificate, "--tls-key", key, "--auth-token-file", token
    )
    port = closed.address.rpartition(":")[2]
    known = {"server": f"localhost:{port}", "tls_ca": str(certificate)}
    backend = tiny.backend(**known, auth_token_file=str(token))
    tiny.assert_greedy(tiny.prompts[0], tiny.output(backend, tiny.prompts[0]))
    backend.close()
    with pytest.raises(BackendError, match="auth_token_file"):
        tiny.backend(**known)
    with pytest.raises(BackendError, match="no verification server answers.*speaks TLS: .*tls_ca"):
        tiny.backend(server=known["server"], auth_token_file=str(token))
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(known["server"], credentials) as channel:
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status
        assert status == health_pb2.HealthCheckResponse.SERVING  # load balancers have no token


@pytest.mark.nightly
def test_a_client_with_tls_says_that_a_server_has_none(tiny, server, tmp_path):
    _, certificate = made_certificate(tmp_path)
    with pytest.raises(BackendError, match="it speaks no TLS"):
        tiny.backend(server=server.address, tls_ca=str(certificate))


@pytest.mark.parametrize("server", ["example.org:50051", "10.0.0.7:50051", "[2001:db8::1]:50051", "localhost.evil:1"])
def test_without_tls_no_token_leaves_the_machine(cli, tiny, tmp_path, server):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with pytest.raises(UsageError, match="without TLS"):
        tiny.backend(server=server, auth_token_file=str(token))
    sets = (f"draft-target.server={server}", f"draft-target.auth_token_file={token}")
    flags = [flag for each in sets for flag in ("--set", each)]
    result = cli("run", "-b", "draft-target", "-m", "tiny:target", "-o", tmp_path / "out", *flags)
    assert result.code == 2 and "without TLS" in result.err


def test_a_prompt_beyond_the_context_is_refused_before_it_is_tokenised(stub, server):
    before = psutil.Process(server.process.pid).memory_info().rss
    for prompt in ({"prompt": "a b " * 4_000_000}, {"prompt_token_ids": [1] * 3_000_000}):
        start = time.perf_counter()
        request = pb.GenerateRequest(max_new_tokens=1, **prompt)
        assert code_of(stub.Generate, request, timeout=60) is Code.INVALID_ARGUMENT
        assert time.perf_counter() - start < 20
    assert psutil.Process(server.process.pid).memory_info().rss - before < 300 * 10**6


@pytest.mark.parametrize(
    ("flags", "words"),
    a_few(
        4,
        [
            (["--address", "0.0.0.0:0"], "--insecure"),
            (["--address", "[::]:0"], "--insecure"),
            (["--address", "nonsense"], "'nonsense'"),
            (["--tls-cert", "x.pem"], "go together"),
            (["--tls-cert", "x.pem", "--tls-key", "y.pem"], "--tls-key y.pem"),
            (["--auth-token-file", "missing"], "auth token file missing"),
            (["--device", "cuda:9"], "device"),
            (["-m", "tiny:targett"], "tiny:target"),
            (["--threads", "0"], "--threads"),
        ],
    ),
)
def test_bad_flags_are_refused_in_a_line_or_two(cli, flags, words):
    ended = cli("serve-target", "-m", "tiny:target", *flags)
    assert ended.code in (1, 2)
    assert words in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.nightly
def test_a_taken_address_is_said(cli, server):
    ended = cli("serve-target", "-m", "tiny:target", "--address", server.address)
    assert ended.code == 1
    assert "cannot listen" in ended.err


def test_the_python_of_the_page_asks_a_server(server, capsys):
    page = Path(__file__).parents[3] / "docs" / "draft_target.md"
    code = page.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    exec(compile(code.replace("localhost:50051", server.address), str(page), "exec"), {})
    assert capsys.readouterr().out.strip()
