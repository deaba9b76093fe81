from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULE_UNSPECIFIED: _ClassVar[Rule]
    RULE_DETERMINISTIC: _ClassVar[Rule]
    RULE_PROBABILISTIC: _ClassVar[Rule]
    RULE_PROBABILISTIC_APPROX: _ClassVar[Rule]
RULE_UNSPECIFIED: Rule
RULE_DETERMINISTIC: Rule
RULE_PROBABILISTIC: Rule
RULE_PROBABILISTIC_APPROX: Rule

class Distribution(_message.Message):
    __slots__ = ("probabilities", "ids")
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    probabilities: bytes
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, probabilities: _Optional[bytes] = ..., ids: _Optional[_Iterable[int]] = ...) -> None: ...

class VerificationRequest(_message.Message):
    __slots__ = ("request_id", "session_id", "prefix_start", "prefix_token_ids", "draft_token_ids", "draft_logprobs", "draft_distributions", "temperature", "top_k", "top_p", "seed", "rule")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PREFIX_START_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    DRAFT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    DRAFT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    DRAFT_DISTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    session_id: str
    prefix_start: int
    prefix_token_ids: _containers.RepeatedScalarFieldContainer[int]
    draft_token_ids: _containers.RepeatedScalarFieldContainer[int]
    draft_logprobs: _containers.RepeatedScalarFieldContainer[float]
    draft_distributions: _containers.RepeatedCompositeFieldContainer[Distribution]
    temperature: float
    top_k: int
    top_p: float
    seed: int
    rule: Rule
    def __init__(self, request_id: _Optional[str] = ..., session_id: _Optional[str] = ..., prefix_start: _Optional[int] = ..., prefix_token_ids: _Optional[_Iterable[int]] = ..., draft_token_ids: _Optional[_Iterable[int]] = ..., draft_logprobs: _Optional[_Iterable[float]] = ..., draft_distributions: _Optional[_Iterable[_Union[Distribution, _Mapping]]] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., rule: _Optional[_Union[Rule, str]] = ...) -> None: ...

class VerificationResponse(_message.Message):
    __slots__ = ("request_id", "session_id", "num_accepted_tokens", "acceptance_mask", "corrected_token_ids", "corrected_logprobs", "next_token_id", "next_token_logprob", "verification_time_ms", "acceptance_rate", "has_bonus", "is_chosen")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_ACCEPTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_MASK_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_RATE_FIELD_NUMBER: _ClassVar[int]
    HAS_BONUS_FIELD_NUMBER: _ClassVar[int]
    IS_CHOSEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    session_id: str
    num_accepted_tokens: int
    acceptance_mask: _containers.RepeatedScalarFieldContainer[bool]
    corrected_token_ids: _containers.RepeatedScalarFieldContainer[int]
    corrected_logprobs: _containers.RepeatedScalarFieldContainer[float]
    next_token_id: int
    next_token_logprob: float
    verification_time_ms: float
    acceptance_rate: float
    has_bonus: bool
    is_chosen: bool
    def __init__(self, request_id: _Optional[str] = ..., session_id: _Optional[str] = ..., num_accepted_tokens: _Optional[int] = ..., acceptance_mask: _Optional[_Iterable[bool]] = ..., corrected_token_ids: _Optional[_Iterable[int]] = ..., corrected_logprobs: _Optional[_Iterable[float]] = ..., next_token_id: _Optional[int] = ..., next_token_logprob: _Optional[float] = ..., verification_time_ms: _Optional[float] = ..., acceptance_rate: _Optional[float] = ..., has_bonus: _Optional[bool] = ..., is_chosen: _Optional[bool] = ...) -> None: ...

class BatchVerificationRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[VerificationRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[VerificationRequest, _Mapping]]] = ...) -> None: ...

class BatchVerificationResponse(_message.Message):
    __slots__ = ("responses", "total_batch_time_ms")
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BATCH_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[VerificationResponse]
    total_batch_time_ms: float
    def __init__(self, responses: _Optional[_Iterable[_Union[VerificationResponse, _Mapping]]] = ..., total_batch_time_ms: _Optional[float] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("request_id", "prompt", "prompt_token_ids", "max_new_tokens", "temperature", "top_k", "top_p", "seed", "stop_token_ids", "ignore_eos")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_EOS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prompt: str
    prompt_token_ids: _containers.RepeatedScalarFieldContainer[int]
    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    ignore_eos: bool
    def __init__(self, request_id: _Optional[str] = ..., prompt: _Optional[str] = ..., prompt_token_ids: _Optional[_Iterable[int]] = ..., max_new_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., ignore_eos: _Optional[bool] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("request_id", "token_ids", "text", "metrics")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    text: str
    metrics: Metrics
    def __init__(self, request_id: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., text: _Optional[str] = ..., metrics: _Optional[_Union[Metrics, _Mapping]] = ...) -> None: ...

class InferenceChunk(_message.Message):
    __slots__ = ("request_id", "token_ids", "text", "is_final", "metrics")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    text: str
    is_final: bool
    metrics: Metrics
    def __init__(self, request_id: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., text: _Optional[str] = ..., is_final: _Optional[bool] = ..., metrics: _Optional[_Union[Metrics, _Mapping]] = ...) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("total_tokens", "draft_tokens_generated", "draft_tokens_accepted", "generation_time_ms", "acceptance_rate", "speculation_rounds")
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DRAFT_TOKENS_GENERATED_FIELD_NUMBER: _ClassVar[int]
    DRAFT_TOKENS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_RATE_FIELD_NUMBER: _ClassVar[int]
    SPECULATION_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    total_tokens: int
    draft_tokens_generated: int
    draft_tokens_accepted: int
    generation_time_ms: float
    acceptance_rate: float
    speculation_rounds: int
    def __init__(self, total_tokens: _Optional[int] = ..., draft_tokens_generated: _Optional[int] = ..., draft_tokens_accepted: _Optional[int] = ..., generation_time_ms: _Optional[float] = ..., acceptance_rate: _Optional[float] = ..., speculation_rounds: _Optional[int] = ...) -> None: ...

class InfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InfoResponse(_message.Message):
    __slots__ = ("protocol_version", "decodebench_version", "model", "model_hash", "tokenizer_hash", "device", "dtype", "vocabulary_size", "context_length", "parameters", "weight_bytes", "read_weight_bytes", "kv_bytes_per_token", "max_sessions", "rule", "open_sessions")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DECODEBENCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_HASH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    READ_WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    decodebench_version: str
    model: str
    model_hash: str
    tokenizer_hash: str
    device: str
    dtype: str
    vocabulary_size: int
    context_length: int
    parameters: int
    weight_bytes: int
    read_weight_bytes: int
    kv_bytes_per_token: int
    max_sessions: int
    rule: Rule
    open_sessions: int
    def __init__(self, protocol_version: _Optional[int] = ..., decodebench_version: _Optional[str] = ..., model: _Optional[str] = ..., model_hash: _Optional[str] = ..., tokenizer_hash: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., vocabulary_size: _Optional[int] = ..., context_length: _Optional[int] = ..., parameters: _Optional[int] = ..., weight_bytes: _Optional[int] = ..., read_weight_bytes: _Optional[int] = ..., kv_bytes_per_token: _Optional[int] = ..., max_sessions: _Optional[int] = ..., rule: _Optional[_Union[Rule, str]] = ..., open_sessions: _Optional[int] = ...) -> None: ...
