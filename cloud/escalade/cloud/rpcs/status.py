"""How each refusal travels: google.rpc.Status with a stable reason; knows no engine.

The catalogue follows the comment at the top of `cascade.proto`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from escalade.cloud import errors

DOMAIN = "escalade.v1"

T = TypeVar("T")
Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Entry(NamedTuple):
    """How one kind of refusal travels."""

    code: grpc.StatusCode
    reason: str


#: Every kind of refusal, once.
CATALOGUE = MappingProxyType(
    {
        errors.PromptEmptyError: Entry(grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_EMPTY"),
        errors.PromptTooLongError: Entry(grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG"),
        errors.TokenOutOfRangeError: Entry(grpc.StatusCode.INVALID_ARGUMENT, "TOKEN_OUT_OF_RANGE"),
        errors.OptionOutOfRangeError: Entry(
            grpc.StatusCode.INVALID_ARGUMENT, "OPTION_OUT_OF_RANGE"
        ),
        errors.TokenizerMismatchError: Entry(
            grpc.StatusCode.FAILED_PRECONDITION, "TOKENIZER_MISMATCH"
        ),
        errors.ModelMismatchError: Entry(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISMATCH"),
        errors.QueueFullError: Entry(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        errors.DrainingError: Entry(grpc.StatusCode.UNAVAILABLE, "DRAINING"),
        errors.EngineDeadError: Entry(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD"),
        errors.NotSupportedError: Entry(grpc.StatusCode.UNIMPLEMENTED, "NOT_SUPPORTED"),
        # A client sees its own deadline first; this one is for logs and proxies.
        errors.DeadlineError: Entry(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    }
)


def status_of(error: errors.RequestError) -> status_pb2.Status:
    """The google.rpc.Status of a refusal: ErrorInfo, then BadRequest or RetryInfo."""
    code, reason = CATALOGUE[type(error)]
    number, _ = code.value
    status = status_pb2.Status(code=number, message=str(error))
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason))
    if isinstance(error, errors.FieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=str(error)
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.QueueFullError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(retry)
    return status


async def answer_or_abort(context: grpc.aio.ServicerContext[Req, Resp], work: Awaitable[T]) -> T:
    """Await `work`; a `RequestError` ends the RPC with its status, all else passes through."""
    try:
        return await work
    except errors.RequestError as error:
        status = rpc_status.to_status(status_of(error))
        metadata = tuple(status.trailing_metadata or ())
        if isinstance(error, errors.QueueFullError):
            # gRPC's own retry policy reads this key, not RetryInfo (gRFC A6).
            metadata += (("grpc-retry-pushback-ms", str(round(error.retry_after_s * 1e3))),)
        await context.abort(status.code, status.details, metadata)
