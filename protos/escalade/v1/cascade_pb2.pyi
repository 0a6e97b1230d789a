from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_PROMPT_EMPTY: _ClassVar[ErrorReason]
    ERROR_REASON_PROMPT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_OPTION_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_TOKENIZER_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_LOOP: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_ENGINE_DEAD: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_SUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_QUOTA_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_STREAM_CHANGED: _ClassVar[ErrorReason]

class AcceptanceRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPTANCE_RULE_UNSPECIFIED: _ClassVar[AcceptanceRule]
    ACCEPTANCE_RULE_CHOW: _ClassVar[AcceptanceRule]
    ACCEPTANCE_RULE_DIFF: _ClassVar[AcceptanceRule]
    ACCEPTANCE_RULE_TOKEN_V2: _ClassVar[AcceptanceRule]
    ACCEPTANCE_RULE_TOKEN_V3: _ClassVar[AcceptanceRule]

class Place(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACE_UNSPECIFIED: _ClassVar[Place]
    PLACE_DEVICE: _ClassVar[Place]
    PLACE_GATEWAY: _ClassVar[Place]
    PLACE_CLOUD: _ClassVar[Place]

class StopReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_REASON_UNSPECIFIED: _ClassVar[StopReason]
    STOP_REASON_END_OF_SEQUENCE: _ClassVar[StopReason]
    STOP_REASON_STOP_SEQUENCE: _ClassVar[StopReason]
    STOP_REASON_MAX_TOKENS: _ClassVar[StopReason]
    STOP_REASON_CONTEXT_LIMIT: _ClassVar[StopReason]
    STOP_REASON_DEADLINE: _ClassVar[StopReason]
    STOP_REASON_CANCELLED: _ClassVar[StopReason]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_UINT16: _ClassVar[DataType]

class Capability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPABILITY_UNSPECIFIED: _ClassVar[Capability]
    CAPABILITY_GENERATE: _ClassVar[Capability]
    CAPABILITY_GENERATE_STREAM: _ClassVar[Capability]
    CAPABILITY_SCORE: _ClassVar[Capability]
    CAPABILITY_VERIFY: _ClassVar[Capability]
    CAPABILITY_SAMPLING: _ClassVar[Capability]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_PROMPT_EMPTY: ErrorReason
ERROR_REASON_PROMPT_TOO_LONG: ErrorReason
ERROR_REASON_TOKEN_OUT_OF_RANGE: ErrorReason
ERROR_REASON_OPTION_OUT_OF_RANGE: ErrorReason
ERROR_REASON_TOKENIZER_MISMATCH: ErrorReason
ERROR_REASON_MODEL_MISMATCH: ErrorReason
ERROR_REASON_LOOP: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_ENGINE_DEAD: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_NOT_SUPPORTED: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_QUOTA_EXCEEDED: ErrorReason
ERROR_REASON_STREAM_CHANGED: ErrorReason
ACCEPTANCE_RULE_UNSPECIFIED: AcceptanceRule
ACCEPTANCE_RULE_CHOW: AcceptanceRule
ACCEPTANCE_RULE_DIFF: AcceptanceRule
ACCEPTANCE_RULE_TOKEN_V2: AcceptanceRule
ACCEPTANCE_RULE_TOKEN_V3: AcceptanceRule
PLACE_UNSPECIFIED: Place
PLACE_DEVICE: Place
PLACE_GATEWAY: Place
PLACE_CLOUD: Place
STOP_REASON_UNSPECIFIED: StopReason
STOP_REASON_END_OF_SEQUENCE: StopReason
STOP_REASON_STOP_SEQUENCE: StopReason
STOP_REASON_MAX_TOKENS: StopReason
STOP_REASON_CONTEXT_LIMIT: StopReason
STOP_REASON_DEADLINE: StopReason
STOP_REASON_CANCELLED: StopReason
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BATCH: Priority
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_UINT16: DataType
CAPABILITY_UNSPECIFIED: Capability
CAPABILITY_GENERATE: Capability
CAPABILITY_GENERATE_STREAM: Capability
CAPABILITY_SCORE: Capability
CAPABILITY_VERIFY: Capability
CAPABILITY_SAMPLING: Capability

class ModelIdentity(_message.Message):
    __slots__ = ("name", "revision", "tokenizer_fingerprint")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    tokenizer_fingerprint: str
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., tokenizer_fingerprint: _Optional[str] = ...) -> None: ...

