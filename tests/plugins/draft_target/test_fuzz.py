"""Whatever reaches the server, it answers with a status and goes on: random bytes, and messages of a valid shape."""

from __future__ import annotations

import threading
from itertools import count

import grpc
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.plugins.draft_target.models.own_layers import OwnLayers
from decodebench.plugins.draft_target.proto import verification_pb2 as pb
from decodebench.plugins.draft_target.proto.verification_pb2_grpc import VerificationStub
from decodebench.plugins.draft_target.server.log import Log
from decodebench.plugins.draft_target.server.running import Listening, Running
from decodebench.plugins.draft_target.server.service import Served, TargetService

from ..models import TINY

BYTE_CASES, MESSAGE_CASES = 400, 600
PREFIX = "/decodebench.verification.v1.Verification/"
METHODS = (
    "VerifyDraft",
    "BatchVerify",
    "VerifyStream",
    "CloseSession",
    "Generate",
    "StreamInference",
    "Info",
    "Nonsense",
)
WAIT_S = 30
EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,  # what protobuf cannot parse; the service itself must give none, see below
}


class Quiet(Log):
    """Keeps the failures of the server itself, of which there must be none."""

    def __init__(self) -> None:
        super().__init__(is_verbose=False)
        self.failures: list[Exception] = []

    def event(self, name, **fields):
        pass

    def failure(self, name, error, **fields):
        self.failures.append(error)


@pytest.fixture(scope="module")
def running():
    log = Quiet()
    model = OwnLayers(TINY, torch.float32, "cpu")
    served = Served("tiny:target", TINY, "0", "float32", None, 5)
    service = TargetService(model, served, log, max_sessions=8, idle_s=300)
    server = Running(service, Listening("localhost:0", None, None, 2**20, 0.0), 8, log)
    with grpc.insecure_channel(server.address) as channel:
        yield service, channel, log
    server.stop()


def status_of(call):
    try:
        call()
    except grpc.FutureCancelledError:
        return grpc.StatusCode.CANCELLED
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def assert_serves(service, channel, log):
    """A session of our own gets its answer, and nothing went wrong inside."""
    assert log.failures == []
    stub = VerificationStub(channel)
    request = pb.VerificationRequest(session_id="ours", prefix_token_ids=[5, 6, 7])
    if len(service.sessions) == 8:  # the fuzz opened as many as there may be
        for name in list(service.sessions._open):
            stub.CloseSession(pb.CloseSessionRequest(session_id=name))
    assert stub.VerifyDraft(request, timeout=WAIT_S).next_token_id == service_answer(service)
    stub.CloseSession(pb.CloseSessionRequest(session_id="ours"))


def service_answer(service, _known={}):  # noqa: B006 - computed once
    if not _known:
        sequence = service._model.begin()
        with torch.inference_mode():
            _known["id"] = int(sequence.feed([5, 6, 7])[-1].argmax())
    return _known["id"]


@pytest.mark.nightly
@settings(max_examples=BYTE_CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(METHODS), st.binary(max_size=400))
def test_random_bytes(running, method, content):
    service, channel, log = running
    send = channel.unary_stream(PREFIX + method)
    assert status_of(lambda: list(send(content, timeout=WAIT_S))) in EXPECTED
    assert_serves(service, channel, log)


ids = st.lists(st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1)), max_size=12)
sessions = st.sampled_from(["", "a", "b", "c", "x" * 200])
numbers = st.floats(width=32)
distributions = st.builds(pb.Distribution, probabilities=st.binary(max_size=64), ids=ids)
verifications = st.builds(
    pb.VerificationRequest,
    session_id=sessions,
    prefix_start=st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    prefix_token_ids=ids,
    draft_token_ids=ids,
    draft_logprobs=st.lists(numbers, max_size=12),
    draft_distributions=st.lists(distributions, max_size=4),
    temperature=st.one_of(st.sampled_from([0.0, 1.0]), numbers),
    top_k=st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1)),
    top_p=st.one_of(st.sampled_from([0.0, 1.0, 0.5]), numbers),
    seed=st.integers(0, 2**64 - 1),
    rule=st.integers(0, 5),
)
generations = st.builds(
    pb.GenerateRequest,
    prompt=st.sampled_from(["", "How many", "\0é\U0001f600"]),
    prompt_token_ids=ids,
    max_new_tokens=st.one_of(st.integers(0, 6), st.integers(3000, 2**32 - 1)),
    temperature=st.one_of(st.sampled_from([0.0, 1.0]), numbers),
    top_p=numbers,
    stop_token_ids=ids,
)
batches = st.builds(pb.BatchVerificationRequest, requests=st.lists(verifications, max_size=4))
messages = st.one_of(
    st.tuples(st.just("VerifyDraft"), verifications),
    st.tuples(st.just("BatchVerify"), batches),
    st.tuples(st.just("VerifyStream"), st.lists(batches, max_size=3)),
    st.tuples(st.sampled_from(["Generate", "StreamInference"]), generations),
    st.tuples(st.just("CloseSession"), st.builds(pb.CloseSessionRequest, session_id=sessions)),
)


@pytest.mark.nightly
@settings(max_examples=MESSAGE_CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages, st.one_of(st.none(), st.floats(0.0001, 0.01)))
def test_random_messages_of_a_valid_shape(running, message, cancel_after):
    service, channel, log = running
    method, request = message
    stub = VerificationStub(channel)
    if method == "VerifyStream":
        answers = stub.VerifyStream(iter(request), timeout=WAIT_S)
        if cancel_after is not None:
            threading.Timer(cancel_after, answers.cancel).start()
        status = status_of(lambda: list(answers))
    elif cancel_after is not None and method != "StreamInference":
        future = getattr(stub, method).future(request, timeout=WAIT_S)
        threading.Timer(cancel_after, future.cancel).start()
        status = status_of(future.result)
    elif method == "StreamInference":
        status = status_of(lambda: list(getattr(stub, method)(request, timeout=WAIT_S)))
    else:
        status = status_of(lambda: getattr(stub, method)(request, timeout=WAIT_S))
    assert status in (EXPECTED - {grpc.StatusCode.INTERNAL}) | {grpc.StatusCode.CANCELLED}
    assert_serves(service, channel, log)


def test_out_of_order_requests_of_many_threads_end(running):
    service, channel, log = running
    stub, numbers = VerificationStub(channel), count()

    def quarrel():
        for start in (0, 3, 4, 0, 9, 4):
            request = pb.VerificationRequest(
                session_id="shared", prefix_start=start, prefix_token_ids=[5, 6, 7][: 3 if start == 0 else 0],
                draft_token_ids=[8, 9], request_id=str(next(numbers)),
            )  # fmt: skip
            statuses.append(status_of(lambda request=request: stub.VerifyDraft(request, timeout=WAIT_S)))

    statuses: list[grpc.StatusCode] = []
    threads = [threading.Thread(target=quarrel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 48
    known = {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}
    assert set(statuses) <= known | {grpc.StatusCode.INVALID_ARGUMENT}
    assert_serves(service, channel, log)
