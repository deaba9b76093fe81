"""What the server does for each request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
from grpc import ServicerContext

from ....core.contract.generation import Request, Step
from ....core.sdk.tokenizer import Codec, pieces, vocabulary_hash
from ..decoder import Decoder
from ..draft_length import DraftLength
from ..drafters.prompt_lookup import PromptLookup
from ..models import CausalModel
from ..proposal import Judgement, Proposal
from ..proto import verification_pb2 as pb
from ..proto.verification_pb2_grpc import VerificationServicer
from ..rules import RuleName, rule_for
from ..verifier import EmbeddedVerifier
from ..wire import PROTOCOL_VERSION, rule_number
from .checks import check_ids, check_length, check_room, proposal_of, rule_of, sampling_of
from .log import Log
from .refusal import Refused, invalid
from .sessions import Sessions
from .streams import Streams


@dataclass(frozen=True, slots=True)
class Served:
    """What is served.

    Attributes:
        name: the model as the user named it.
        folder: its files.
        content_hash: over them.
        dtype: number format.
        strategy: rule of requests that name none; None: the exact one for their temperature.
        draft_tokens: tokens that ``StreamInference`` looks up per round.
    """

    name: str
    folder: Path
    content_hash: str
    dtype: str
    strategy: RuleName | None
    draft_tokens: int


class TargetService(VerificationServicer):
    """Verification for many sessions of one model; the model works for one request at a time.

    Args:
        model: the target.
        served: what a client may know of it.
        log: of events.
        max_sessions: sessions that may be open at once.
        idle_s: a session that was not used for so long is forgotten.
    """

    def __init__(self, model: CausalModel, served: Served, log: Log, *, max_sessions: int, idle_s: float) -> None:
        self._model, self._served, self._log, self._max_sessions = model, served, log, max_sessions
        self._turn = threading.Lock()
        self.sessions = Sessions(model, self._turn, max_sessions, idle_s)
        self.streams = Streams(max_sessions, idle_s)
        self._codec = Codec(served.folder, None)
        self._stop_ids = self._codec.stop_ids()
        self._vocabulary_hash = vocabulary_hash(served.folder)

    def VerifyDraft(self, request: pb.VerificationRequest, context: ServicerContext) -> pb.VerificationResponse:
        """Verify one draft of one session."""
        with self._answering("verify", request.request_id, context):
            return self._verify([request], context)[0]

    def BatchVerify(
        self, request: pb.BatchVerificationRequest, context: ServicerContext
    ) -> pb.BatchVerificationResponse:
        """Verify the drafts of several sessions, one session after the other."""
        return self._batch(request, context)

    def VerifyStream(
        self, requests: Iterator[pb.BatchVerificationRequest], context: ServicerContext
    ) -> Iterator[pb.BatchVerificationResponse]:
        """Verify what comes, one answer for each request."""
        with self._answering("verify-stream", "", context):
            stream = self.streams.enter(context)
        try:
            for request in requests:
                with stream.busy():
                    response = self._batch(request, context)
                yield response
        finally:
            self.streams.leave(stream)

    def _batch(self, request: pb.BatchVerificationRequest, context: ServicerContext) -> pb.BatchVerificationResponse:
        began = time.perf_counter()
        request_id = request.requests[0].request_id if request.requests else ""
        with self._answering("batch-verify", request_id, context):
            groups = groupby(request.requests, key=lambda one: one.session_id)
            responses = [one for _, group in groups for one in self._verify(list(group), context)]
        return pb.BatchVerificationResponse(
            responses=responses, total_batch_time_ms=1e3 * (time.perf_counter() - began)
        )

    def _verify(
        self, requests: Sequence[pb.VerificationRequest], context: ServicerContext
    ) -> list[pb.VerificationResponse]:
        """Verify the candidates of one session."""
        first = requests[0]
        drafted = len(first.draft_token_ids)
        check_room(first.prefix_start, len(first.prefix_token_ids), drafted, self._model, len(requests))
        check_ids("prefix_token_ids", first.prefix_token_ids, self._model)
        sampling, rule = sampling_of(first), rule_of(first, self._served.strategy)
        proposal = proposal_of(requests, self._model, rule)
        self.sessions.arrive(first.session_id)
        with self._turn_for(context), self.sessions.use(first.session_id, first.prefix_start) as target:
            have = len(target.tokens)
            if first.prefix_start > have:
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"prefix_start = {first.prefix_start}, but the session has {have} tokens",
                )
            if first.prefix_start + len(first.prefix_token_ids) == 0:
                raise invalid("prefix_token_ids is empty: a session begins with its prompt")
            began = time.perf_counter()
            target.extend(first.prefix_start, first.prefix_token_ids)
            found = target.verify(proposal, rule, sampling, with_logprob=True)
            seconds = time.perf_counter() - began
        self._log.detail(
            "verified", session=first.session_id, drafted=proposal.length, accepted=found.accepted, seconds=seconds
        )
        return [_response(request, index, proposal, found, seconds) for index, request in enumerate(requests)]

    def CloseSession(self, request: pb.CloseSessionRequest, context: ServicerContext) -> pb.CloseSessionResponse:
        """End a session."""
        with self._answering("close", "", context), self._turn_for(context):
            is_closed = self.sessions.drop(request.session_id)
        if is_closed:
            self._log.detail("session closed", session=request.session_id, open=len(self.sessions))
        return pb.CloseSessionResponse()

    def Generate(self, request: pb.GenerateRequest, context: ServicerContext) -> pb.GenerateResponse:
        """Decode with the target alone."""
        with self._answering("generate", request.request_id, context), self.sessions.generation():
            began = time.perf_counter()
            steps = list(self._decode(self._request(request), context, drafts=False))
            ids = [token for step in steps for token in step.token_ids]
            return pb.GenerateResponse(
                request_id=request.request_id,
                token_ids=ids,
                text=self._codec.decode_behind(ids),
                metrics=_metrics(steps, time.perf_counter() - began),
            )

    def StreamInference(self, request: pb.GenerateRequest, context: ServicerContext) -> Iterator[pb.InferenceChunk]:
        """Decode with looked-up drafts and send each round's tokens."""
        with self._answering("stream", request.request_id, context), self.sessions.generation():
            began = time.perf_counter()
            steps: list[Step] = []

            def committed() -> Iterator[Sequence[int]]:
                for step in self._decode(self._request(request), context, drafts=True):
                    steps.append(step)
                    yield step.token_ids

            for text in pieces(self._codec.decode_behind, committed()):
                yield pb.InferenceChunk(request_id=request.request_id, token_ids=steps[-1].token_ids, text=text)
            metrics = _metrics(steps, time.perf_counter() - began)
            yield pb.InferenceChunk(request_id=request.request_id, is_final=True, metrics=metrics)

    def _request(self, request: pb.GenerateRequest) -> Request:
        if bool(request.prompt) == bool(request.prompt_token_ids):
            raise invalid("give either prompt or prompt_token_ids")
        check_length(len(request.prompt), len(request.prompt_token_ids), self._model)
        ids = self._codec.encode(request.prompt) if request.prompt else list(request.prompt_token_ids)
        check_ids("prompt_token_ids", ids, self._model)
        if not ids or request.max_new_tokens < 1:
            raise invalid(f"a prompt of {len(ids)} tokens with max_new_tokens = {request.max_new_tokens} gives nothing")
        check_room(0, len(ids) + request.max_new_tokens - 1, 0, self._model)
        return replace(
            sampling_of(request, ids, request.max_new_tokens),
            stop_token_ids=tuple(request.stop_token_ids) or self._stop_ids,
            ignore_eos=request.ignore_eos,
        )

    def _decode(self, request: Request, context: ServicerContext, *, drafts: bool) -> Iterator[Step]:
        verifier = EmbeddedVerifier(
            self._model, partial(rule_for, None), is_concurrent=False, turn=lambda: self._turn_for(context)
        )
        drafter = PromptLookup(longest=3, shortest=1) if drafts else None
        return Decoder(drafter, verifier, partial(DraftLength, self._served.draft_tokens)).generate(request)

    def Info(self, request: pb.InfoRequest, context: ServicerContext) -> pb.InfoResponse:
        """Say what is served."""
        model, served = self._model, self._served
        return pb.InfoResponse(
            protocol_version=PROTOCOL_VERSION,
            decodebench_version=version("decodebench"),
            model=served.name,
            model_hash=served.content_hash,
            tokenizer_hash=self._vocabulary_hash,
            device=model.device,
            dtype=served.dtype,
            vocabulary_size=model.vocabulary,
            context_length=model.context,
            parameters=model.parameters,
            weight_bytes=model.weight_bytes,
            read_weight_bytes=model.read_weight_bytes or 0,
            kv_bytes_per_token=model.kv_bytes_per_token or 0,
            max_sessions=self._max_sessions,
            open_sessions=len(self.sessions),
            rule=rule_number(served.strategy),
        )

    @contextmanager
    def _turn_for(self, context: ServicerContext) -> Iterator[None]:
        """Wait for the model, no longer than the client does."""
        left = context.time_remaining()
        if not self._turn.acquire(timeout=_longest_wait(left)):
            raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the model was free")
        try:
            if not context.is_active():
                raise Refused(grpc.StatusCode.CANCELLED, "the client has gone")
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _answering(self, what: str, request_id: str, context: ServicerContext) -> Iterator[None]:
        """Turn a refusal into its status, and what goes wrong here into INTERNAL without telling of our insides."""
        try:
            yield
        except Refused as refusal:
            self._log.event("refused", request=request_id, what=what, code=refusal.code.name, reason=refusal.reason)
            context.abort(refusal.code, refusal.reason)
        except Exception as error:  # noqa: BLE001 - one request's failure must not end the server
            self._log.failure("failed", error, request=request_id, what=what)
            context.abort(grpc.StatusCode.INTERNAL, f"{what} failed: {type(error).__name__}")