class TokenSequence(_message.Message):
    __slots__ = ("ids", "tokenizer_fingerprint")
    IDS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    tokenizer_fingerprint: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., tokenizer_fingerprint: _Optional[str] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("tokens", "text")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    tokens: TokenSequence
    text: str
    def __init__(self, tokens: _Optional[_Union[TokenSequence, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class Acceptance(_message.Message):
    __slots__ = ("rule", "alpha")
    RULE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    rule: AcceptanceRule
    alpha: float
    def __init__(self, rule: _Optional[_Union[AcceptanceRule, str]] = ..., alpha: _Optional[float] = ...) -> None: ...

class Draft(_message.Message):
    __slots__ = ("tokens", "start", "logprobs", "score", "threshold", "rule", "model", "text", "acceptance")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    tokens: TokenSequence
    start: int
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    score: float
    threshold: float
    rule: str
    model: ModelIdentity
    text: str
    acceptance: Acceptance
    def __init__(self, tokens: _Optional[_Union[TokenSequence, _Mapping]] = ..., start: _Optional[int] = ..., logprobs: _Optional[_Iterable[float]] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ..., rule: _Optional[str] = ..., model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., text: _Optional[str] = ..., acceptance: _Optional[_Union[Acceptance, _Mapping]] = ...) -> None: ...

class MemberReport(_message.Message):
    __slots__ = ("model", "parameter_count", "prompt_tokens", "generated_tokens", "seconds", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: ModelIdentity
    parameter_count: int
    prompt_tokens: int
    generated_tokens: int
    seconds: float
    reason: str
    def __init__(self, model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., parameter_count: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class TierReport(_message.Message):
    __slots__ = ("tier", "place", "members", "rule", "score", "threshold", "seconds", "reason")
    TIER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tier: str
    place: Place
    members: _containers.RepeatedCompositeFieldContainer[MemberReport]
    rule: str
    score: float
    threshold: float
    seconds: float
    reason: str
    def __init__(self, tier: _Optional[str] = ..., place: _Optional[_Union[Place, str]] = ..., members: _Optional[_Iterable[_Union[MemberReport, _Mapping]]] = ..., rule: _Optional[str] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ..., seconds: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class TierDescription(_message.Message):
    __slots__ = ("tier", "place", "members")
    TIER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    tier: str
    place: Place
    members: _containers.RepeatedCompositeFieldContainer[MemberReport]
    def __init__(self, tier: _Optional[str] = ..., place: _Optional[_Union[Place, str]] = ..., members: _Optional[_Iterable[_Union[MemberReport, _Mapping]]] = ...) -> None: ...

class SamplingOptions(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class StoppingOptions(_message.Message):
    __slots__ = ("max_new_tokens", "stop_sequences")
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    max_new_tokens: int
    stop_sequences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, max_new_tokens: _Optional[int] = ..., stop_sequences: _Optional[_Iterable[str]] = ...) -> None: ...

class OutputOptions(_message.Message):
    __slots__ = ("logprobs", "text", "top_logprobs")
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    logprobs: bool
    text: bool
    top_logprobs: int
    def __init__(self, logprobs: _Optional[bool] = ..., text: _Optional[bool] = ..., top_logprobs: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "generated_tokens", "cached_prompt_tokens", "accepted_draft_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_DRAFT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    generated_tokens: int
    cached_prompt_tokens: int
    accepted_draft_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., cached_prompt_tokens: _Optional[int] = ..., accepted_draft_tokens: _Optional[int] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_s", "compute_s")
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    queue_s: float
    compute_s: float
    def __init__(self, queue_s: _Optional[float] = ..., compute_s: _Optional[float] = ...) -> None: ...

class DraftOutcome(_message.Message):
    __slots__ = ("accepted_count", "correction_id", "margin", "draft_count", "acceptance", "lenient_count")
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_ID_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    DRAFT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    LENIENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    accepted_count: int
    correction_id: int
    margin: float
    draft_count: int
    acceptance: Acceptance
    lenient_count: int
    def __init__(self, accepted_count: _Optional[int] = ..., correction_id: _Optional[int] = ..., margin: _Optional[float] = ..., draft_count: _Optional[int] = ..., acceptance: _Optional[_Union[Acceptance, _Mapping]] = ..., lenient_count: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("request_id", "expected_model", "prompt", "draft", "sampling", "stopping", "output", "via", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    expected_model: ModelIdentity
    prompt: Prompt
    draft: Draft
    sampling: SamplingOptions
    stopping: StoppingOptions
    output: OutputOptions
    via: _containers.RepeatedScalarFieldContainer[str]
    priority: Priority
    def __init__(self, request_id: _Optional[str] = ..., expected_model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ..., draft: _Optional[_Union[Draft, _Mapping]] = ..., sampling: _Optional[_Union[SamplingOptions, _Mapping]] = ..., stopping: _Optional[_Union[StoppingOptions, _Mapping]] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., via: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("request_id", "model", "token_ids", "logprobs", "text", "stop_reason", "usage", "timing", "draft_outcome", "reports", "degraded", "top_ids", "top_logprobs")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    DRAFT_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    TOP_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: ModelIdentity
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    text: str
    stop_reason: StopReason
    usage: Usage
    timing: Timing
    draft_outcome: DraftOutcome
    reports: _containers.RepeatedCompositeFieldContainer[TierReport]
    degraded: bool
    top_ids: Tensor
    top_logprobs: Tensor
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., text: _Optional[str] = ..., stop_reason: _Optional[_Union[StopReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., draft_outcome: _Optional[_Union[DraftOutcome, _Mapping]] = ..., reports: _Optional[_Iterable[_Union[TierReport, _Mapping]]] = ..., degraded: _Optional[bool] = ..., top_ids: _Optional[_Union[Tensor, _Mapping]] = ..., top_logprobs: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class GenerateStreamRequest(_message.Message):
    __slots__ = ("request", "resume_from", "keep_s")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    KEEP_S_FIELD_NUMBER: _ClassVar[int]
    request: GenerateRequest
    resume_from: ResumePoint
    keep_s: float
    def __init__(self, request: _Optional[_Union[GenerateRequest, _Mapping]] = ..., resume_from: _Optional[_Union[ResumePoint, _Mapping]] = ..., keep_s: _Optional[float] = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ("token_offset", "text_offset", "token_crc32")
    TOKEN_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_CRC32_FIELD_NUMBER: _ClassVar[int]
    token_offset: int
    text_offset: int
    token_crc32: int
    def __init__(self, token_offset: _Optional[int] = ..., text_offset: _Optional[int] = ..., token_crc32: _Optional[int] = ...) -> None: ...

class GenerateStreamResponse(_message.Message):
    __slots__ = ("sequence", "token_offset", "chunk", "final")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    token_offset: int
    chunk: TokenChunk
    final: GenerateResponse
    def __init__(self, sequence: _Optional[int] = ..., token_offset: _Optional[int] = ..., chunk: _Optional[_Union[TokenChunk, _Mapping]] = ..., final: _Optional[_Union[GenerateResponse, _Mapping]] = ...) -> None: ...

class TokenChunk(_message.Message):
    __slots__ = ("token_ids", "logprobs", "text", "top_ids", "top_logprobs")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOP_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    text: str
    top_ids: Tensor
    top_logprobs: Tensor
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., text: _Optional[str] = ..., top_ids: _Optional[_Union[Tensor, _Mapping]] = ..., top_logprobs: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("data", "shape", "dtype")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: DataType
    def __init__(self, data: _Optional[bytes] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[DataType, str]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("request_id", "expected_model", "items", "top_k", "resume_from")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    expected_model: ModelIdentity
    items: _containers.RepeatedCompositeFieldContainer[ScoreItem]
    top_k: int
    resume_from: int
    def __init__(self, request_id: _Optional[str] = ..., expected_model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., items: _Optional[_Iterable[_Union[ScoreItem, _Mapping]]] = ..., top_k: _Optional[int] = ..., resume_from: _Optional[int] = ...) -> None: ...

class ScoreItem(_message.Message):
    __slots__ = ("item_id", "prompt", "response")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    prompt: TokenSequence
    response: TokenSequence
    def __init__(self, item_id: _Optional[str] = ..., prompt: _Optional[_Union[TokenSequence, _Mapping]] = ..., response: _Optional[_Union[TokenSequence, _Mapping]] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("sequence", "chunk", "final")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    chunk: ScoreChunk
    final: ScoreSummary
    def __init__(self, sequence: _Optional[int] = ..., chunk: _Optional[_Union[ScoreChunk, _Mapping]] = ..., final: _Optional[_Union[ScoreSummary, _Mapping]] = ...) -> None: ...

class ScoreChunk(_message.Message):
    __slots__ = ("item_index", "item_id", "token_offset", "argmax", "response_logprobs", "top_ids", "top_logprobs")
    ITEM_INDEX_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ARGMAX_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOP_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    item_index: int
    item_id: str
    token_offset: int
    argmax: Tensor
    response_logprobs: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    def __init__(self, item_index: _Optional[int] = ..., item_id: _Optional[str] = ..., token_offset: _Optional[int] = ..., argmax: _Optional[_Union[Tensor, _Mapping]] = ..., response_logprobs: _Optional[_Union[Tensor, _Mapping]] = ..., top_ids: _Optional[_Union[Tensor, _Mapping]] = ..., top_logprobs: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class ScoreSummary(_message.Message):
    __slots__ = ("model", "items", "usage", "timing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    model: ModelIdentity
    items: int
    usage: Usage
    timing: Timing
    def __init__(self, model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., items: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("request_id", "expected_model", "prompt", "draft")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    expected_model: ModelIdentity
    prompt: Prompt
    draft: Draft
    def __init__(self, request_id: _Optional[str] = ..., expected_model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ..., draft: _Optional[_Union[Draft, _Mapping]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("request_id", "model", "outcome", "logprobs", "usage", "timing")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: ModelIdentity
    outcome: DraftOutcome
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    usage: Usage
    timing: Timing
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., outcome: _Optional[_Union[DraftOutcome, _Mapping]] = ..., logprobs: _Optional[_Iterable[float]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class GetModelInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelInfoResponse(_message.Message):
    __slots__ = ("model", "engine", "parameter_count", "vocabulary_size", "context_length", "end_of_sequence_ids", "max_new_tokens", "queue_capacity", "capabilities", "max_top_k", "tiers", "max_top_logprobs")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    END_OF_SEQUENCE_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOP_K_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    model: ModelIdentity
    engine: str
    parameter_count: int
    vocabulary_size: int
    context_length: int
    end_of_sequence_ids: _containers.RepeatedScalarFieldContainer[int]
    max_new_tokens: int
    queue_capacity: int
    capabilities: _containers.RepeatedScalarFieldContainer[Capability]
    max_top_k: int
    tiers: _containers.RepeatedCompositeFieldContainer[TierDescription]
    max_top_logprobs: int
    def __init__(self, model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., engine: _Optional[str] = ..., parameter_count: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., context_length: _Optional[int] = ..., end_of_sequence_ids: _Optional[_Iterable[int]] = ..., max_new_tokens: _Optional[int] = ..., queue_capacity: _Optional[int] = ..., capabilities: _Optional[_Iterable[_Union[Capability, str]]] = ..., max_top_k: _Optional[int] = ..., tiers: _Optional[_Iterable[_Union[TierDescription, _Mapping]]] = ..., max_top_logprobs: _Optional[int] = ...) -> None: ...
