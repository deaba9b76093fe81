"""A target behind a connection, which may break: what was committed is sent again, and counted."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any

import grpc

from ... import BackendError, ModelError, SampleError, UsageError
from ...core.contract.generation import Request
from ...core.contract.model import ResolvedModel
from ...core.sdk.tokenizer import vocabulary_hash
from .address import speaks_tls
from .check import check_token_is_safe
from .deadline import Deadline
from .options import DraftTargetOptions
from .proposal import Judgement, Proposal, Verdict
from .proto import verification_pb2 as pb
from .proto.verification_pb2_grpc import VerificationStub
from .rules import RuleName, rule_called, rule_for
from .server.security import read_pem, read_token, token_metadata
from .verification_stream import Awaited, VerificationStream
from .verifier import Answer, Verifier
from .wire import PROTOCOL_VERSION, drafts_of, rule_name, rule_number

_CONNECT_S = 10.0
_GOODBYE_S = 2.0
_FIRST_PAUSE_S = 0.1
_FORGOTTEN = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
"""The server does not have what was committed, or not any more, as when a request of before the loss came late."""
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, *_FORGOTTEN)
"""The server, the stream or the session has gone; another try may find it again."""
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class RemoteVerifier(Verifier):
    """The client of `decodebench serve-target`.

    Args:
        options: address, credentials, deadlines.
        target: the target as it is here; the server must have the same.

    Attributes:
        info: what the server says of itself.
        rule: the rule that is asked for; None: the exact one for each request's temperature.

    Raises:
        BackendError: there is no server, or it speaks another version of the protocol.
        ModelError: it has another model or tokenizer.
        UsageError: its rule does not take what the options ask for.
    """

    def __init__(self, options: DraftTargetOptions, target: ResolvedModel) -> None:
        check_token_is_safe(options)
        self._options = options
        self._channel = _open_channel(options)
        token = read_token(options.auth_token_file) if options.auth_token_file else None
        self._metadata = token_metadata(token) if token else ()
        self._stub = VerificationStub(self._channel)
        self.info = self._ask_info()
        self._check(target)
        self.rule: RuleName | None = options.rule or rule_name(self.info.rule)
        if options.num_candidates > 1 and self.rule is not None and not rule_called(self.rule).takes_candidates:
            raise UsageError(
                f"num_candidates = {options.num_candidates}: rule {self.rule!r} takes one draft a round",
                code="conflicting-flags",
            )
        self._tokens: list[int] = []
        self._session = ""
        self._deadline = Deadline(options.deadline_s)
        self._stream: VerificationStream | None = None

    def _check(self, target: ResolvedModel) -> None:
        where = f"the server at {self._options.server} has {self.info.model!r}"
        if self.info.tokenizer_hash != vocabulary_hash(target.path):
            raise ModelError(f"{where}, whose tokenizer is not that of {target.name!r}", code="tokenizer-mismatch")
        if self.info.model_hash != target.content_hash:
            raise ModelError(
                f"{where}, which differs from {target.name!r} on this machine; serve the same files",
                code="model-mismatch",
            )
        try:
            rule_name(self.info.rule)
        except ValueError as error:
            raise BackendError(
                f"{where} and an unknown strategy ({error}): install one decodebench on both sides",
                code="version-mismatch",
            ) from error

    def _ask_info(self) -> pb.InfoResponse:
        where = self._options.server
        try:
            answer = self._stub.Info(pb.InfoRequest(), timeout=_CONNECT_S, metadata=self._metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            hint = "start one with `decodebench serve-target --model MODEL`"
            tls = speaks_tls(where, _GOODBYE_S)
            if tls is not None and tls != (self._options.tls_ca is not None):
                hint = (
                    "it speaks TLS: give its certificate's authority with --set draft-target.tls_ca=PEM"
                    if tls
                    else "it speaks no TLS: start it with --tls-cert and --tls-key, or leave tls_ca out"
                )
            elif error.code() is grpc.StatusCode.UNAUTHENTICATED:
                hint = "give its token with --set draft-target.auth_token_file=FILE"
            raise BackendError(
                f"no verification server answers at {where} ({_words(error)}); {hint}", code="no-answer"
            ) from error
        info: pb.InfoResponse = answer
        if info.protocol_version != PROTOCOL_VERSION:
            raise BackendError(
                f"the server at {where} speaks version {info.protocol_version} of the protocol, this is version "
                f"{PROTOCOL_VERSION}: install one decodebench on both sides",
                code="version-mismatch",
            )
        return info

    def begin(self, request: Request) -> None:
        """Choose a session; the first verification opens it."""
        rule = rule_for(self.rule, request.temperature)
        self._session = uuid.uuid4().hex
        self._tokens = list(request.prompt_ids)
        self._seen = 0  # committed tokens that the server has
        self._rounds = 0
        self._with_distributions = rule.needs_distributions
        self._fields: dict[str, Any] = {
            "session_id": self._session,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "seed": request.seed % 2**64,
            "rule": rule_number(rule.name),
        }

    def submit(self, proposal: Proposal) -> Answer:
        """Send the draft; the answer waits for what comes back."""
        awaited = self._send(proposal)
        return lambda: self._answer(proposal, awaited)

    def _send(self, proposal: Proposal) -> Awaited:
        self._rounds += 1
        fields: dict[str, Any] = {
            "request_id": f"{self._session[:8]}-{self._rounds}",
            "prefix_start": self._seen,
            "prefix_token_ids": self._tokens[self._seen :],
            **self._fields,
        }
        drafts = drafts_of(proposal, with_distributions=self._with_distributions)
        requests = [pb.VerificationRequest(**fields, **draft) for draft in drafts]
        if self._stream is None:
            is_early = self._options.optimistic  # only then is there something to do before the answer is asked for
            self._stream = VerificationStream(self._stub, self._metadata, self._deadline, is_early=is_early)
        return self._stream.send(pb.BatchVerificationRequest(requests=requests))

    def _answer(self, proposal: Proposal, awaited: Awaited) -> Verdict:
        reconnects = resent = 0
        lost_s = 0.0
        while True:
            try:
                response = awaited.result()
                break
            except grpc.RpcError as error:
                self._close_stream()
                if error.code() not in _LOST or self._deadline.is_over or reconnects == self._options.reconnects:
                    words = f"target server {self._options.server}: {self._reason(error)}"
                    if error.code() in (*_LOST, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise SampleError(words, code="server-lost") from error
                    raise SampleError(words, code="server-error") from error
                lost_s += awaited.seconds
                reconnects += 1
                pause = 0.0 if error.code() in _FORGOTTEN else _FIRST_PAUSE_S * 2 ** (reconnects - 1)
                time.sleep(pause)
                lost_s += pause
                if error.code() in _FORGOTTEN:
                    resent += self._seen
                    self._seen = 0
                awaited = self._send(proposal)
        index, chosen = next((index, one) for index, one in enumerate(response.responses) if one.is_chosen)
        judgement = Judgement(index, chosen.num_accepted_tokens, chosen.next_token_id, chosen.next_token_logprob)
        # What the server has now: the prefix, what it accepted, and its own token.
        self._tokens += [*proposal.candidates[index][: judgement.accepted], judgement.next_id]
        self._seen = len(self._tokens)
        verify_s = chosen.verification_time_ms / 1e3
        return Verdict(judgement, verify_s, max(0.0, lost_s + awaited.seconds - verify_s), reconnects, resent)

    def _reason(self, error: grpc.RpcError) -> str:
        if self._deadline.is_over:
            return f"deadline exceeded: no answer within {self._options.deadline_s:g} s"
        return _words(error)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def end(self) -> None:
        """Give the session back; a server that has gone has forgotten it anyway."""
        if self._session:
            self._close_stream()  # first: a draft nobody waits for must not be verified after the session's end
            closing = pb.CloseSessionRequest(session_id=self._session)
            self._session = ""
            with suppress(grpc.RpcError):
                self._stub.CloseSession(closing, timeout=_GOODBYE_S, metadata=self._metadata)

    def close(self) -> None:
        """Close the connection."""
        self._deadline.close()
        self._channel.close()


def _open_channel(options: DraftTargetOptions) -> grpc.Channel:
    if options.tls_ca is None:
        return grpc.insecure_channel(options.server, options=_CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(read_pem("tls_ca", options.tls_ca))
    return grpc.secure_channel(options.server, credentials, options=_CHANNEL_OPTIONS)


def _words(error: grpc.RpcError) -> str:
    details = " ".join((error.details() or "").split())
    return f"{error.code().name.lower().replace('_', ' ')}: {details[:200]}"