def _longest_wait(left: float | None) -> float:
    """Return how long to wait, in seconds; a call without a deadline has a time left that no lock takes."""
    return -1 if left is None or left > threading.TIMEOUT_MAX else max(0.0, left)


def _response(
    request: pb.VerificationRequest, index: int, proposal: Proposal, found: Judgement, seconds: float
) -> pb.VerificationResponse:
    fields: dict[str, Any] = {"request_id": request.request_id, "session_id": request.session_id}
    fields["verification_time_ms"] = 1e3 * seconds
    if index != found.candidate:
        return pb.VerificationResponse(**fields)
    is_whole = found.accepted == proposal.length
    if proposal.length:
        fields["acceptance_rate"] = found.accepted / proposal.length
    return pb.VerificationResponse(
        **fields,
        num_accepted_tokens=found.accepted,
        acceptance_mask=[True] * found.accepted + [False] * (not is_whole),
        corrected_token_ids=[] if is_whole else [found.next_id],
        corrected_logprobs=[] if is_whole or found.logprob is None else [found.logprob],
        next_token_id=found.next_id,
        next_token_logprob=found.logprob,
        has_bonus=is_whole,
        is_chosen=True,
    )


def _metrics(steps: Sequence[Step], seconds: float) -> pb.Metrics:
    drafted, accepted = (sum(getattr(step, name) or 0 for step in steps) for name in ("drafted", "accepted"))
    metrics = pb.Metrics(
        total_tokens=sum(len(step.token_ids) for step in steps),
        draft_tokens_generated=drafted,
        draft_tokens_accepted=accepted,
        generation_time_ms=1e3 * seconds,
        speculation_rounds=sum(step.drafted is not None for step in steps),
    )
    if drafted:
        metrics.acceptance_rate = accepted / drafted
    return metrics
